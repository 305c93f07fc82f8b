"""Augmentations that touch the labels too: functions `<name>(**keys) -> mix`, where mix(x, y) -> x, [(y, weight), ...].

Each image's labels are hard labels with weights that sum to one. The loop weighs the losses by them instead of mixing
the targets, since a loss such as LLS's is not linear in its target and Q is indexed by a class.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Mix = Callable[[Tensor, Tensor], tuple[Tensor, list[tuple[Tensor, float]]]]


def none() -> Mix:
    """Nothing beyond the dataset's own crop and flip: every image keeps its label."""
    return lambda x, y: (x, [(y, 1.0)])


def mixup(alpha: float = 1.0) -> Mix:
    """Mixup (Zhang et al., 2018): λx + (1-λ)x' with the batch in another order, λ ~ Beta(α, α) once a batch."""
    share = _beta(alpha)

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        kept, other = share(), torch.randperm(len(y), device=y.device)
        return torch.lerp(x[other], x, kept), [(y, kept), (y[other], 1 - kept)]

    return mix


def cutmix(alpha: float = 1.0, probability: float = 0.5) -> Mix:
    """CutMix (Yun et al., 2019): a box whose area is 1-λ of the image, λ ~ Beta(α, α), comes from another image. The
    box may reach over the border, and the labels' weights are those of the area that was really exchanged."""
    share = _beta(alpha)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: must be at least 0 and at most 1")

    def mix(x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[Tensor, float]]]:
        if torch.rand(()).item() >= probability:
            return x, [(y, 1.0)]
        height, width = x.shape[2:]
        cut = (1 - share()) ** 0.5 / 2
        (top, bottom), (left, right) = (
            (max(0, round(middle - cut * side)), min(side, round(middle + cut * side)))
            for side, middle in ((height, _anywhere(height)), (width, _anywhere(width)))
        )
        other = torch.randperm(len(y), device=y.device)
        x = x.clone(memory_format=torch.preserve_format)
        x[:, :, top:bottom, left:right] = x[other, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        return x, [(y, kept), (y[other], 1 - kept)]

    return mix


def _beta(alpha: float) -> Callable[[], float]:
    """Draws from Beta(α, α) with PyTorch's generator, whose state a checkpoint keeps."""
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: must be above 0")
    distribution = torch.distributions.Beta(alpha, alpha)
    return lambda: distribution.sample().item()


def _anywhere(side: int) -> float:
    return torch.rand(()).item() * side
