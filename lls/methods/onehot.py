"""Cross-entropy with 1-hot targets: the paper's Eq. 1."""

import torch.nn.functional as F
from torch import Tensor

from lls.methods.base import Batch, Method


class OneHot(Method):
    """Cross-entropy H(e_y, p̂) = -log p̂_y (Eq. 1)."""

    cuda_graph_safe = True

    def losses(self, batch: Batch) -> Tensor:
        return F.cross_entropy(batch.logits, batch.y, reduction="none")
