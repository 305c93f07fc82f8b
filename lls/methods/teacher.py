"""The teacher of a method: a network, as a function."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lls.losses.inputs import flatten
from lls.methods.base import Batch

Teacher = Callable[[Tensor], Tensor]
"""A function from images `[B, C, H, W]` to logits `[B, K]`, without gradient. It is not a submodule, so that a
teacher's weights are not trained, counted or saved with the method, and the teacher stays in eval mode."""

NO_TEACHER = "this method has no teacher: pass one to the constructor or call set_teacher"


def no_teacher(x: Tensor) -> Tensor:
    """Stand for the teacher of a method that has none. Raises RuntimeError."""
    raise RuntimeError(NO_TEACHER)


def teacher_logits(teacher: Teacher, batch: Batch) -> Tensor:
    """Return the teacher's logits for the images of a batch, `[B, K]`, in the precision of the student's.

    Raises ValueError if they do not have the shape of the student's."""
    images: Any = batch.x  # None if the loss was called without images, which a teacher of stored logits does not need
    logits = flatten(teacher(images))
    if logits.shape != batch.logits.shape:
        shapes = f"{[*logits.shape]} and {[*batch.logits.shape]}"
        raise ValueError(f"logits of teacher and student have shapes {shapes}: must be the same")
    return logits.to(batch.logits.dtype)
