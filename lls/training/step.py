"""One step of training, and the same step recorded as a CUDA graph."""

import gc
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from lls.device import ComputeSettings, autocast
from lls.methods.base import Batch, Method
from lls.networks.models import Network

Labels = list[tuple[Tensor, float]]  # as of lls.augment: hard labels and their weights
Measured = tuple[Tensor, ...]  # scalars on the device: loss, cross-entropy, accuracy, smallest and largest logit
_unended: list = []  # graphs whose recording has failed: PyTorch's allocator of pinned memory goes on asking them


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
        self.history: list[Measured] = []  # one a step
        self.compiled, self.loss_kernel = False, "torch"

    @property
    def captured(self) -> bool:
        """Whether steps were replayed as a CUDA graph."""
        return False

    def __call__(self, x: Tensor, labels: Labels) -> None:
        self.history.append(self._train(x, labels))

    def _train(self, x: Tensor, labels: Labels) -> Measured:
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
def _measured(logits: Tensor, labels: Labels, loss: Tensor) -> Measured:
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


class Recorded(Step):
    """A Step that is recorded as one CUDA graph and then replayed: one launch a step instead of hundreds.

    The first steps are done one operation at a time, as PyTorch asks for, and a method that is not `static` always. So
    is all where the recording fails, which costs a line of text. Graphs share their memory: none needs what another
    left there."""

    WARM_UP = 3

    def __init__(self, *args, **keys):
        super().__init__(*args, **keys)
        self.tapes: dict[tuple, _Tape] = {}
        self.works, self.replayed = True, False
        # one stream for each: memory that is freed on a stream serves that stream alone
        self.aside, self.recorder = torch.cuda.Stream(self.device), torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()

    @property
    def captured(self) -> bool:
        return self.replayed

    def _train(self, x: Tensor, labels: Labels) -> Measured:
        if not (self.works and self.method.static):
            return super()._train(x, labels)
        key = (x.shape, len(labels))
        if key not in self.tapes:
            self.tapes[key] = _Tape(x, labels)
        tape = self.tapes[key]
        tape.load(x, labels)
        if tape.graph is None and tape.plays == self.WARM_UP:
            self._record(tape)
        if tape.graph is not None:
            tape.graph.replay()
            self.replayed = True
            return tape.measured.clone().unbind()  # the next replay overwrites it
        tape.plays += 1
        self.aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.aside):
            measured = super()._train(*tape.inputs())
        torch.cuda.current_stream(self.device).wait_stream(self.aside)
        return measured

    def _play(self, tape: "_Tape") -> None:
        """One step of the tape's batch, for a recording."""
        torch.stack(super()._train(*tape.inputs()), out=tape.measured)

    def _record(self, tape: "_Tape") -> None:
        self.optimizer.zero_grad()  # so that the graph makes the gradients its own
        gc.collect()  # an earlier run's graph, collected while this one is recorded, would end the recording
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        # thread_local: another thread may be pinning a batch that workers have decoded
        recording = torch.cuda.graph(graph, self.pool, self.recorder, capture_error_mode="thread_local")
        try:
            with recording:
                self._play(tape)
        except RuntimeError as error:
            # where ending the recording fails too, PyTorch leaves stream, generator and, before 2.12 (its pull request
            # 180395), memory as if it went on: no other could be recorded, and no memory given back
            torch.cuda.set_stream(current)
            generator = torch.cuda.default_generators[self.device.index]
            generator.graphsafe_set_state(generator.clone_state())
            with suppress(RuntimeError):  # if it did end, the graph itself gives its memory back
                torch._C._cuda_endAllocateToPool(self.device.index, self.pool)
                torch._C._cuda_releasePool(self.device.index, self.pool)
                _unended.append(graph)
            self.works = False
            self.tapes.clear()
            self.optimizer.zero_grad()
            reason = str(error.__context__ or error).splitlines()[0][:100]  # the first error, not the second
            print(f"no CUDA graph of this run, whose steps are launched one operation at a time ({reason})", flush=True)
        else:
            tape.graph = graph

    def set_lr(self, lr: float) -> None:
        """In place: the graph reads it from where it was when it was recorded."""
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor) or group["lr"].device != self.device:
                group["lr"] = torch.tensor(lr, device=self.device)
            group["lr"].fill_(lr)


class _Tape:
    """A graph, and the tensors that it reads a batch from."""

    def __init__(self, x: Tensor, labels: Labels):
        self.graph, self.plays, self.measured = None, 0, torch.zeros(5, device=x.device)
        self.x, self.ys = torch.empty_like(x), [torch.empty_like(y) for y, _ in labels]
        self.weights = [torch.ones((), device=x.device) for _ in labels]

    def load(self, x: Tensor, labels: Labels) -> None:
        self.x.copy_(x)
        for (y, weight), to_y, to_weight in zip(labels, self.ys, self.weights, strict=True):
            to_y.copy_(y)
            to_weight.fill_(weight)

    def inputs(self) -> tuple[Tensor, Labels]:
        """A new tensor object each time: a teacher takes the same one for the same batch."""
        return self.x.detach(), list(zip(self.ys, self.weights, strict=True))


def step_of(cfg: DictConfig, net: Network, method: Method, how: ComputeSettings, device: torch.device) -> Step:
    """The step of a configuration's run: network and method go to the device, with SGD as Appendix I has it."""
    net.to(device, memory_format=torch.channels_last)
    method.to(device)
    train = cfg.train
    optimizer = torch.optim.SGD(
        [{"params": list(net.parameters())}, *method.param_groups(train.weight_decay)],
        lr=train.lr,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        nesterov=train.nesterov,
        fused=True,
    )
    kind = Recorded if how.graph else Step
    return kind(net, method, optimizer, precision=how.precision, compile=how.compile, clip_norm=train.clip_norm)


def epoch(step: Step, batches: Iterable, mix: Callable, after: Callable[[], None]) -> None:
    """One pass over the batches; `after` is called after each step."""
    for x, y in batches:
        step(*mix(x, y))
        after()
