"""Zipf's label smoothing: Liang et al., Efficient One Pass Self-distillation with Zipf's Label Smoothing, ECCV 2022."""

from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.methods.base import Batch, LossOptions, Method


class Zipf(Method):
    """Zipf's label smoothing H(e_y, p̂) + λ KL(ζ ‖ softmax over the K-1 other logits).

    ζ_c is proportional to 1/rank_c, where classes are ranked by the network's own prediction. The true class is ranked
    with the others and then left out. Classes with equal votes share the better rank ("min" ranking), so that all
    classes without a vote weigh the same.

    lam: λ; 0.1 on CIFAR-100 and 1.0 on Tiny-ImageNet.
    dense: rank classes by votes: the classifier's argmax at every location of the last feature map. This needs a
        network that pools globally. Networks without pooling (LeNet, AlexNet) are ranked by their logits, as with
        dense=false.
    upsample: `bilinear` doubles the feature map first; `none` does not.
    power: exponent of the rank.
    mask: whether only correctly classified samples count.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        lam: float = 0.1,
        dense: bool = True,
        upsample: str = "bilinear",
        power: float = 1.0,
        mask: bool = False,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        for name, value in (("lam", lam), ("power", power)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be 0 or more")
        if upsample not in ("bilinear", "none"):
            raise ValueError(f"upsample={upsample}: must be one of bilinear, none")
        self.lam, self.dense, self.upsample, self.power, self.mask = lam, dense, upsample, power, mask

    def prepare(self, net: nn.Module) -> None:
        if self.dense and net.pooled is not None and net.pooled != 1:
            raise ValueError("dense=true: ranking by location needs a globally pooled head; set network.pool=global")

    def losses(self, batch: Batch) -> Tensor:
        hard = F.cross_entropy(batch.logits, batch.y, reduction="none")
        return hard + self.lam * self.terms(batch.logits, batch.y, self.scores(batch), batch.valid)

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """Return what classes are ranked by, `[B, K]`: votes, or the logits."""
        logits, net = batch.logits, batch.net
        if not self.dense or net is None or net.pooled != 1:
            return logits.detach()
        features: Any = batch.features  # not None where there is a network
        features = features.to(logits.dtype)
        if self.upsample == "bilinear":
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        with torch.autocast(logits.device.type, enabled=False):
            by_location = F.linear(features.flatten(2).transpose(1, 2), *(p.to(logits.dtype) for p in _linear(net)))
        return votes(by_location.argmax(-1), logits)

    def terms(self, logits: Tensor, y: Tensor, scores: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return KL(ζ ‖ softmax of the other logits) of each sample, `[B]`. The true class gets no gradient from it.

        With `mask`, samples that are not classified correctly have 0. The others are scaled up, so that the mean over
        the `valid` samples is the mean over the correct ones.
        """
        target = torch.zeros_like(logits, dtype=torch.bool).scatter(1, y.unsqueeze(1), True)
        zeta = ranks(scores).to(logits.dtype).pow(-self.power).masked_fill(target, 0)
        zeta = zeta / zeta.sum(-1, keepdim=True)
        log_p = F.log_softmax(logits.masked_fill(target, -torch.inf), -1)
        # Masked, because the true class would give 0 · (log 0 - log 0), which is NaN.
        per_sample = (zeta * (zeta.log() - log_p).masked_fill(target, 0)).sum(-1)
        if not self.mask:
            return per_sample
        valid = torch.ones_like(y, dtype=torch.bool) if valid is None else valid
        correct = ((logits.argmax(-1) == y) & valid).to(logits.dtype)
        return per_sample * correct * (valid.sum() / correct.sum().clamp_min(1))


def votes(winners: Tensor, like: Tensor) -> Tensor:
    """Count the locations that each class wins. winners: `[B, L]` class indices. Returns `[B, K]`, typed as `like`."""
    return torch.zeros_like(like).scatter_add_(1, winners, torch.ones_like(winners, dtype=like.dtype))


def ranks(scores: Tensor) -> Tensor:
    """Return each class's rank, 1 + the number of classes with a higher score. scores: `[B, K]`. Returns `[B, K]`."""
    ascending = scores.sort(-1).values.contiguous()
    return scores.shape[-1] + 1 - torch.searchsorted(ascending, scores.contiguous(), right=True)


def _linear(net: Any) -> tuple[Tensor, Tensor]:
    return net.classifier.weight, net.classifier.bias
