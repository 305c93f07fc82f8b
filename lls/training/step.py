"""One training step, and the measures of the steps of an epoch."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.device import autocast
from lls.methods.base import Batch, Method
from lls.networks.models import Network

Labels = list[tuple[Tensor, float]]  # class indices [B] and their weight, as lls.data.augment returns them
StepMeasures = tuple[Tensor, ...]  # scalars on the device: loss, cross-entropy, accuracy, smallest and largest logit


class Divergence(NamedTuple):
    """The first step of an epoch whose loss is not finite."""

    step: int  # counted from 1
    loss: float
    largest_logit: float  # the largest finite |logit| of the epoch up to this step


class TrainMeasures(NamedTuple):
    """Measures of the training batches, as they were in train mode: means over the steps of an epoch."""

    loss: float  # of the method
    cross_entropy: float
    top1: float  # per cent
    largest_logit: float  # largest |logit| of all steps
    divergence: Divergence | None


class Step:
    """One training step, `step(x, labels)`: forward pass, loss, backward pass, optimizer step.

    - x: images `[B, C, H, W]`
    - labels: [(y, weight), ...], where y is `[B]` class indices. The loss is the sum of weight · loss(y).

    No step waits for the device. The measures of the steps stay on it until `measures` reads them.
    `compiled`, `captured` and `loss_kernel` tell how the last steps were computed."""

    def __init__(
        self,
        net: Network,
        method: Method,
        optimizer: torch.optim.Optimizer,
        *,
        precision: str = "fp32",
        compile: bool = False,
        clip_norm: float | None = None,
    ):
        self.net, self.method, self.optimizer = net, method, optimizer
        self.device = next(net.parameters()).device
        if compile:
            torch.compiler.reset()  # A process compiles a function 8 times at most, and runs of a sweep share one.
        self.forward: Callable = torch.compile(net) if compile else net
        self.precision, self.clip_norm = precision, clip_norm
        self.history: list[StepMeasures] = []  # one entry per step
        self.compiled, self.loss_kernel = False, "torch"

    @property
    def captured(self) -> bool:
        """Whether a CUDA graph has replayed steps."""
        return False

    def __call__(self, x: Tensor, labels: Labels) -> None:
        self.history.append(self.train_batch(x, labels))

    def train_batch(self, x: Tensor, labels: Labels) -> StepMeasures:
        """Take one step, and return its measures."""
        with autocast(self.device, self.precision):
            logits, features = self.forward(x)
        batch = Batch(logits.float(), labels[0][0], x, features, self.net)
        loss = _weighted_sum(labels, lambda y: self.method.loss(batch._replace(y=y)))
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        self.optimizer.step()
        self.compiled, self.loss_kernel = self.forward is not self.net, self.method.loss_kernel(batch)
        return _step_measures(batch.logits, labels, loss)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of all parameter groups."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def measures(self) -> TrainMeasures:
        """Return the measures of the steps since the last call. Waits for the device."""
        columns = [torch.stack(column) for column in zip(*self.history, strict=True)]  # Stacking each step is slower.
        self.history.clear()
        loss, cross_entropy, accuracy, smallest, largest = torch.stack(columns).cpu().double()
        largest_logit = torch.maximum(-smallest, largest)
        means = loss.mean().item(), cross_entropy.mean().item(), 100 * accuracy.mean().item()
        return TrainMeasures(*means, largest_logit.max().item(), _find_divergence(loss, largest_logit))


@torch.no_grad()
def _step_measures(logits: Tensor, labels: Labels, loss: Tensor) -> StepMeasures:
    """Return the measures of a step. Few operations, because each step takes them."""
    predicted = logits.argmax(1)
    cross_entropy = _weighted_sum(labels, lambda y: F.cross_entropy(logits, y))
    accuracy = _weighted_sum(labels, lambda y: (predicted == y).count_nonzero()) / len(logits)
    return loss.detach(), cross_entropy, accuracy, *logits.aminmax()


def _weighted_sum(labels: Labels, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of weight · measure(y). One label has weight 1 and needs no multiplication."""
    if len(labels) == 1:
        return measure(labels[0][0])
    return sum(weight * measure(y) for y, weight in labels)


def _find_divergence(loss: Tensor, largest_logit: Tensor) -> Divergence | None:
    """Return the first step whose loss is not finite. Both tensors are `[steps]`."""
    if (steps := (~loss.isfinite()).nonzero()).numel() == 0:
        return None
    first = int(steps[0])
    logits = largest_logit[: first + 1]
    finite = logits[logits.isfinite()]
    return Divergence(first + 1, loss[first].item(), finite.max().item() if len(finite) else math.nan)


def train_epoch(step: Step, batches: Iterable, mix: Callable, after_step: Callable[[], None]) -> None:
    """Train on all batches once. mix: turns a batch into images and `Labels`; after_step: called after each step."""
    for x, y in batches:
        step(*mix(x, y))
        after_step()
