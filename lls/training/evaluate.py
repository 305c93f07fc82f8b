"""Predict the test images with a network, and compute the measures of an epoch."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.device import autocast
from lls.networks.models import Network
from lls.training.metrics import ece, predict_classes


@torch.inference_mode()
def predict(net: Network, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "fp32") -> tuple[Tensor, Tensor]:
    """Return the logits `[N, K]` of `net` in eval mode, as float32, and the labels `[N]`.

    Both are on the device of the batches. Afterwards the network is in the mode in which it was before."""
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
    """Compute the test measures of one epoch.

    - top1: accuracy in per cent; an image with a NaN logit counts as wrong
    - nll: mean of -log p̂_y, in nats
    - ece: expected calibration error with 15 bins of equal width, a fraction; nan if nll is nan
    - confidence: mean of max_j p̂_j, a fraction; nan if nll is nan
    """
    logits, y = predict(net, batches, precision)
    p = logits.softmax(1)
    return {
        "top1": 100 * int((predict_classes(logits) == y).sum()) / len(y),
        "nll": F.cross_entropy(logits, y).item(),
        "ece": ece(p, y),
        "confidence": p.amax(1).mean().item(),
    }
