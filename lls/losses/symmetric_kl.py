"""The LLS loss in closed form: value and both gradients in one pass. Autograd would need some fifty operations.

With q = softmax(Q_y), t = (1-α) e_y + α q, M = log t - log p and h = t - p + t M, where h_y is multiplied by
α q_y / t_y:

    loss                KL(t ‖ p) + KL(p ‖ t) = Σ_i (t_i - p_i) M_i
    gradient to z_j     p_j - t_j - p_j (M_j - Σ_i p_i M_i)         Eq. 9, plus the reverse KL's part, which Eq. 9 lacks
    gradient to Q_yj    h_j - q_j Σ_i h_i                           Eqs. 16 and 18

No term of the loss's sum is negative, so that it keeps its digits where t is close to p. What may underflow stays in
log space, so that all values are finite for any logits. On an NVIDIA GPU two Triton kernels do most of the work
(lls/losses/symmetric_kl_triton.py).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.device import has_triton
from lls.losses.divergences import log_mixture, symmetric_kl_of
from lls.losses.pytorch_internals import inside_transform, log_softmax_backward, minus_row_sums, softmax_backward
from lls.losses.reduction import reduce

# The Triton kernel that adds up the rows of Q reads all labels in each of its programs, and is compiled for each batch
# size. This suits batches of images, but not the pixels of a segmentation.
MAX_BATCH_OF_KERNEL = 4096


def symmetric_kl(
    logits: Tensor, q: Tensor, y: Tensor, alpha: float = 0.1, scale: float = 0.5, reduction: str = "mean"
) -> Tensor:
    """Return scale · [KL(t ‖ p̂) + KL(p̂ ‖ t)]: the LLS loss (Eq. 5; with scale ½, Appendix A's). It is never negative.

    logits: `[B, K]`.
    q: `[K, K]` logits of the soft labels, one row per class.
    y: `[B]` class indices.
    alpha: α, in (0, 1].
    reduction: `mean` or `sum` over the batch (a scalar), or `none` (`[B]`). The mean of an empty batch is nan.

    It can be differentiated once in logits and q. Inside torch.compile and the transforms of torch.func it is a
    composite of differentiable operations, with all derivatives. Rows of absent classes get a gradient of exactly zero.
    Raises ValueError if q has another shape.
    """
    k = logits.shape[-1]
    if q.shape != (k, k):
        raise ValueError(f"q of shape {[*q.shape]} for {k} classes: must be {k} x {k}")
    if inside_transform():
        return scale * reduce(_composite(logits, q, y, alpha), reduction)
    if reduction == "none":
        return _SymmetricKL.apply(logits, q, y, alpha, scale, True)
    if reduction == "mean":
        b = y.shape[0]
        scale = scale / b if b else math.nan
    return _SymmetricKL.apply(logits, q, y, alpha, scale, False)


def loss_kernel(logits: Tensor) -> str:
    """Return what computes symmetric_kl of these logits: `triton` or `torch`."""
    return "triton" if logits.is_cuda and logits.dtype == torch.float32 and has_triton(logits.device) else "torch"


def _composite(logits: Tensor, q: Tensor, y: Tensor, alpha: float) -> Tensor:
    """Return the losses `[B]` by differentiable operations. An embedding adds up rows of Q in a fixed order."""
    log_q = F.embedding(y, q).log_softmax(-1)
    return symmetric_kl_of(log_mixture(log_q, y, alpha), logits.log_softmax(-1))


class _SymmetricKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, q: Tensor, y: Tensor, alpha: float, factor: float, per_sample: bool) -> Tensor:
        ctx.factor, ctx.num_classes = factor, q.shape[0]
        ctx.triton = loss_kernel(logits) == "triton"
        if ctx.triton:
            from lls.losses import symmetric_kl_triton as triton_kl

            losses, grad_z, minus_grad_q = triton_kl.value_and_gradients(logits, q, y, alpha)
            loss = losses if per_sample else losses.sum()
        else:
            loss, grad_z, minus_grad_q = value_and_gradients(logits, q, y, alpha, per_sample)
        ctx.save_for_backward(grad_z, minus_grad_q, y)
        return loss.mul_(factor)

    @staticmethod
    def backward(ctx, grad: Tensor):
        forbid_double_backward("symmetric_kl")
        grad_z, minus_grad_q, y = ctx.saved_tensors
        grad = grad * ctx.factor  # a scalar, or one number per sample
        column = grad.unsqueeze(1) if grad.dim() else grad
        if ctx.triton and len(y) <= MAX_BATCH_OF_KERNEL:
            from lls.losses import symmetric_kl_triton as triton_kl

            grad_q = triton_kl.minus_scaled_row_sums(minus_grad_q, y, ctx.num_classes, grad)
        else:
            grad_q = minus_row_sums(minus_grad_q * column, y, ctx.num_classes)
        return grad_z * column, grad_q, None, None, None, None


def forbid_double_backward(name: str) -> None:
    """Raise RuntimeError if a second derivative is requested. once_differentiable would cost 5 % of the loss's time."""
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name} can be differentiated only once: use torch.func instead of create_graph=True")


def value_and_gradients(
    logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float, per_sample: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return three tensors: the loss, its gradient to the logits, the negative of its gradient to the rows Q_y.

    The loss is summed over the batch, or `[B]` with `per_sample`. The gradients are those of each sample, `[B, K]`.
    Written with few operations, because each costs more than its arithmetic. For the same reason d, m and h have the
    opposite sign of the formulas.
    """
    at_y = y.unsqueeze(1)
    log_p, log_q = logits.log_softmax(1), q_logits.index_select(0, y).log_softmax(1)
    log_t = log_q + math.log(alpha)
    if alpha < 1:
        learned = log_t.gather(1, at_y).exp_()
        t_y = learned + (1 - alpha)
        log_t.scatter_(1, at_y, t_y.log())
    p, t = log_p.exp(), log_t.exp()
    m, d = log_p.sub_(log_t), p - t
    loss = torch.linalg.vecdot(d, m) if per_sample else d.view(-1).dot(m.view(-1))
    h = t.mul_(m).add_(d)
    if alpha < 1:
        h.scatter_(1, at_y, h.gather(1, at_y).mul_(learned.div_(t_y)))
    # No term of the sum is negative, but rounding may make it so where t and p are nearly equal.
    loss = loss.clamp_min_(0)
    return loss, softmax_backward(m, p, 1, p.dtype).add_(d), log_softmax_backward(h, log_q, 1, h.dtype)
