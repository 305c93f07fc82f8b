"""Check and reshape what a loss is called with: logits and labels as in torch.nn.functional.cross_entropy."""

from numbers import Real

import torch
from torch import Tensor

from lls.losses.pytorch_internals import assert_async, inside_transform


def flatten(values: Tensor) -> Tensor:
    """Return `[N, K]` for `[K]`, `[B, K]` or `[B, K, d1, ...]`, whose second dimension is the one of classes."""
    if values.dim() == 2:
        return values
    return values.unsqueeze(0) if values.dim() == 1 else values.movedim(1, -1).flatten(0, -2)


def check_inputs(logits: Tensor, y: Tensor, num_classes: int | None) -> None:
    """Check types, shapes and devices, but not values. num_classes: K of the loss, or None to accept any.

    Raises TypeError for a wrong type, dtype or layout, and ValueError for a wrong shape, number of classes or device.
    """
    check_tensor("logits", logits)
    check_tensor("labels", y)
    if not logits.is_floating_point():
        raise TypeError(f"logits of {logits.dtype}: must be floating point")
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"labels of {y.dtype}: must be integers (class indices) or floating point (soft labels)")
    if y.device != logits.device:
        raise ValueError(f"labels on {y.device} and logits on {logits.device}: must be on the same device")
    shape = list(logits.shape)
    if not shape:
        raise ValueError("logits without dimensions: must be [B, K], [B, K, d1, ...] or [K]")
    classes = shape.pop(min(1, len(shape) - 1))
    if classes != num_classes and (num_classes is not None or classes == 0):
        expected = "one or more" if num_classes is None else num_classes
        raise ValueError(f"logits {_shape_text(logits)} have {classes} classes: [B, K, ...] must have {expected}")
    soft = y.is_floating_point()
    if (y.shape != logits.shape) if soft else (list(y.shape) != shape):
        shapes = f"{_shape_text(y)} for logits {_shape_text(logits)}"
        if soft:
            raise ValueError(f"soft labels {shapes}: must have the same shape (class indices are integers)")
        hint = "; one-hot labels must be floating point" if y.shape == logits.shape else ""
        raise ValueError(f"labels {shapes}: must have shape {shape}{hint}")


def _shape_text(tensor: Tensor) -> str:
    return f"of shape {[*tensor.shape]}"


def check_tensor(name: str, tensor: object) -> None:
    """Raise TypeError unless `tensor` is a dense tensor, and ValueError if its memory was freed."""
    if not isinstance(tensor, Tensor):
        hint = ", such as output.logits" if hasattr(tensor, "logits") else ""
        raise TypeError(f"{name} of type {type(tensor).__name__}: must be a tensor{hint}")
    if hasattr(tensor, "full_tensor"):  # a DTensor: this process holds a part of it
        raise TypeError(f"{name} of type {type(tensor).__name__}: must be a plain tensor, such as x.full_tensor()")
    if tensor.layout != torch.strided or tensor.is_nested:
        raise TypeError(f"{name} of layout {tensor.layout}: must be a dense tensor")
    if not inside_transform() and tensor.untyped_storage().nbytes() == 0 and tensor.numel() > 0:
        raise ValueError(
            f"{name}: the memory of this tensor was freed (FSDP does so outside its module's forward pass)"
        )


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless α, the share of a learned target, is in (0, 1]."""
    if not isinstance(alpha, Real) or not 0 < alpha <= 1:
        value = f"alpha={alpha}" if isinstance(alpha, Real | str) else f"alpha of type {type(alpha).__name__}"
        raise ValueError(f"{value}: must be above 0 and at most 1 (0 leaves nothing to learn: use onehot)")


def check_labels(y: Tensor, num_classes: int, ignore_index: int | None) -> bool:
    """Check the range of class indices. Return False if none is `ignore_index`, True if some are or may be.

    y: int64, any shape. ignore_index: a label that is allowed too, or None.
    Raises ValueError. On an NVIDIA GPU, where reading the labels would wait for the device, an assertion of the device
    fails instead. Inside a transform the operations that use the indices check them."""
    if inside_transform() or y.is_meta:
        return ignore_index is not None
    requirement = f"must be from 0 to {num_classes - 1}"
    if y.is_cuda:
        allowed = (y >= 0) & (y < num_classes)
        if ignore_index is not None:
            allowed |= y == ignore_index
        assert_async(allowed.all(), f"labels {requirement}")
        return ignore_index is not None
    if y.numel() == 0:
        return False
    lowest, highest = (int(value) for value in y.aminmax())
    if lowest < 0 or highest >= num_classes:
        wrong = y[(y < 0) | (y >= num_classes)]
        if ignore_index is not None:
            wrong = wrong[wrong != ignore_index]
        if len(wrong):
            raise ValueError(f"label {int(wrong[0])}: {requirement}")
    return ignore_index is not None and lowest <= ignore_index <= highest


def check_soft_labels(y: Tensor) -> None:
    """Raise ValueError if an entry of soft labels is negative or not finite."""
    if not inside_transform() and not y.is_meta and not bool((y.isfinite() & (y >= 0)).all()):
        raise ValueError("soft labels must be 0 or more, and finite")
