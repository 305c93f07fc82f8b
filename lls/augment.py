"""Augmentations that touch the labels too: functions `<name>(**keys) -> mix`, where mix(x, y) -> x, [(y, weight), ...].

Each image's labels are hard labels with weights that sum to one. The loop weighs the losses by them instead of mixing
the targets, since a loss such as LLS's is not linear in its target and Q is indexed by a class.
"""

from collections.abc import Callable

from torch import Tensor

Mix = Callable[[Tensor, Tensor], tuple[Tensor, list[tuple[Tensor, float]]]]


def none() -> Mix:
    """Nothing beyond the dataset's own crop and flip: every image keeps its label."""
    return lambda x, y: (x, [(y, 1.0)])
