"""Batch normalisation, what a residual block adds to it, and the ReLU after that, as one function in C."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lls import native
from lls.layers.nhwc import empty, in_order, suits


class BatchNormReLU(nn.BatchNorm2d):
    """Batch normalisation, and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return norm_relu(self, x)


def norm_relu(norm: nn.BatchNorm2d, x: Tensor, add: Tensor | None = None) -> Tensor:
    """ReLU of norm(x) + add; x, add: `[N, C, H, W]`. In training, statistics are taken and kept as PyTorch does."""
    if not (norm.training and suits(x) and _fits(norm, x, add) and native.library() is not None):
        y = nn.BatchNorm2d.forward(norm, x)
        return (y if add is None else y.add_(add)).relu_()
    norm.num_batches_tracked.add_(1)
    return _NormReLU.apply(x, add, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps, norm.momentum)


def usual(layer: nn.Module) -> bool:
    """PyTorch's own, with weight and bias, and running statistics in which older batches count less and less."""
    return (
        type(layer) is nn.BatchNorm2d
        and layer.affine
        and layer.track_running_stats
        and layer.momentum is not None
        and layer.num_batches_tracked is not None
    )


def _fits(norm: nn.BatchNorm2d, x: Tensor, add: Tensor | None) -> bool:
    return (
        (add is None or (suits(add) and add.shape == x.shape))
        and x.shape[1] == norm.num_features
        and x.numel() > norm.num_features  # of one pixel there is no variance
        and all(map(_readable, (norm.weight, norm.bias, norm.running_mean, norm.running_var)))
    )


def _readable(x: Tensor) -> bool:
    """Whether C can read a vector where it lies."""
    return x.is_cpu and x.dtype == torch.float32 and x.is_contiguous() and not x.is_neg()


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        add: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
    ) -> Tensor:
        n, c, height, width = x.shape
        y, mean, inverse = empty(*x.shape), x.new_empty(c), x.new_empty(c)
        code = native.library().lls_norm_relu(
            x.data_ptr(),
            None if add is None else add.data_ptr(),
            *(n * height * width, c),
            *(weight.data_ptr(), bias.data_ptr(), eps, momentum, running_mean.data_ptr(), running_var.data_ptr()),
            *(mean.data_ptr(), inverse.data_ptr(), y.data_ptr()),
        )
        native.check(code)
        ctx.save_for_backward(x, y, weight, mean, inverse)
        ctx.adds = add is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, y, weight, mean, inverse = ctx.saved_tensors
        (n, c, height, width), grad = x.shape, in_order(grad)
        grad_x, grad_add = empty(*x.shape), empty(*x.shape) if ctx.adds else None
        grad_weight, grad_bias = x.new_empty(c), x.new_empty(c)
        code = native.library().lls_norm_relu_backward(
            *(grad.data_ptr(), x.data_ptr(), y.data_ptr(), n * height * width, c),
            *(weight.data_ptr(), mean.data_ptr(), inverse.data_ptr()),
            *(grad_x.data_ptr(), grad_add.data_ptr() if ctx.adds else None),
            *(grad_weight.data_ptr(), grad_bias.data_ptr()),
        )
        native.check(code)
        return grad_x, grad_add, grad_weight, grad_bias, None, None, None, None
