"""Focal loss, FL-3: Mukhoti et al., Calibrating Deep Neural Networks using Focal Loss, 2020 (Lin et al., 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.methods.base import Batch, Method


class Focal(Method):
    """Focal loss -(1 - p̂_y)^γ log p̂_y, with gradient through the factor. γ = 0 is cross-entropy.

    gamma: γ, 0 or more.
    reduction: `mean` over the batch, or `sum` as in the official code. The official code also clips the gradient's norm
        at 2 (train.clip_norm=2); with a sum over 128 images the clip sets the length of a step.
    """

    cuda_graph_safe = True

    def __init__(self, num_classes: int, gamma: float = 3.0, reduction: str = "mean"):
        super().__init__()
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma={gamma}: must be 0 or more")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction={reduction}: must be one of mean, sum")
        self.gamma, self.reduction = gamma, reduction

    def loss(self, batch: Batch) -> Tensor:
        log_p = -F.cross_entropy(batch.logits, batch.y, reduction="none")
        loss = -(_one_minus_exp(log_p) ** self.exponent(log_p.detach())) * log_p
        return loss.sum() if self.reduction == "sum" else loss.mean()

    def exponent(self, log_p: Tensor) -> float | Tensor:
        """Return γ. log_p: log p̂_y, `[B]`."""
        return self.gamma


def _one_minus_exp(log_p: Tensor) -> Tensor:
    """Return 1 - p, but never 0: for γ < 1 the power has no derivative at 0, and the gradient 0 · ∞ would be NaN."""
    return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
