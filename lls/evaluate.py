"""What a network is worth on the test images."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.machine import autocast
from lls.networks import Network


@torch.inference_mode()
def evaluate(net: Network, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "fp32") -> dict[str, float]:
    """top1 (per cent) and nll (nats, mean of -log p̂_y) of `net` in eval mode; its mode is restored. One synchronisation
    with the device, at the end."""
    was_training = net.training
    net.eval()
    correct = nll = images = 0
    for x, y in batches:
        with autocast(x.device, precision):
            logits, _ = net(x)
        correct = correct + (logits.argmax(1) == y).sum()
        nll = nll + F.cross_entropy(logits.float(), y, reduction="sum")
        images += len(y)
    net.train(was_training)
    return {"top1": 100 * int(correct) / images, "nll": float(nll) / images}
