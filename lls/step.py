"""One step of training, and the same step recorded as a CUDA graph."""

import gc
from collections.abc import Callable, Iterable
from contextlib import suppress

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lls import machine
from lls.layers import place
from lls.method import Batch, Method
from lls.networks import Network

Labels = list[tuple[Tensor, float]]  # as of lls.augment: hard labels and their weights
_unended: list = []  # graphs whose recording has failed: PyTorch's allocator of pinned memory goes on asking them


class Step:
    """step(x, labels): forward, loss, backward and the optimizer's step. x: `[B, C, H, W]`; labels: [(y, weight), ...].

    Nothing in it waits for the device: losses add up there until `mean_loss` asks for them."""

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
        self.total = torch.zeros((), device=self.device)

    def __call__(self, x: Tensor, labels: Labels) -> None:
        with machine.autocast(self.device, self.precision):
            logits, features = self.forward(x)
        seen = Batch(logits.float(), labels[0][0], x, features, self.net)
        if len(labels) == 1:
            loss = self.method.loss(seen)
        else:
            loss = sum(weight * self.method.loss(seen._replace(y=y)) for y, weight in labels)
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        self.optimizer.step()
        self.total += loss.detach()

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def mean_loss(self, steps: int) -> float:
        """Of the `steps` since it was asked last."""
        mean = float(self.total) / steps
        self.total.zero_()
        return mean


class Recorded(Step):
    """A Step that is recorded as one CUDA graph and then replayed: one launch a step instead of hundreds.

    The first steps are done one operation at a time, as PyTorch asks for, and a method that is not `static` always. So
    is all where the recording fails, which costs a line of text. Graphs share their memory: none needs what another
    left there."""

    WARM_UP = 3

    def __init__(self, *args, **keys):
        super().__init__(*args, **keys)
        self.tapes: dict[tuple, _Tape] = {}
        self.works = True
        # one stream for each: memory that is freed on a stream serves that stream alone
        self.aside, self.recorder = torch.cuda.Stream(self.device), torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, x: Tensor, labels: Labels) -> None:
        if not (self.works and self.method.static):
            return super().__call__(x, labels)
        key = (x.shape, len(labels))
        if key not in self.tapes:
            self.tapes[key] = _Tape(x, labels)
        tape = self.tapes[key]
        tape.load(x, labels)
        if tape.graph is None and tape.plays == self.WARM_UP:
            self._record(tape)
        if tape.graph is not None:
            return tape.graph.replay()
        tape.plays += 1
        self.aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.aside):
            super().__call__(*tape.inputs())
        torch.cuda.current_stream(self.device).wait_stream(self.aside)

    def _record(self, tape: "_Tape") -> None:
        self.optimizer.zero_grad()  # so that the graph makes the gradients its own
        gc.collect()  # an earlier run's graph, collected while this one is recorded, would end the recording
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        # thread_local: another thread may be pinning a batch that workers have decoded
        recording = torch.cuda.graph(graph, self.pool, self.recorder, capture_error_mode="thread_local")
        try:
            with recording:
                super().__call__(*tape.inputs())
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
        self.graph, self.plays = None, 0
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


def step_of(cfg: DictConfig, net: Network, method: Method, how: machine.Ways, device: torch.device) -> Step:
    """The step of a configuration's run: network and method go to the device, with SGD as Appendix I has it."""
    place(net, device)
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
