"""The LLS loss for a soft label of n candidates and one logit for all other classes, in closed form.

Symbols and formulas are those of lls/losses/symmetric_kl.py. Off the candidates t_j is one number, s. So the loss needs
few operations on `[B, K]`, and no target of that size:

    d_j = t_j - p_j, M_j = log t_j - log p_j      for all classes, with s in place of t_j off the candidates
    loss               Σ_j d_j M_j
    gradient to z_j    -(d_j + p_j (M_j - Σ_i p_i M_i))
    gradient to Q_y    h - w Σ h, where w is the softmax of the row and h_c = t_c M_c + d_c. At the true class h is
                       multiplied by the learned part of t_c. For the shared logit, h is summed over classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import symmetric_kl_of
from lls.losses.pytorch_internals import inside_transform, log_softmax_backward, minus_row_sums, softmax_backward
from lls.losses.symmetric_kl import forbid_double_backward


def sparse_symmetric_kl(
    logits: Tensor, q: Tensor, candidates: Tensor, y: Tensor, alpha: float = 0.1, scale: float = 0.5
) -> Tensor:
    """Return scale · [KL(t ‖ p̂) + KL(p̂ ‖ t)] of each sample, `[B]`, where t = (1-α) e_y + α softmax(q_y).

    The softmax covers n candidates and one logit that K-n other classes share evenly.

    logits: `[B, K]`.
    q: `[K, n+1]` logits. The last one is shared; at 0 it weighs as much as its K-n classes at 0.
    candidates: `[B, n]` classes, the true class first, n < K.
    y: `[B]` class indices.

    It can be differentiated once in logits and q. Inside torch.compile and the transforms of torch.func it is a
    composite of differentiable operations, with all derivatives.
    """
    if inside_transform():
        log_t = log_target(F.embedding(y, q), candidates, logits.shape[-1], alpha)
        return scale * symmetric_kl_of(log_t, logits.log_softmax(-1))
    return _SparseKL.apply(logits, q, candidates, y, alpha, scale)


def log_target(rows: Tensor, candidates: Tensor, num_classes: int, alpha: float) -> Tensor:
    """Return log t of t = (1-α) e_y + α softmax(q_y), `[B, K]`, by differentiable operations.

    rows: `[B, n+1]` logits q_y, or `[B, K]` if n = K. candidates: `[B, n]`, the true class first."""
    n = candidates.shape[1]
    log_w = log_shares(rows, num_classes - n)
    at_candidates = log_w[:, :n] + math.log(alpha)
    if alpha < 1:
        # new_full, because new_tensor would synchronise with the GPU
        at_y = torch.logaddexp(at_candidates[:, :1], log_w.new_full((), math.log1p(-alpha)))
        at_candidates = torch.cat([at_y, at_candidates[:, 1:]], 1)
    if n == num_classes:
        return at_candidates.scatter(1, candidates, at_candidates)
    elsewhere = log_w[:, n:] + (math.log(alpha) - math.log(num_classes - n))
    return elsewhere.expand(-1, num_classes).scatter(1, candidates, at_candidates)


def log_shares(rows: Tensor, num_others: int) -> Tensor:
    """Return the log-probabilities of logits `rows`, `[..., n+1]`, whose last column stands for `num_others` classes.

    If `num_others` is 0, all columns are candidates."""
    log_w = rows.log_softmax(-1)
    if not num_others:
        return log_w
    # Added after a softmax, because log(num_others) would lose its digits in an offset that all logits share.
    return torch.cat([log_w[..., :-1], log_w[..., -1:] + math.log(num_others)], -1).log_softmax(-1)


class _SparseKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, q: Tensor, candidates: Tensor, y: Tensor, alpha: float, scale: float) -> Tensor:
        n = candidates.shape[1]
        num_others = logits.shape[1] - n
        log_w = log_shares(q.index_select(0, y), num_others)
        log_t = log_w[:, :n] + math.log(alpha)
        log_s = log_w[:, n:] + (math.log(alpha) - math.log(num_others))
        if alpha < 1:
            log_t_y = torch.logaddexp(log_t[:, :1], log_t.new_full((), math.log1p(-alpha)))
            learned = (log_t[:, :1] - log_t_y).exp()
            log_t[:, :1] = log_t_y
        t, s = log_t.exp(), log_s.exp()
        log_p = logits.log_softmax(1)
        p = log_p.exp()
        # As in value_and_gradients of symmetric_kl.py, d, m and h have the opposite sign of the formulas.
        d_at, m_at = p.gather(1, candidates) - t, log_p.gather(1, candidates) - log_t
        d = (p - s).scatter_(1, candidates, d_at)
        m = (log_p - log_s).scatter_(1, candidates, m_at)
        losses = torch.linalg.vecdot(d, m).clamp_min_(0)  # rounding may make a loss near 0 negative

        h = d_at + t * m_at
        if alpha < 1:
            h[:, :1] *= learned
        # Of all other classes. Their d sum to minus those of the candidates.
        h_others = s * (m.sum(1, keepdim=True) - m_at.sum(1, keepdim=True)) - d_at.sum(1, keepdim=True)
        minus_grad_row = log_softmax_backward(torch.cat([h, h_others], 1), log_w, 1, h.dtype)
        grad_z = softmax_backward(m, p, 1, p.dtype).add_(d)
        ctx.save_for_backward(grad_z, minus_grad_row, y)
        ctx.scale, ctx.num_classes = scale, len(q)
        return losses.mul_(scale)

    @staticmethod
    def backward(ctx, grad: Tensor):
        forbid_double_backward("sparse_symmetric_kl")
        grad_z, minus_grad_row, y = ctx.saved_tensors
        grad = (grad * ctx.scale).unsqueeze(1)
        return grad_z * grad, minus_row_sums(minus_grad_row * grad, y, ctx.num_classes), None, None, None, None
