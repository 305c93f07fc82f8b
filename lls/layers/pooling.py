"""Max-pooling of 2x2 pixels and the ReLU after it, as one function in C."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lls import native
from lls.layers.nhwc import empty, in_order, suits


class MaxPoolReLU(nn.MaxPool2d):
    """ReLU of the largest of 2x2 pixels, the first of them in reading order taking the gradient, as PyTorch has it."""

    def forward(self, x: Tensor) -> Tensor:
        if suits(x) and min(x.shape[2:]) > 1 and x.numel() and native.library() is not None:
            return _MaxPoolReLU.apply(x)
        return super().forward(x).relu_()


class _MaxPoolReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.shape = n, c, height, width = x.shape
        y = empty(n, c, height // 2, width // 2)
        chosen = torch.empty_like(y, dtype=torch.uint8)
        ctx.save_for_backward(chosen)
        code = native.library().lls_max_pool_relu(x.data_ptr(), n, height, width, c, y.data_ptr(), chosen.data_ptr())
        native.check(code)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (chosen,), (n, c, height, width) = ctx.saved_tensors, ctx.shape
        grad, to_x = in_order(grad), empty(*ctx.shape)
        code = native.library().lls_max_pool_relu_backward(
            grad.data_ptr(), chosen.data_ptr(), n, height, width, c, to_x.data_ptr()
        )
        native.check(code)
        return to_x


def halves(layer: nn.MaxPool2d) -> bool:
    """2x2 pixels to one, none of them twice."""
    two = (2, (2, 2))
    return (
        layer.kernel_size in two
        and layer.stride in two
        and layer.padding in (0, (0, 0))
        and layer.dilation in (1, (1, 1))
        and not (layer.ceil_mode or layer.return_indices)
    )
