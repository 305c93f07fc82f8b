"""The LLS loss on an NVIDIA GPU: one kernel for the value and both gradients, one that adds up the rows of Q.

As single PyTorch operations the loss would cost mostly launch time. Symbols are those of lls/losses/symmetric_kl.py.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


def value_and_gradients(logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute lls.losses.symmetric_kl.value_and_gradients for float32 logits on a GPU."""
    (b, k), logits, q_logits, y = logits.shape, logits.contiguous(), q_logits.contiguous(), y.contiguous()
    losses, minus_grad_z, grad_q = logits.new_empty(b), torch.empty_like(logits), torch.empty_like(logits)
    block = triton.next_power_of_2(k)
    sample_kernel[(b,)](
        *(logits, q_logits, y, losses, minus_grad_z, grad_q, k, alpha, (1 - alpha) / alpha),
        BLOCK=block,
        num_warps=min(16, max(1, block // 256)),
    )
    return losses.sum(), minus_grad_z, grad_q


def sum_rows(rows: Tensor, y: Tensor, num_classes: int, factor: Tensor) -> Tensor:
    """Return `[num_classes, K]`: row c is `factor`, a scalar, times the sum of the `rows` `[B, K]` whose y is c."""
    (b, k), y = rows.shape, y.contiguous()
    sums, block = rows.new_empty(num_classes, k), min(1024, triton.next_power_of_2(k))
    class_kernel[(num_classes, triton.cdiv(k, block))](rows, y, factor, sums, k, B=b, BLOCK=block)
    return sums


@triton.jit
def sample_kernel(z_at, q_at, y_at, loss_at, minus_grad_z_at, grad_q_at, k, alpha, odds, BLOCK: tl.constexpr):
    sample = tl.program_id(0).to(tl.int64)
    y = tl.load(y_at + sample)
    column = tl.arange(0, BLOCK)
    inside, at_y = column < k, column == y
    log_p, p = _softmax(tl.load(z_at + sample * k + column, mask=inside, other=-float("inf")))
    log_q, q = _softmax(tl.load(q_at + y * k + column, mask=inside, other=-float("inf")))
    q_y = tl.sum(tl.where(at_y, q, 0.0), 0)
    log_t = tl.where(at_y & (odds > 0), tl.log(q_y + odds), log_q)
    share = tl.where(odds > 0, q_y / (q_y + odds), 1.0)
    t = alpha * tl.exp(log_t)
    m, d = tl.where(inside, log_t - log_p, 0.0), t - p
    h = (d + t * m) * tl.where(at_y, share, 1.0)
    tl.store(loss_at + sample, tl.sum(d * m, 0))
    tl.store(minus_grad_z_at + sample * k + column, d + p * (m - tl.sum(p * m, 0)), mask=inside)
    tl.store(grad_q_at + sample * k + column, h - q * tl.sum(h, 0), mask=inside)


@triton.jit
def _softmax(logits):
    logits -= tl.max(logits, 0)
    weights = tl.exp(logits)
    total = tl.sum(weights, 0)
    return logits - tl.log(total), weights / total


@triton.jit
def class_kernel(rows_at, y_at, factor_at, sums_at, k, B: tl.constexpr, BLOCK: tl.constexpr):
    target_class = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < k
    total = tl.zeros([BLOCK], tl.float32)
    for sample in range(B):  # in order and without atomics, so that repeated runs are bit-exact
        if tl.load(y_at + sample) == target_class:
            total += tl.load(rows_at + sample * k + column, mask=inside, other=0.0)
    tl.store(sums_at + target_class * k + column, total * tl.load(factor_at), mask=inside)
