"""The interface of a method: what differs between the rows of the paper's tables.

A method computes a loss from a batch. Its parameters (LLS: Q) are trained by the network's optimizer. Its buffers hold
what it accumulates (OLS: class averages). Both are saved in checkpoints.

To add a method, write lls/methods/<name>.py with one Method subclass and configs/method/<name>.yaml. The constructor
takes `num_classes` and the other keys of the yaml, and raises ValueError for a value out of range. The keys `teacher`
and `q` of a yaml with `teacher:` are not passed to the constructor: the teacher arrives by `set_teacher`.

A method works in any training loop:

    method = LLS(num_classes=10, alpha=0.1)
    optimizer = SGD([*net.parameters(), *method.parameters()], lr=0.1)
    loss = method(net(x), y)
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Teacher = Callable[[Tensor], Tensor]
"""A function from images `[B, C, H, W]` to logits `[B, K]`, without gradient. It is not a submodule, so that a
teacher's weights are not trained, counted or saved with the method, and the teacher stays in eval mode."""


NO_TEACHER = "this method has no teacher: pass one to the constructor or call set_teacher"


def no_teacher(x: Tensor) -> Tensor:
    """Stand for the teacher of a method that has none. Raises RuntimeError."""
    raise RuntimeError(NO_TEACHER)


class Batch(NamedTuple):
    """The input of `Method.loss`. `method(logits, y)` sets the first two fields only."""

    logits: Tensor  # [B, K] float32 (or float64), before the softmax
    y: Tensor  # [B] int64 class indices
    x: Tensor | None = None  # [B, C, H, W] images as the network saw them
    features: Tensor | None = None  # [B, D, h, w] the last feature map, before pooling
    net: nn.Module | None = None  # the network, for a method that reuses its classifier


class Method(nn.Module):
    """A loss and the state that it trains or accumulates."""

    cuda_graph_safe = False
    """Whether a CUDA graph may replay `loss`. It may if every step of an epoch runs the same operations on tensors of
    the same shapes, never waits for the device, draws nothing on the CPU and changes no Python state."""

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar loss, a mean over the batch, differentiable in `batch.logits` and in the parameters."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def prepare(self, net: nn.Module) -> None:
        """Check or read the network before training. Raises ValueError if the method does not fit the network."""

    def set_teacher(self, teacher: Teacher | Tensor) -> None:
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

    def forward(self, logits: Tensor, y: Tensor, **fields) -> Tensor:
        """Return the scalar `loss` of a batch.

        logits: `[B, K]`, computed in float32 whatever their precision (float64 stays float64). y: `[B]` class indices.
        fields: the other fields of Batch.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss(Batch(logits if logits.dtype == torch.float64 else logits.float(), y, **fields))
