"""Label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016; Eqs. 2-3."""

import torch.nn.functional as F
from torch import Tensor

from lls.methods.base import Batch, Method


class LS(Method):
    """Label smoothing H(p^ls, p̂) with p^ls = (1-α) e_y + α/K (Eqs. 2-3), mean over the batch.

    The uniform vector includes the true class, as in the paper and in PyTorch. Code that puts α/(K-1) on the other
    classes only (that of TF-KD and of Zipf) smooths by αK/(K-1) in these terms.

    alpha: α, in [0, 1].
    """

    cuda_graph_safe = True

    def __init__(self, num_classes: int, alpha: float = 0.1):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha}: must be at least 0 and at most 1")
        self.alpha = alpha

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(batch.logits, batch.y, label_smoothing=self.alpha)
