"""The LLS loss on an NVIDIA GPU: one kernel for the value and both gradients, one that adds up the rows of Q.

As single PyTorch operations the loss would cost mostly launch time. Symbols are those of lls/losses/symmetric_kl.py.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor


def value_and_gradients(logits: Tensor, q_logits: Tensor, y: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute lls.losses.symmetric_kl.value_and_gradients, per sample, for float32 logits on a GPU.

    A label out of range gives a loss of nan. Raising an error would need to wait for the device."""
    (b, k), logits, q_logits, y = logits.shape, logits.contiguous(), q_logits.contiguous(), y.contiguous()
    losses, grad_z, minus_grad_q = logits.new_empty(b), torch.empty_like(logits), torch.empty_like(logits)
    block = triton.next_power_of_2(k)
    if b > 0:
        sample_kernel[(b,)](
            *(logits, q_logits, y, losses, grad_z, minus_grad_q, k, alpha, 1 - alpha, math.log(alpha)),
            BLOCK=block,
            num_warps=min(16, max(1, block // 256)),
        )
    return losses, grad_z, minus_grad_q


def minus_scaled_row_sums(rows: Tensor, y: Tensor, num_classes: int, factor: Tensor) -> Tensor:
    """Return `[num_classes, K]`: row c is minus the sum of factor · row over the `rows` `[B, K]` whose y is c.

    factor: a scalar, or `[B]`."""
    (b, k), y, factor = rows.shape, y.contiguous(), factor.expand(len(y))
    sums, block = rows.new_empty(num_classes, k), min(1024, triton.next_power_of_2(k))
    grid = (num_classes, triton.cdiv(k, block))
    class_kernel[grid](rows, y, factor, factor.stride(0), sums, k, B=b, BLOCK=block)
    return sums


@triton.jit
def sample_kernel(
    z_at, q_at, y_at, loss_at, grad_z_at, minus_grad_q_at, k, alpha, hard_share, log_alpha, BLOCK: tl.constexpr
):
    sample = tl.program_id(0).to(tl.int64)
    y = tl.load(y_at + sample)
    known = (y >= 0) & (y < k)
    column = tl.arange(0, BLOCK)
    inside, mixed = column < k, (column == y) & (hard_share > 0)
    log_p, p = _softmax(tl.load(z_at + sample * k + column, mask=inside, other=-float("inf")))
    log_q, q = _softmax(tl.load(q_at + y * k + column, mask=inside & known, other=-float("inf")))
    learned = alpha * q
    t = tl.where(mixed, learned + hard_share, learned)
    m = tl.where(inside, tl.where(mixed, tl.log(t), log_q + log_alpha) - log_p, 0.0)
    d = t - p
    h = (d + t * m) * tl.where(mixed, learned / t, 1.0)
    loss = tl.sum(d * m, 0)
    loss = tl.where(loss < 0, 0.0, loss)  # unlike tl.maximum, this keeps a nan
    tl.store(loss_at + sample, tl.where(known, loss, float("nan")))
    tl.store(grad_z_at + sample * k + column, -d - p * (m - tl.sum(p * m, 0)), mask=inside)
    tl.store(minus_grad_q_at + sample * k + column, q * tl.sum(h, 0) - h, mask=inside)


@triton.jit
def _softmax(logits):
    logits -= tl.max(logits, 0)
    weights = tl.exp(logits)
    total = tl.sum(weights, 0)
    return logits - tl.log(total), weights / total


@triton.jit
def class_kernel(rows_at, y_at, factor_at, factor_stride, sums_at, k, B: tl.constexpr, BLOCK: tl.constexpr):
    target_class = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < k
    total = tl.zeros([BLOCK], tl.float32)
    for sample in range(B):  # in order and without atomics, so that repeated runs are bit-exact
        if tl.load(y_at + sample) == target_class:
            row = tl.load(rows_at + sample * k + column, mask=inside, other=0.0)
            total -= row * tl.load(factor_at + sample * factor_stride)
    tl.store(sums_at + target_class * k + column, total, mask=inside)
