"""A step of training recorded as a CUDA graph and replayed."""

import gc
from contextlib import suppress

import torch
from torch import Tensor

from lls.training.step import Labels, Step, StepMeasures

# Graphs whose capture failed. They are kept because PyTorch's pinned-memory allocator still queries them.
_failed_captures: list = []


class CUDAGraphStep(Step):
    """A Step that is recorded as one CUDA graph and then replayed: one launch a step instead of hundreds.

    The first steps are done one operation at a time, as PyTorch asks for, and a method that is not
    `cuda_graph_safe` always. So is all where the recording fails, which costs a line of text. Graphs share their
    memory: none needs what another left there."""

    WARMUP_STEPS = 3

    def __init__(self, *args, **keys):
        super().__init__(*args, **keys)
        self.graphs: dict[tuple, _CapturedGraph] = {}
        self.works, self.replayed = True, False
        # one stream for each: memory that is freed on a stream serves that stream alone
        self.warmup_stream, self.capture_stream = torch.cuda.Stream(self.device), torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()

    @property
    def captured(self) -> bool:
        return self.replayed

    def _train(self, x: Tensor, labels: Labels) -> StepMeasures:
        if not (self.works and self.method.cuda_graph_safe):
            return super()._train(x, labels)
        key = (x.shape, len(labels))
        if key not in self.graphs:
            self.graphs[key] = _CapturedGraph(x, labels)
        captured = self.graphs[key]
        captured.load(x, labels)
        if captured.graph is None and captured.warmup_steps_done == self.WARMUP_STEPS:
            self._capture(captured)
        if captured.graph is not None:
            captured.graph.replay()
            self.replayed = True
            return captured.measured.clone().unbind()  # the next replay overwrites it
        captured.warmup_steps_done += 1
        self.warmup_stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.warmup_stream):
            measured = super()._train(*captured.inputs())
        torch.cuda.current_stream(self.device).wait_stream(self.warmup_stream)
        return measured

    def _play(self, captured: "_CapturedGraph") -> None:
        """One step of the captured graph's batch, for a recording."""
        torch.stack(super()._train(*captured.inputs()), out=captured.measured)

    def _capture(self, captured: "_CapturedGraph") -> None:
        self.optimizer.zero_grad()  # so that the graph makes the gradients its own
        gc.collect()  # an earlier run's graph, collected while this one is recorded, would end the recording
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        # thread_local: another thread may be pinning a batch that workers have decoded
        recording = torch.cuda.graph(graph, self.pool, self.capture_stream, capture_error_mode="thread_local")
        try:
            with recording:
                self._play(captured)
        except RuntimeError as error:
            # where ending the recording fails too, PyTorch leaves stream, generator and, before 2.12 (its pull request
            # 180395), memory as if it went on: no other could be recorded, and no memory given back
            torch.cuda.set_stream(current)
            generator = torch.cuda.default_generators[self.device.index]
            generator.graphsafe_set_state(generator.clone_state())
            with suppress(RuntimeError):  # if it did end, the graph itself gives its memory back
                torch._C._cuda_endAllocateToPool(self.device.index, self.pool)
                torch._C._cuda_releasePool(self.device.index, self.pool)
                _failed_captures.append(graph)
            self.works = False
            self.graphs.clear()
            self.optimizer.zero_grad()
            reason = str(error.__context__ or error).splitlines()[0][:100]  # the first error, not the second
            print(f"no CUDA graph of this run, whose steps are launched one operation at a time ({reason})", flush=True)
        else:
            captured.graph = graph

    def set_lr(self, lr: float) -> None:
        """In place: the graph reads it from where it was when it was recorded."""
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor) or group["lr"].device != self.device:
                group["lr"] = torch.tensor(lr, device=self.device)
            group["lr"].fill_(lr)


class _CapturedGraph:
    """A graph, and the tensors that it reads a batch from."""

    def __init__(self, x: Tensor, labels: Labels):
        self.graph, self.warmup_steps_done, self.measured = None, 0, torch.zeros(5, device=x.device)
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
