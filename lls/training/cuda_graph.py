"""A training step that is captured as a CUDA graph and replayed."""

import gc
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from lls.training.step import Labels, Step, StepMeasures

# Graphs whose capture failed. They are kept because PyTorch's pinned-memory allocator still queries them.
_failed_captures: list = []


class CUDAOperations:
    """The CUDA operations of a CUDAGraphStep: warm-up on a side stream, and capture.

    All graphs share one memory pool, because none needs what another one left there."""

    def __init__(self, device: torch.device):
        self.device = device
        # Two streams, because memory that is freed on a stream is used again by that stream alone.
        self.warmup_stream, self.capture_stream = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], StepMeasures]) -> StepMeasures:
        """Call `work` on a side stream, which CUDA graphs need before they are captured, and return its result."""
        self.warmup_stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.warmup_stream):
            result = work()
        torch.cuda.current_stream(self.device).wait_stream(self.warmup_stream)
        return result

    def capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Capture the operations that `work` launches; `replay()` of the graph executes them.

        Raises RuntimeError if they can't be captured. Then CUDA is in the state in which it was before."""
        gc.collect()  # Collecting an earlier run's graph during the capture would end the capture.
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        try:
            # thread_local: another thread may pin a batch that workers have decoded.
            with torch.cuda.graph(graph, self.pool, self.capture_stream, capture_error_mode="thread_local"):
                work()
        except RuntimeError:
            self._end_failed_capture(graph, stream)
            raise
        return graph

    def _end_failed_capture(self, graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> None:
        """End a capture that PyTorch could not end.

        PyTorch leaves the stream, the generator and, before version 2.12 (pull request 180395), the memory pool as if
        the capture went on. Then no other capture could start, and no memory would be freed."""
        torch.cuda.set_stream(stream)
        generator = torch.cuda.default_generators[self.device.index]
        generator.graphsafe_set_state(generator.clone_state())
        with suppress(RuntimeError):  # Raised if the capture did end. Then the graph frees the memory itself.
            torch._C._cuda_endAllocateToPool(self.device.index, self.pool)
            torch._C._cuda_releasePool(self.device.index, self.pool)
            _failed_captures.append(graph)


class CUDAGraphStep(Step):
    """A Step that is captured as a CUDA graph and replayed: one launch per step instead of hundreds.

    - The first WARMUP_STEPS steps of each batch shape are not captured, because PyTorch requires warm-up steps.
    - A method that is not `cuda_graph_safe` is never captured.
    - If a capture fails, a line is printed, and all further steps are computed without a graph.

    cuda: the CUDA operations. Tests on a CPU pass a fake."""

    WARMUP_STEPS = 3

    def __init__(self, *args, cuda: CUDAOperations | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.cuda = cuda or CUDAOperations(self.device)
        self.graphs: dict[tuple, _CapturedGraph] = {}
        self.capture_failed = False
        self.replayed = False

    @property
    def captured(self) -> bool:
        return self.replayed

    def train_batch(self, x: Tensor, labels: Labels) -> StepMeasures:
        if self.capture_failed or not self.method.cuda_graph_safe:
            return super().train_batch(x, labels)
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
            return captured.measures.clone().unbind()  # The next replay overwrites them.
        captured.warmup_steps_done += 1
        return self.cuda.warm_up(lambda: super(CUDAGraphStep, self).train_batch(*captured.batch()))

    def _capture(self, captured: "_CapturedGraph") -> None:
        """Capture the step of a batch shape, or print why that is not possible."""

        def train_batch() -> None:
            torch.stack(super(CUDAGraphStep, self).train_batch(*captured.batch()), out=captured.measures)

        self.optimizer.zero_grad()  # Then the capture allocates the gradients in the memory of the graph.
        try:
            captured.graph = self.cuda.capture(train_batch)
        except RuntimeError as error:
            self.capture_failed = True
            self.graphs.clear()
            self.optimizer.zero_grad()
            reason = str(error.__context__ or error).splitlines()[0][:100]  # the first error, not the one of the exit
            print(f"no CUDA graph for this run: its operations are launched one by one ({reason})", flush=True)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate in place, in the tensor that the captured graph reads."""
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor) or group["lr"].device != self.device:
                group["lr"] = torch.tensor(lr, device=self.device)
            group["lr"].fill_(lr)


class _CapturedGraph:
    """A captured graph, the tensors from which it reads its batch, and the tensor into which it writes measures."""

    def __init__(self, x: Tensor, labels: Labels):
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warmup_steps_done, self.measures = 0, torch.zeros(5, device=x.device)
        self.x, self.ys = torch.empty_like(x), [torch.empty_like(y) for y, _ in labels]
        self.weights = [torch.ones((), device=x.device) for _ in labels]

    def load(self, x: Tensor, labels: Labels) -> None:
        """Copy a batch into the tensors of the graph."""
        self.x.copy_(x)
        for (y, weight), graph_y, graph_weight in zip(labels, self.ys, self.weights, strict=True):
            graph_y.copy_(y)
            graph_weight.fill_(weight)

    def batch(self) -> tuple[Tensor, Labels]:
        """Return the batch, whose x is a new tensor object each time: teachers cache their logits by object."""
        return self.x.detach(), list(zip(self.ys, self.weights, strict=True))
