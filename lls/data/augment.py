"""What is done to a training batch on top of its data set's crop and flip: functions `<name>(**keys) -> Augmentation`.

All random numbers come from PyTorch's CPU generator, whose state a checkpoint keeps; they are the same on every device.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pixels = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, list[tuple[Tensor, float]]]]


class Augmentation(NamedTuple):
    """Two functions of a whole batch on the device, neither of which writes to its arguments.

    pixels: what happens before normalising, uint8 `[B, H, W, C]` to the same; None where that is nothing.
    mix: what happens after it, mix(x, y) -> x, [(y, weight), ...], where x is float32 `[B, C, H, W]` in channels_last.
    Each image's labels are hard labels with weights that sum to one. The loop weighs the losses by them instead of
    mixing the targets, since a loss such as LLS's is not linear in its target and Q is indexed by a class.
    """

    pixels: Pixels | None
    mix: Mix


def none() -> Augmentation:
    """Nothing: every image stays as it is and keeps its label."""
    return Augmentation(None, identity_mix)


def cutout(length: int | None = None) -> Augmentation:
    """Cutout (DeVries & Taylor, 2017): a square of every image is set to 0 after normalising, the data set's mean.

    Its centre is any pixel of the image, and what reaches over the border is lost. length: its side in pixels; None:
    half of the image's."""
    if length is not None and (type(length) is not int or length < 1):
        raise ValueError(f"length={length}: must be 1 or more pixels, or null")

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        height, width = x.shape[2:]
        side = min(height, width) // 2 if length is None else length
        centre = torch.stack([torch.randint(height, (len(x),)), torch.randint(width, (len(x),))])
        first = centre.to(x.device, non_blocking=True)[..., None] - side // 2
        rows, columns = (_within(first[axis], side, of) for axis, of in enumerate((height, width)))
        outside = ~(rows[:, :, None] & columns[:, None, :])
        return identity_mix(x * outside[:, None], y)  # masked_fill would not keep channels_last

    return Augmentation(None, mix)


def mixup(alpha: float = 1.0) -> Augmentation:
    """Mixup (Zhang et al., 2018): λx + (1-λ)x' with the batch in another order, λ ~ Beta(α, α) once a batch."""
    share = _beta(alpha)

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        kept, other = share(), _another_order(y)
        return torch.lerp(x[other], x, kept), [(y, kept), (y[other], 1 - kept)]

    return Augmentation(None, mix)


def cutmix(alpha: float = 1.0, probability: float = 0.5) -> Augmentation:
    """CutMix (Yun et al., 2019): a box whose area is 1-λ of the image, λ ~ Beta(α, α), comes from another image. The
    box may reach over the border, and the labels' weights are those of the area that was really exchanged."""
    share = _beta(alpha)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: must be at least 0 and at most 1")

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        if torch.rand(()).item() >= probability:
            return identity_mix(x, y)
        height, width = x.shape[2:]
        cut = (1 - share()) ** 0.5 / 2
        (top, bottom), (left, right) = (
            (max(0, round(middle - cut * side)), min(side, round(middle + cut * side)))
            for side, middle in ((height, random_coordinate(height)), (width, random_coordinate(width)))
        )
        other = _another_order(y)
        x = x.clone(memory_format=torch.preserve_format)
        x[:, :, top:bottom, left:right] = x[other, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        return x, [(y, kept), (y[other], 1 - kept)]

    return Augmentation(None, mix)


def randaugment(n: int = 2, m: int = 9) -> Augmentation:
    """RandAugment (Cubuk et al., 2020) as in torchvision: n operations of strength m on every image, drawn one by one.

    m is on torchvision's scale of 0 to 30; lls/data/randaugment.py has the operations."""
    if n < 1:
        raise ValueError(f"n={n}: must be 1 or more")
    if not 0 <= m <= 30:
        raise ValueError(f"m={m}: must be at least 0 and at most 30")
    from lls.data.randaugment import rand_augment

    return Augmentation(lambda x: rand_augment(x, n, m), identity_mix)


def identity_mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    return x, [(y, 1.0)]


def _another_order(y: Tensor) -> Tensor:
    return torch.randperm(len(y)).to(y.device, non_blocking=True)


def _within(first: Tensor, length: int, side: int) -> Tensor:
    """`[B, side]`: which of an axis's pixels lie in [first, first + length), with `first` for each image."""
    pixel = torch.arange(side, device=first.device)
    return (pixel >= first) & (pixel < first + length)


def _beta(alpha: float) -> Callable[[], float]:
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: must be above 0")
    distribution = torch.distributions.Beta(alpha, alpha)
    return lambda: distribution.sample().item()


def random_coordinate(side: int) -> float:
    return torch.rand(()).item() * side
