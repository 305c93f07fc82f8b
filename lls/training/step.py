"""One step of training, and what is measured of it."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.device import autocast
from lls.methods.base import Batch, Method
from lls.networks.models import Network

Labels = list[tuple[Tensor, float]]  # as of lls.data.augment: hard labels and their weights
StepMeasures = tuple[Tensor, ...]  # scalars on the device: loss, cross-entropy, accuracy, smallest and largest logit


class Divergence(NamedTuple):
    """The first step of an epoch, from 1, whose loss is not finite, and the largest finite |logit| until then."""

    step: int
    loss: float
    largest_logit: float


class TrainMeasures(NamedTuple):
    """Means over the steps of an epoch. cross_entropy and top1 (%): of the training batches, whatever the loss is."""

    loss: float
    cross_entropy: float
    top1: float
    largest_logit: float  # |logit|, of all steps
    divergence: Divergence | None


class Step:
    """step(x, labels): forward, loss, backward and the optimizer's step. x: `[B, C, H, W]`; labels: [(y, weight), ...].

    Nothing in it waits for the device: what is measured stays there until `measures` asks for it. compiled, captured
    and loss_kernel say how the steps were computed, as far as there were any."""

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
            torch.compiler.reset()  # a sweep's runs share a process, where nothing is compiled more than eight times
        self.forward: Callable = torch.compile(net) if compile else net
        self.precision, self.clip_norm = precision, clip_norm
        self.history: list[StepMeasures] = []  # one a step
        self.compiled, self.loss_kernel = False, "torch"

    @property
    def captured(self) -> bool:
        """Whether steps were replayed as a CUDA graph."""
        return False

    def __call__(self, x: Tensor, labels: Labels) -> None:
        self.history.append(self._train(x, labels))

    def _train(self, x: Tensor, labels: Labels) -> StepMeasures:
        """One step. Returns what is measured of it."""
        with autocast(self.device, self.precision):
            logits, features = self.forward(x)
        seen = Batch(logits.float(), labels[0][0], x, features, self.net)
        loss = _weighted(labels, lambda y: self.method.loss(seen._replace(y=y)))
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        self.optimizer.step()
        self.compiled, self.loss_kernel = self.forward is not self.net, self.method.loss_kernel(seen)
        return _measured(seen.logits, labels, loss)

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def measures(self) -> TrainMeasures:
        """Of the steps since it was asked last."""
        columns = [torch.stack(column) for column in zip(*self.history, strict=True)]  # a stack a step would be slower
        self.history.clear()
        loss, cross_entropy, accuracy, low, high = torch.stack(columns).cpu().double()
        logit = torch.maximum(-low, high)
        means = loss.mean().item(), cross_entropy.mean().item(), 100 * accuracy.mean().item()
        return TrainMeasures(*means, logit.max().item(), _divergence(loss, logit))


@torch.no_grad()
def _measured(logits: Tensor, labels: Labels, loss: Tensor) -> StepMeasures:
    """Cross-entropy and accuracy are weighted as the labels are. In few operations: they are a part of every step."""
    predicted = logits.argmax(1)
    cross_entropy = _weighted(labels, lambda y: F.cross_entropy(logits, y))
    accuracy = _weighted(labels, lambda y: (predicted == y).count_nonzero()) / len(logits)
    return loss.detach(), cross_entropy, accuracy, *logits.aminmax()


def _weighted(labels: Labels, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of weight · measure(y); without the multiplication where there is one y."""
    if len(labels) == 1:
        return measure(labels[0][0])
    return sum(weight * measure(y) for y, weight in labels)


def _divergence(loss: Tensor, logit: Tensor) -> Divergence | None:
    """loss, logit: `[steps]`, the loss and the largest |logit| of each."""
    if (wrong := (~loss.isfinite()).nonzero()).numel() == 0:
        return None
    first = int(wrong[0])
    until = logit[: first + 1]
    largest = until[until.isfinite()]
    return Divergence(first + 1, loss[first].item(), largest.max().item() if len(largest) else math.nan)


def train_epoch(step: Step, batches: Iterable, mix: Callable, after: Callable[[], None]) -> None:
    """One pass over the batches; `after` is called after each step."""
    for x, y in batches:
        step(*mix(x, y))
        after()
