"""The LLS loss in closed form: value and both gradients in one pass. Autograd would need some fifty operations.

With q = softmax(Q_y), t = (1-α) e_y + α q, M = log t - log p and h = t - p + t M, where h_y is multiplied by
α q_y / t_y:

    loss                KL(t ‖ p) + KL(p ‖ t) = Σ_i (t_i - p_i) M_i
    gradient to z_j     p_j - t_j - p_j (M_j - Σ_i p_i M_i)         Eq. 9, plus the reverse KL's part, which Eq. 9 lacks
    gradient to Q_yj    h_j - q_j Σ_i h_i                           Eqs. 16 and 18

Adding one number to all M_i changes none of these, because t - p sums to zero. M therefore leaves out the log α that
all entries except the true class's have in common. Everything that may underflow stays in log space, so that all values
are finite for any logits. On an NVIDIA GPU two Triton kernels do most of the work (lls/losses/symmetric_kl_triton.py).
"""

import torch
from torch import Tensor

from lls.device import has_triton
from lls.losses.aten_backward import log_softmax_backward, softmax_backward, sum_rows


def symmetric_kl(logits: Tensor, q: Tensor, y: Tensor, alpha: float = 0.1, scale: float = 0.5) -> Tensor:
    """Return scale · mean over the batch of KL(t ‖ p̂) + KL(p̂ ‖ t): the LLS loss (Eq. 5; with scale ½, Appendix A's).

    logits: `[B, K]`.
    q: `[K, K]` logits of the soft labels, one row per class.
    y: `[B]` class indices.
    alpha: α, in (0, 1].

    Returns a scalar that can be differentiated once in logits and q. Rows of absent classes get a gradient of exactly
    zero. Raises ValueError if q has another shape.
    """
    k = logits.shape[1]
    if q.shape != (k, k):
        raise ValueError(f"q of shape {[*q.shape]} for {k} classes: must be {k} x {k}")
    return _SymmetricKL.apply(logits, q, y, alpha, scale / len(y))


def loss_kernel(logits: Tensor) -> str:
    """Return what computes symmetric_kl of these logits: `triton` or `torch`."""
    return "triton" if logits.dtype == torch.float32 and has_triton(logits.device) else "torch"


class _SymmetricKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float, factor: float) -> Tensor:
        ctx.factor, ctx.num_classes = factor, len(q_logits)
        ctx.triton = loss_kernel(logits) == "triton"
        if ctx.triton:
            from lls.losses import symmetric_kl_triton as triton_kl

            loss, minus_grad_z, grad_q = triton_kl.value_and_gradients(logits, q_logits, y, alpha)
        else:
            loss, minus_grad_z, grad_q = value_and_gradients(logits, q_logits, y, alpha)
        ctx.save_for_backward(minus_grad_z, grad_q, y)
        return loss * factor

    @staticmethod
    def backward(ctx, grad: Tensor):
        forbid_double_backward("symmetric_kl")
        minus_grad_z, grad_q, y = ctx.saved_tensors
        grad = grad * ctx.factor
        if ctx.triton:
            from lls.losses import symmetric_kl_triton as triton_kl

            rows = triton_kl.sum_rows(grad_q, y, ctx.num_classes, grad)
        else:
            rows = sum_rows(grad_q * grad, y, ctx.num_classes, -1, False)
        return minus_grad_z * -grad, rows, None, None, None


def forbid_double_backward(name: str) -> None:
    """Raise RuntimeError if a second derivative is requested. once_differentiable would cost 5 % of the loss's time."""
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name} can be differentiated only once: do not use create_graph=True")


def value_and_gradients(logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return three tensors: the loss, the negative of its gradient to the logits, its gradient to the rows Q_y.

    The loss is summed over the batch; the gradients are per sample, `[B, K]`. Written with few operations, because each
    costs more than its arithmetic.
    """
    at_y, odds = y.unsqueeze(1), (1 - alpha) / alpha
    log_p, log_q = logits.log_softmax(1), q_logits.index_select(0, y).log_softmax(1)
    if alpha < 1:  # log_t is log(t/α)
        q_y = log_q.gather(1, at_y).exp_()
        t_y_over_alpha = q_y + odds
        log_t = log_q.scatter(1, at_y, t_y_over_alpha.log())
    else:
        log_t = log_q.clone()
    p, t = log_p.exp(), log_t.exp().mul_(alpha)
    m, d = log_t.sub_(log_p), t - p
    h = t.mul_(m).add_(d)
    if alpha < 1:
        h.scatter_(1, at_y, h.gather(1, at_y).mul_(q_y).div_(t_y_over_alpha))
    loss = d.view(-1).dot(m.view(-1))
    return loss, softmax_backward(m, p, 1, p.dtype).add_(d), log_softmax_backward(h, log_q, 1, h.dtype)
