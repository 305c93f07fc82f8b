"""A convolution of a small map, as matrix products."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lls.layers.nhwc import empty, in_order, suits

# Up to how many places of the result, and from how many images and pairs of channels on, matrix products were measured
# to be faster than oneDNN's convolution: 4 to 5 times at 2x2 places, 1.6 times at 4x4, 0.8 times at 8x8.
PLACES, IMAGES, CHANNELS = 16, 64, 128 * 128


class Conv2d(nn.Conv2d):
    """A convolution that is done by matrix products where the map is small, and the padding much of it."""

    def forward(self, x: Tensor) -> Tensor:
        if self._pays(x):
            return _Products.apply(x, self.weight, self.bias, self.stride, self.padding)
        return super().forward(x)

    def _pays(self, x: Tensor) -> bool:
        if not suits(x) or len(x) < IMAGES or self.in_channels * self.out_channels < CHANNELS:
            return False
        height, width = _places(x.shape, self.weight.shape, self.stride, self.padding)
        few = min(height, width) > 0 and height * width <= PLACES
        return few and x.shape[1] == self.in_channels and suits(self.weight.detach())


class _Products(torch.autograd.Function):
    """A convolution as a matrix product for each place of the result and row of taps, of which those inside the map
    count alone. All factors are views: in channels_last, BLAS takes them as they lie in memory."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rest = x.shape[1:], weight.shape[1:], stride, padding
        y = empty(len(x), len(weight), *_places(*ctx.rest))
        y.copy_(bias[:, None, None]) if bias is not None else y.zero_()
        out, rows, taps = y.permute(0, 2, 3, 1), _rows(x), _rows(weight)
        for at, seen, by in _products(*ctx.rest):
            out[at].addmm_(rows[seen], taps[by].t())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        grad = in_order(grad).permute(0, 2, 3, 1)
        rows, taps = _rows(x), _rows(weight)
        grad_x = empty(*x.shape).zero_() if to_x else None
        grad_weight = empty(*weight.shape).zero_() if to_weight else None
        for at, seen, by in _products(*ctx.rest):
            if to_x:
                _rows(grad_x)[seen].addmm_(grad[at], taps[by])
            if to_weight:
                _rows(grad_weight)[by].addmm_(grad[at].t(), rows[seen])
        return grad_x, grad_weight, grad.sum((0, 1, 2)) if to_bias else None, None, None


def usual(layer: nn.Conv2d) -> bool:
    """One group, no holes, and zeros around, less than the kernel's size of them; larger than one pixel, since of the
    others PyTorch makes a matrix product itself."""
    return (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.kernel_size != (1, 1)
        and not isinstance(layer.padding, str)
        and all(pad < taps for pad, taps in zip(layer.padding, layer.kernel_size, strict=True))
    )


def _rows(x: Tensor) -> Tensor:
    """`[N, C, H, W]` in channels_last as `[N, H, W·C]`."""
    return x.permute(0, 2, 3, 1).flatten(2)


def _places(x: tuple, weight: tuple, stride: tuple, padding: tuple) -> tuple[int, int]:
    """Height and width of the result, of shapes that end in `[H, W]` and `[h, w]`."""
    return tuple((x[i] + 2 * padding[i] - weight[i]) // stride[i] + 1 for i in (-2, -1))


@cache
def _products(x: tuple, weight: tuple, stride: tuple, padding: tuple) -> list[tuple[tuple, tuple, tuple]]:
    """Of shapes `[C, H, W]` and `[C, h, w]`, for each product: where in the result `[N, H', W', O]`, of which part of
    the images' rows `[N, H, W·C]`, by which taps `[O, h, w·C]`."""
    c, sides = x[0], []
    for i in (-2, -1):
        firsts = [at * stride[i] - padding[i] for at in range(_places(x, weight, stride, padding)[i])]
        inside = [(max(first, 0), min(first + weight[i], x[i])) for first in firsts]
        sides.append([(start, stop, start - first) for first, (start, stop) in zip(firsts, inside, strict=True)])
    everything = slice(None)
    return [
        (
            (everything, y, x_),
            (everything, row, slice(left * c, right * c)),
            (everything, first_row + row - top, slice(first * c, (first + right - left) * c)),
        )
        for y, (top, bottom, first_row) in enumerate(sides[0])
        for x_, (left, right, first) in enumerate(sides[1])
        for row in range(top, bottom)
    ]
