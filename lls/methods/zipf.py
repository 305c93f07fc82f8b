"""Zipf's label smoothing: Liang et al., Efficient One Pass Self-distillation with Zipf's Label Smoothing, ECCV 2022."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.methods.base import Batch, Method


class Zipf(Method):
    """H(e_y, p̂) + λ KL(ζ ‖ softmax over the K-1 other logits), with ζ_c ∝ 1/rank_c of the network's own prediction.

    dense: classes are ranked by votes, the classifier's argmax at every location of the last feature map (`upsample`:
    `bilinear` doubles the map first, `none`). This needs a head that pools globally; networks whose head is no pooling
    (LeNet, AlexNet) are ranked by their logits, as with dense=false. The true class is ranked with the others and then
    left out; classes with equal votes share the better rank ("min" ranking), so all without a vote weigh the same.
    lam: λ, 0.1 on CIFAR-100 and 1.0 on Tiny-ImageNet. power: of the rank. mask: only samples predicted right count.
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
    ):
        super().__init__()
        for name, value in (("lam", lam), ("power", power)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be 0 or more")
        if upsample not in ("bilinear", "none"):
            raise ValueError(f"upsample={upsample}: must be one of bilinear, none")
        self.lam, self.dense, self.upsample, self.power, self.mask = lam, dense, upsample, power, mask

    def prepare(self, net: nn.Module) -> None:
        if self.dense and net.pooled is not None and net.pooled != 1:
            raise ValueError("dense=true: ranking by location needs a globally pooled head; add network.pool=global")

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(batch.logits, batch.y) + self.lam * self.term(batch.logits, batch.y, self.scores(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """What classes are ranked by, `[B, K]`: votes, or the logits."""
        logits, features, net = batch.logits, batch.features, batch.net
        if not self.dense or net is None or net.pooled != 1:
            return logits.detach()
        features = features.to(logits.dtype)
        if self.upsample == "bilinear":
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        with torch.autocast(logits.device.type, enabled=False):
            by_location = F.linear(features.flatten(2).transpose(1, 2), *(p.to(logits.dtype) for p in _linear(net)))
        return votes(by_location.argmax(-1), logits)

    def term(self, logits: Tensor, y: Tensor, scores: Tensor) -> Tensor:
        """KL(ζ ‖ softmax of the other logits), a mean over the batch (over the samples predicted right, with mask). The
        true class gets no gradient from it."""
        target = F.one_hot(y, logits.shape[1]).bool()
        zeta = ranks(scores).to(logits.dtype).pow(-self.power).masked_fill(target, 0)
        zeta = zeta / zeta.sum(-1, keepdim=True)
        log_p = F.log_softmax(logits.masked_fill(target, -torch.inf), -1)
        # the true class: 0 times what would be log 0 minus log 0
        per_sample = (zeta * (zeta.log() - log_p).masked_fill(target, 0)).sum(-1)
        if not self.mask:
            return per_sample.mean()
        right = (logits.argmax(-1) == y).to(logits.dtype)
        return (per_sample * right).sum() / right.sum().clamp_min(1)


def votes(winners: Tensor, like: Tensor) -> Tensor:
    """How many of the locations' winners `[B, L]` are each class: `[B, K]`, shaped and typed as `like`."""
    return torch.zeros_like(like).scatter_add_(1, winners, torch.ones_like(winners, dtype=like.dtype))


def ranks(scores: Tensor) -> Tensor:
    """Rank of each class by falling score, 1 + the number of classes with more: `[B, K]` to `[B, K]`."""
    ascending = scores.sort(-1).values.contiguous()
    return scores.shape[-1] + 1 - torch.searchsorted(ascending, scores.contiguous(), right=True)


def _linear(net: nn.Module) -> tuple[Tensor, Tensor]:
    return net.classifier.weight, net.classifier.bias
