"""What a network says of the test images, and the two numbers that every epoch is measured by."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.machine import autocast
from lls.networks import Network


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
    """top1 (per cent) and nll (nats, the mean of -log p̂_y)."""
    logits, y = predict(net, batches, precision)
    return {
        "top1": 100 * int((logits.argmax(1) == y).sum()) / len(y),
        "nll": F.cross_entropy(logits, y).item(),
    }
