"""LLS-ST, the substitute teacher: a learned Q takes the place of a teacher network (Section 5.3, Appendix D)."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import cross_entropy, log_mixture, symmetric_kl_of
from lls.losses.inputs import check_alpha
from lls.methods.base import Batch, LossOptions, Method
from lls.methods.teacher import NO_TEACHER


class LLSST(Method):
    """Cross-entropy H(t, p̂) with t = (1-α) e_y + α softmax(Q_y) of a fixed Q.

    This is Eq. 6 with β = 0, T = 1 and t in place of the teacher's output.

    q: logits `[K, K]`. For a subset of the classes, take the rows *and* columns of that subset (Appendix D), so that
        the softmax covers the subset only.
    alpha: α, in (0, 1].
    objective: `ce`, or `symmetric_kl` for the LLS loss (with its factor ½) at the fixed Q.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True
    q: Tensor | None

    def __init__(
        self,
        num_classes: int,
        q: Tensor | None = None,
        alpha: float = 0.1,
        objective: str = "ce",
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        check_alpha(alpha)
        if objective not in ("ce", "symmetric_kl"):
            raise ValueError(f"objective={objective}: must be one of ce, symmetric_kl")
        self.alpha, self.objective = alpha, objective
        self.register_buffer("q", None)
        if q is not None:
            self.set_teacher(q)

    def set_teacher(self, q: Tensor) -> None:
        if q.shape != (self.num_classes, self.num_classes):
            raise ValueError(f"the substitute teacher's Q is {list(q.shape)}, not {[self.num_classes] * 2}")
        self.q = q.detach().clone()

    def losses(self, batch: Batch) -> Tensor:
        if self.q is None:
            raise RuntimeError(NO_TEACHER)
        log_p = F.log_softmax(batch.logits, -1)
        log_q = F.log_softmax(F.embedding(batch.y, self.q.to(log_p.dtype)), -1)
        log_t = log_mixture(log_q, batch.y, self.alpha)
        if self.objective == "ce":
            return cross_entropy(log_t, log_p)
        return symmetric_kl_of(log_t, log_p) / 2
