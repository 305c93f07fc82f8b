"""A network's logits of the test images, and the numbers that every epoch is measured by."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.device import autocast
from lls.networks.models import Network
from lls.training.metrics import ece


@torch.inference_mode()
def predict(net: Network, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "fp32") -> tuple[Tensor, Tensor]:
    """Logits float32 `[N, K]` of `net` in eval mode, and labels `[N]`, both on the device; its mode is restored."""
    was_training = net.training
    net.eval()
    logits, labels = [], []
    for x, y in batches:
        with autocast(x.device, precision):
            logits.append(net(x)[0].float())
        labels.append(y)
    net.train(was_training)
    return torch.cat(logits), torch.cat(labels)


def evaluate(net: Network, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "fp32") -> dict[str, float]:
    """top1 (per cent), nll (nats, the mean of -log p̂_y), ece (a fraction, 15 bins of equal width) and confidence (the
    mean of max_j p̂_j). Where nll is not finite the last two are nan."""
    logits, y = predict(net, batches, precision)
    nll, p = F.cross_entropy(logits, y).item(), logits.softmax(1)
    return {
        "top1": 100 * int((logits.argmax(1) == y).sum()) / len(y),
        "nll": nll,
        "ece": ece(p, y) if math.isfinite(nll) else math.nan,
        "confidence": p.amax(1).mean().item(),
    }
