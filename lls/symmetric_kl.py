"""The LLS loss in closed form: value and both gradients in one pass, where autograd would need some fifty operations.

With M = log p - log t, q = softmax(Q_y), t = (1-α) e_y + α q and r_j = p_j for j ≠ y, r_y = p_y α q_y / t_y:

    loss        KL(t ‖ p) + KL(p ‖ t) = Σ_i (p_i - t_i) M_i
    to z_j      p_j (1 + M_j - Σ_i p_i M_i) - t_j                     Eq. 9, and the reverse KL's, which the paper leaves out
    to Q_yj     q_j (α (Σ_i q_i M_i - M_j) + Σ_i r_i) - r_j           Eqs. 16 and 18

Everything is in log space, so that nothing is infinite however far the logits lie apart: r is q p α/t without its
quotient, whose t may underflow.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def symmetric_kl(logits: Tensor, q: Tensor, y: Tensor, alpha: float = 0.1, scale: float = 0.5) -> Tensor:
    """scale · mean over the batch of KL(t ‖ p̂) + KL(p̂ ‖ t): the LLS loss (Eq. 5; with scale ½ Appendix A's).

    logits: `[B, K]`; q: `[K, K]` logits of the soft labels, a row a class; y: `[B]` class indices; alpha in (0, 1].
    Returns a scalar, differentiable once in logits and q. Rows of absent classes get a gradient of exactly zero.
    """
    return _SymmetricKL.apply(logits, q, y, alpha, scale / len(y))


class _SymmetricKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float, factor: float) -> Tensor:
        at_y = y.unsqueeze(1)
        log_p, rows = F.log_softmax(logits, 1), q_logits.index_select(0, y)
        log_q = F.log_softmax(rows, 1)
        p, q = log_p.exp(), torch.exp(log_q, out=rows)  # the rows are a copy, of no more use
        p_y = p.gather(1, at_y)
        # log t is log α + log q but for the true class, whose share of α q in t is `of_q`
        log_aq_y = log_q.gather(1, at_y) + math.log(alpha)
        log_t_y = torch.logaddexp(log_aq_y, log_aq_y.new_tensor(_log1m(alpha)))
        m_y = log_p.gather(1, at_y) - log_t_y
        m = log_p.sub_(log_q).sub_(math.log(alpha)).scatter_(1, at_y, m_y)
        p_m, q_m = _rowwise(p, m), _rowwise(q, m)
        loss = (p_m - alpha * q_m - (1 - alpha) * m_y).sum() * factor

        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            r_y = p_y * (log_aq_y - log_t_y).exp_()
            to_z = (m + (1 - p_m)).mul_(p).sub_(q, alpha=alpha)
            to_z.scatter_(1, at_y, to_z.gather(1, at_y) - (1 - alpha))
            to_q = m.mul_(-alpha).add_(alpha * q_m + (1 - p_y + r_y)).mul_(q).sub_(p)
            to_q.scatter_(1, at_y, to_q.gather(1, at_y) + (p_y - r_y))
            ctx.save_for_backward(to_z, to_q, y)
            ctx.factor, ctx.num_classes = factor, len(q_logits)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        to_z, to_q, y = ctx.saved_tensors
        grad = grad * ctx.factor
        # an embedding's backward adds up each row in a fixed order: equal runs stay equal to the bit
        rows = torch.ops.aten.embedding_dense_backward(to_q * grad, y, ctx.num_classes, -1, False)
        return to_z * grad, rows, None, None, None


def _rowwise(a: Tensor, b: Tensor) -> Tensor:
    """Σ_i a_i b_i of each row: `[B, 1]`."""
    return (a * b).sum(1, keepdim=True)


def _log1m(alpha: float) -> float:
    return math.log1p(-alpha) if alpha < 1 else -math.inf
