"""Label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016; Eqs. 2-3."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from lls.methods.base import Batch, LossOptions, Method


class LS(Method):
    """Label smoothing H(p^ls, p̂) with p^ls = (1-α) e_y + α/K (Eqs. 2-3).

    The uniform vector includes the true class, as in the paper and in PyTorch. Code that puts α/(K-1) on the other
    classes only (that of TF-KD and of Zipf) smooths by αK/(K-1) in these terms.

    alpha: α, in [0, 1].
    options: weight, ignore_index and reduction, as for every Method. `weight` multiplies the loss of a sample of class
        y. torch.nn.functional.cross_entropy with label_smoothing weighs the smoothed classes each by its own weight.
    """

    cuda_graph_safe = True

    def __init__(self, num_classes: int, alpha: float = 0.1, **options: Unpack[LossOptions]):
        super().__init__(num_classes, **options)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha}: must be at least 0 and at most 1")
        self.alpha = alpha

    def losses(self, batch: Batch) -> Tensor:
        return F.cross_entropy(batch.logits, batch.y, label_smoothing=self.alpha, reduction="none")
