"""Focal loss, FL-3: Mukhoti et al., Calibrating Deep Neural Networks using Focal Loss, 2020 (Lin et al., 2017)."""

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.methods.base import Batch, LossOptions, Method


class Focal(Method):
    """Focal loss -(1 - p̂_y)^γ log p̂_y, with gradient through the factor. γ = 0 is cross-entropy.

    gamma: γ, 0 or more.
    options: weight, ignore_index and reduction, as for every Method. The official code has reduction `sum`. It also
        clips the gradient's norm at 2 (train.clip_norm=2); with a sum over 128 images the clip sets the length of a
        step.
    """

    cuda_graph_safe = True

    def __init__(self, num_classes: int, gamma: float = 3.0, **options: Unpack[LossOptions]):
        super().__init__(num_classes, **options)
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma={gamma}: must be 0 or more")
        self.gamma = gamma

    def losses(self, batch: Batch) -> Tensor:
        log_p = -F.cross_entropy(batch.logits, batch.y, reduction="none")
        return -(_one_minus_exp(log_p) ** self.exponent(log_p.detach())) * log_p

    def exponent(self, log_p: Tensor) -> float | Tensor:
        """Return γ. log_p: log p̂_y, `[B]`."""
        return self.gamma


def _one_minus_exp(log_p: Tensor) -> Tensor:
    """Return 1 - p, but never 0: for γ < 1 the power has no derivative at 0, and the gradient 0 · ∞ would be NaN."""
    return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
