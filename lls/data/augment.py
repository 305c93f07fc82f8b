"""Augmentations of training batches, in addition to a data set's own crop and flip: functions `<name>(**keys)`.

All random numbers come from PyTorch's CPU generator, so that they are the same on every device. A checkpoint saves the
generator's state.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pixels = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, list[tuple[Tensor, float]]]]


class Augmentation(NamedTuple):
    """Two functions of a whole batch on the device. Neither changes its arguments.

    pixels: uint8 `[B, H, W, C]` to the same, before normalisation; None for no change.
    mix: mix(x, y) -> x, [(y, weight), ...], after normalisation. x is float32 `[B, C, H, W]` in channels_last.

    Each image has hard labels whose weights sum to one. The loop weights the losses of the labels. It does not mix the
    targets, because a loss such as LLS's is not linear in its target, and Q is indexed by one class.
    """

    pixels: Pixels | None
    mix: Mix


def none() -> Augmentation:
    """Leave images and labels as they are."""
    return Augmentation(None, identity_mix)


def cutout(length: int | None = None) -> Augmentation:
    """Cutout (DeVries & Taylor, 2017): set a square of each image to 0 after normalisation, the data set's mean.

    The centre is any pixel of the image; the part of the square beyond the border is ignored.
    length: side of the square in pixels. None: half of the image's side.
    """
    if length is not None and (type(length) is not int or length < 1):
        raise ValueError(f"length={length}: must be 1 or more pixels, or null")

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        height, width = x.shape[2:]
        side = min(height, width) // 2 if length is None else length
        centre = torch.stack([torch.randint(height, (len(x),)), torch.randint(width, (len(x),))])
        first = centre.to(x.device, non_blocking=True)[..., None] - side // 2
        rows, columns = (_in_interval(first[axis], side, size) for axis, size in enumerate((height, width)))
        outside = ~(rows[:, :, None] & columns[:, None, :])
        return identity_mix(x * outside[:, None], y)  # masked_fill would not keep channels_last

    return Augmentation(None, mix)


def mixup(alpha: float = 1.0) -> Augmentation:
    """Mixup (Zhang et al., 2018): λx + (1-λ)x', where x' is the batch in random order and λ ~ Beta(α, α) per batch."""
    sample_lambda = _beta_sampler(alpha)

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        lam, order = sample_lambda(), _random_order(y)
        return torch.lerp(x[order], x, lam), [(y, lam), (y[order], 1 - lam)]

    return Augmentation(None, mix)


def cutmix(alpha: float = 1.0, probability: float = 0.5) -> Augmentation:
    """CutMix (Yun et al., 2019): replace a box with area 1-λ of each image by another image's, λ ~ Beta(α, α).

    The box may reach beyond the border. The labels' weights follow from the area inside the image.
    probability: the share of batches that are mixed.
    """
    sample_lambda = _beta_sampler(alpha)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: must be at least 0 and at most 1")

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        if torch.rand(()).item() >= probability:
            return identity_mix(x, y)
        height, width = x.shape[2:]
        half_box = (1 - sample_lambda()) ** 0.5 / 2
        (top, bottom), (left, right) = (
            (max(0, round(centre - half_box * side)), min(side, round(centre + half_box * side)))
            for side, centre in ((height, _random_coordinate(height)), (width, _random_coordinate(width)))
        )
        order = _random_order(y)
        x = x.clone(memory_format=torch.preserve_format)
        x[:, :, top:bottom, left:right] = x[order, :, top:bottom, left:right]
        lam = 1 - (bottom - top) * (right - left) / (height * width)
        return x, [(y, lam), (y[order], 1 - lam)]

    return Augmentation(None, mix)


def randaugment(n: int = 2, m: int = 9) -> Augmentation:
    """RandAugment (Cubuk et al., 2020) as in torchvision: n operations of strength m, drawn for each image.

    m: strength on torchvision's scale of 0 to 30. The operations are in lls/data/randaugment.py.
    """
    if n < 1:
        raise ValueError(f"n={n}: must be 1 or more")
    if not 0 <= m <= 30:
        raise ValueError(f"m={m}: must be at least 0 and at most 30")
    from lls.data.randaugment import rand_augment

    return Augmentation(lambda x: rand_augment(x, n, m), identity_mix)


def identity_mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    return x, [(y, 1.0)]


def _random_order(y: Tensor) -> Tensor:
    return torch.randperm(len(y)).to(y.device, non_blocking=True)


def _in_interval(first: Tensor, length: int, size: int) -> Tensor:
    """Return which of an axis's `size` pixels lie in [first, first + length): bool `[B, size]`. first: `[B, 1]`."""
    pixel = torch.arange(size, device=first.device)
    return (pixel >= first) & (pixel < first + length)


def _beta_sampler(alpha: float) -> Callable[[], float]:
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: must be above 0")
    distribution = torch.distributions.Beta(alpha, alpha)
    return lambda: distribution.sample().item()


def _random_coordinate(side: int) -> float:
    return torch.rand(()).item() * side
