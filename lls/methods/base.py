"""The interface of a method: what differs between the rows of the paper's tables.

A method computes a loss from a batch. Its parameters (LLS: Q) are trained by the network's optimizer. Its buffers hold
what it accumulates (OLS: class averages). Both are saved in checkpoints.

To add a method, write lls/methods/<name>.py with one Method subclass and configs/method/<name>.yaml. The constructor
takes `num_classes` and the other keys of the yaml, and raises ValueError for a value out of range. The keys `teacher`
and `q` of a yaml with `teacher:` are not passed to the constructor: the teacher arrives by `set_teacher`.

A method works in any training loop, with the arguments of torch.nn.CrossEntropyLoss:

    method = LLS(num_classes=10, alpha=0.1)
    optimizer = SGD([*net.parameters(), *method.parameters()], lr=0.1)
    loss = method(net(x), y)
"""

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from lls.losses.inputs import check_inputs, check_labels, check_soft_labels, check_tensor, flatten
from lls.losses.pytorch_internals import inside_functorch
from lls.losses.reduction import REDUCTIONS, reduce


class Batch(NamedTuple):
    """The input of `Method.losses`. `method(logits, y)` sets `logits`, `y` and, where labels are ignored, `valid`."""

    logits: Tensor  # [B, K] float32 (or float64), before the softmax
    y: Tensor  # [B] int64 class indices, from 0 to K-1
    x: Tensor | None = None  # [B, C, H, W] images as the network saw them
    features: Tensor | None = None  # [B, D, h, w] the last feature map, before pooling
    net: nn.Module | None = None  # the network, for a method that reuses its classifier
    valid: Tensor | None = None  # [B] bool, False for samples that are not to be counted; None: all count


Fields = tuple[Tensor | None, Tensor | None, nn.Module | None]  # x, features and net of a Batch


class LossOptions(TypedDict, total=False):
    """The arguments that all methods share, as in torch.nn.functional.cross_entropy without label smoothing."""

    weight: Tensor | None  # [K], a factor for the samples of each class; None: 1
    ignore_index: int  # the label of samples that do not count; -100
    reduction: str  # mean | sum | none; mean


class Method(nn.Module):
    """A loss and the state that it trains or accumulates. It is called as torch.nn.CrossEntropyLoss is.

    A subclass defines `losses`. Where a loss has no value per sample, it defines `loss`; such a method takes no
    `weight`, soft or ignored labels, and only `reduction="mean"`.

    num_classes: K; None accepts logits of any number of classes.
    weight, ignore_index, reduction: see LossOptions. The mean is that of torch.nn.functional.cross_entropy too: divided
        by the sum of the samples' weights, and nan if all samples are ignored.
    Raises ValueError for a weight of another shape or another reduction.
    """

    cuda_graph_safe = False
    """Whether a CUDA graph may replay `loss`. It may if every step of an epoch runs the same operations on tensors of
    the same shapes, never waits for the device, draws nothing on the CPU and changes no Python state."""

    num_classes: int | None
    ignore_index: int
    reduction: str
    class_weight: Tensor | None

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__()
        if num_classes is not None and (not isinstance(num_classes, Integral) or num_classes < 1):
            value = f" and value {num_classes}" if isinstance(num_classes, Real) else ""
            raise ValueError(f"num_classes of type {type(num_classes).__name__}{value}: must be a whole number above 0")
        if not isinstance(ignore_index, Integral):
            raise ValueError(f"ignore_index={ignore_index}: must be a whole number")
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction}: must be one of mean, sum, none")
        if weight is not None:
            check_tensor("weight", weight)
            if not weight.is_floating_point() or tuple(weight.shape) != (num_classes,):
                got = f"weight of {weight.dtype} and shape {[*weight.shape]}"
                raise ValueError(f"{got}: must be floating point, of shape [{num_classes}]")
        self.num_classes, self.ignore_index, self.reduction = num_classes, ignore_index, reduction
        self.register_buffer("class_weight", weight)

    def losses(self, batch: Batch) -> Tensor:
        """Return the loss of each sample, `[B]`, differentiable in `batch.logits` and in the parameters."""
        raise NotImplementedError(f"{type(self).__name__} defines neither `losses` nor `loss`")

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar loss of a training step: the mean, or the sum, of `losses`."""
        return reduce(self.losses(batch), self.reduction)

    if TYPE_CHECKING:  # nn.Module declares the result of a call as Any

        def __call__(self, logits: Tensor, y: Tensor, **fields: Any) -> Tensor: ...

    def extra_repr(self) -> str:
        alpha = f", alpha={self.alpha}" if hasattr(self, "alpha") else ""
        return f"{self.num_classes}{alpha}, reduction={self.reduction!r}"

    def prepare(self, net: nn.Module) -> None:
        """Check or read the network before training. Raises ValueError if the method does not fit the network."""

    def set_teacher(self, teacher: Any, /) -> None:
        """Set the teacher. Called once, before training, if the method's yaml has `teacher:`.

        teacher: a function from images to logits; if the yaml also has `q:`, the logits `[K, K]` of a learned Q.
        Raises ValueError if the teacher does not fit.
        """
        raise TypeError(f"{type(self).__name__} takes no teacher")

    def loss_kernel(self, batch: Batch) -> str:
        """Return what computes `loss` for this batch: `torch`, or `triton` for our GPU kernels. Results record it."""
        return "torch"

    def end_epoch(self) -> None:
        """Called after the last step of each epoch."""

    def q_logits(self) -> Tensor | None:
        """Return the learned logits `[K, K]`, or None if there are none. Row y's softmax is class y's soft label."""
        return None

    def param_groups(self, weight_decay: float) -> list[dict]:
        """Return the method's parameter groups for the optimizer. A method may replace the network's weight_decay."""
        parameters = list(self.parameters())
        return [{"params": parameters, "weight_decay": weight_decay}] if parameters else []

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        *,
        x: Tensor | None = None,
        features: Tensor | None = None,
        net: nn.Module | None = None,
    ) -> Tensor:
        """Return the loss, as torch.nn.functional.cross_entropy does.

        logits: `[B, K]`, `[B, K, d1, ...]` or `[K]`, of any floating-point type. Computed in float32, float64 in
            float64, also under autocast.
        y: class indices of any integer type, in the shape of `logits` without K. Or soft labels, floating point, in the
            shape of `logits`: the loss is then the sum of label · loss(class) over the classes, as it is for Mixup.
            This is not the loss of the mixed label: a loss that is not linear in its label, such as KL(p̂ ‖ t) with a
            learned t for each class, is not defined for a mixture of classes. It takes one evaluation per class that
            shares a label.
            The labels get no gradient, and a GPU is waited for.
        x, features, net: fields of Batch, for the methods that use them.

        Returns a scalar. With reduction="none", a tensor in the shape of the class indices.
        Raises TypeError or ValueError for inputs that do not fit (see lls.losses.inputs).
        """
        check_inputs(logits, y, self.num_classes)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                check_tensor(name, parameter)
        device = logits.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._forward(logits, y, (x, features, net))
        return self._forward(logits, y, (x, features, net))

    def _forward(self, logits: Tensor, y: Tensor, fields: Fields) -> Tensor:
        z = flatten(logits if logits.dtype == torch.float64 else logits.float())
        if y.is_floating_point():
            losses = self._soft_losses(z, flatten(y).detach(), fields)
            return reduce(losses.view(_without_classes(y.shape)), self.reduction)
        labels = y.flatten().long()
        per_sample = _defines_losses(type(self))
        some_ignored = check_labels(labels, z.shape[1], self.ignore_index if per_sample else None)
        reductions = ("mean", "sum") if per_sample else ("mean",)
        if not some_ignored and self.class_weight is None and self.reduction in reductions:
            return self.loss(Batch(z, labels, *fields))
        valid = labels != self.ignore_index
        labels = labels.where(valid, 0)
        weights = self._weights(labels, valid.to(z.dtype)).where(valid, 0)
        losses = self._losses(Batch(z, labels, *fields, valid)).where(valid, 0) * weights
        if self.reduction == "mean":
            return losses.sum() / weights.sum()
        return reduce(losses.view(y.shape), self.reduction)

    def _soft_losses(self, z: Tensor, soft: Tensor, fields: Fields) -> Tensor:
        """Return the losses `[B]` of logits and soft labels `[B, K]`: Σ_c label_c · weight_c · loss(class c)."""
        check_soft_labels(soft)
        soft = soft.to(z.dtype)
        most = z.shape[1]  # classes that share a label
        if not inside_functorch():
            most = int((soft != 0).sum(1).max()) if len(soft) else 0
        shares, classes = soft.topk(most, 1)
        total = z[:, :0].sum(1)
        for share, y in zip(shares.unbind(1), classes.unbind(1), strict=True):
            valid = share > 0
            losses = self._losses(Batch(z, y, *fields, valid)).where(valid, 0)
            total = total + losses * self._weights(y, share)
        return total

    def _weights(self, y: Tensor, weights: Tensor) -> Tensor:
        return weights if self.class_weight is None else weights * self.class_weight.to(weights.dtype)[y]

    def _losses(self, batch: Batch) -> Tensor:
        if not _defines_losses(type(self)):
            raise TypeError(f"{type(self).__name__} has no loss per sample, which this call needs: define `losses`")
        losses = self.losses(batch)
        if losses.shape != batch.y.shape:
            shapes = f"{[*losses.shape]}: must be {[*batch.y.shape]}"
            raise ValueError(f"{type(self).__name__}.losses returns a tensor of shape {shapes}")
        return losses


def _defines_losses(method: type[Method]) -> bool:
    """Return whether `losses` gives the loss: not if a subclass defines `loss` alone, which has the last word."""
    for cls in method.__mro__:
        if cls is Method or ("loss" in vars(cls) and "losses" not in vars(cls)):
            return False
        if "losses" in vars(cls):
            return True
    return False


def _without_classes(shape: torch.Size) -> tuple[int, ...]:
    """Return the shape `[B, d1, ...]` of `[B, K, d1, ...]`."""
    return shape[:1] + shape[2:] if len(shape) > 1 else shape[:0]
