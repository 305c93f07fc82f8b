"""The one interface between the training loop and what differs between the rows of the paper's tables.

A method turns a batch into a loss. What it learns beside the network are its parameters (LLS: Q), trained by the same
optimizer; what it gathers are its buffers (OLS: the class averages), both are checkpointed by themselves. To add one:
a file lls/methods/<name>.py with one Method subclass whose constructor takes `num_classes` and the other keys of
configs/method/<name>.yaml, and raises ValueError for a value out of range. What a yaml with `teacher:` says of the
teacher (`teacher`, and `q`) is not passed to the constructor: `set_teacher` brings the teacher itself.

A method serves in any loop, without the rest of this package:

    method = LLS(num_classes=10, alpha=0.1)
    optimizer = SGD([*net.parameters(), *method.parameters()], lr=0.1)
    loss = method(net(x), y)
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Teacher = Callable[[Tensor], Tensor]
"""Images `[B, C, H, W]` to logits `[B, K]`, without gradient. A plain function and no submodule, so that a teacher is
neither optimised, nor counted, nor stored, nor ever in train mode."""


NO_TEACHER = "this method has no teacher: pass one when it is made, or call set_teacher"


def no_teacher(x: Tensor) -> Tensor:
    """The Teacher of a method that has not been given one: RuntimeError."""
    raise RuntimeError(NO_TEACHER)


class Batch(NamedTuple):
    """Everything a method may look at. Called as `method(logits, y)` it sees these two alone."""

    logits: Tensor  # [B, K] float32 (or float64), before the softmax
    y: Tensor  # [B] int64 class indices
    x: Tensor | None = None  # [B, C, H, W] images as the network saw them
    features: Tensor | None = None  # [B, D, h, w] the last feature map, before pooling
    net: nn.Module | None = None  # the network, for a method that reuses its classifier


class Method(nn.Module):
    """One way of training: a loss, and what it keeps."""

    cuda_graph_safe = False
    """Whether `loss` is the same operations on the same tensors at every step of an epoch, none of which waits for the
    device: then a CUDA graph may replay it. What a step leaves in Python, or draws on the CPU, a replay would not."""

    def loss(self, batch: Batch) -> Tensor:
        """The scalar loss, a mean over the batch, differentiable in `batch.logits` and in the method's parameters."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def prepare(self, net: nn.Module) -> None:
        """Called before training, with the network; ValueError if the two do not go together."""

    def set_teacher(self, teacher: Teacher | Tensor) -> None:
        """Called once before training, of a method whose yaml has `teacher:`, with what teaches it: a function from
        images to logits or, where the yaml has `q:` too, a Q's logits `[K, K]`. ValueError if it does not fit."""
        raise TypeError(f"{type(self).__name__} takes no teacher")

    def loss_kernel(self, batch: Batch) -> str:
        """What computes `loss` of this batch, for the record: torch, or triton where kernels of ours do."""
        return "torch"

    def end_epoch(self) -> None:
        """Called after the last step of each epoch."""

    def q_logits(self) -> Tensor | None:
        """The learned `[K, K]` logits whose softmaxed rows are soft labels (row: true class), if there are any."""
        return None

    def param_groups(self, weight_decay: float) -> list[dict]:
        """The optimizer's groups for the method's parameters; the network's `weight_decay` unless a method differs."""
        parameters = list(self.parameters())
        return [{"params": parameters, "weight_decay": weight_decay}] if parameters else []

    def forward(self, logits: Tensor, y: Tensor, **rest) -> Tensor:
        """`loss` of a Batch of these, in float32 whatever the precision of the network (float64 stays float64).

        logits: `[B, K]`; y: `[B]` class indices; rest: the Batch's other fields. Returns a scalar.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss(Batch(logits if logits.dtype == torch.float64 else logits.float(), y, **rest))
