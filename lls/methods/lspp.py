"""LS++, a later method of the same authors (BMVC 2024, code: s-chh/LSPP). It is not in the paper's tables."""

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.losses.inputs import check_alpha
from lls.methods.base import Batch, LossOptions, Method

EPSILON = 1e-6  # inside both logarithms, as in the official code


class LSPP(Method):
    """LS++ loss ½ [-Σ p̂ log(t + ε) - Σ t log(p̂ + ε)] with t = (1-α) e_y + α softmax(C_y).

    p̂ is detached in the first sum and t in the second. The network gets gradient from the forward cross-entropy only,
    and C from the reverse cross-entropy only. C is `[K, K-1]` logits, zero at the start. Its softmax leaves out the
    true class, whose share is exactly 1-α.

    alpha: α, in (0, 1].
    c_weight_decay: whether C has the network's weight decay.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True

    def __init__(
        self, num_classes: int, alpha: float = 0.1, c_weight_decay: bool = True, **options: Unpack[LossOptions]
    ):
        super().__init__(num_classes, **options)
        check_alpha(alpha)
        self.alpha, self.c_weight_decay = alpha, c_weight_decay
        self.c = nn.Parameter(torch.zeros(num_classes, num_classes - 1))

    def losses(self, batch: Batch) -> Tensor:
        p = batch.logits.softmax(-1)
        c = F.embedding(batch.y, self.c.to(p.dtype)).softmax(-1)
        at_y = batch.y.unsqueeze(-1)
        # column j of C stands for class j before the true class, and for class j+1 from it on
        columns = torch.arange(c.shape[1], device=c.device)
        t = torch.zeros_like(p).scatter(1, columns + (columns >= at_y), self.alpha * c)
        t = t.scatter(1, at_y, 1 - self.alpha)
        reverse = -(p.detach() * (t + EPSILON).log()).sum(-1)
        forward = -(t.detach() * (p + EPSILON).log()).sum(-1)
        return (reverse + forward) / 2

    def q_logits(self) -> Tensor:
        k = len(self.c)
        off_diagonal = ~torch.eye(k, dtype=torch.bool, device=self.c.device)
        return self.c.new_full((k, k), -torch.inf).masked_scatter(off_diagonal, self.c.detach())

    def param_groups(self, weight_decay: float) -> list[dict]:
        return super().param_groups(weight_decay if self.c_weight_decay else 0.0)
