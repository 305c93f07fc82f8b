"""Fakes of CUDA for tests of lls/training/cuda_graph.py on a CPU."""

import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch

from lls.training.cuda_graph import CUDAOperations


class FakeGraph:
    """A CUDA graph; `replay` is set by CPUOperations."""


class FakeTorch:
    """PyTorch with a CUDA that only notes what is called."""

    def __init__(self):
        self.capturing = False
        self.pool_is_captured = True  # Whether a capture that failed still allocates from its memory pool.
        self.graphs, self.released = [], []  # weak references to graphs; calls that release memory
        stream = SimpleNamespace(wait_stream=lambda other: None)
        generator = SimpleNamespace(clone_state=lambda: None, graphsafe_set_state=lambda state: None)
        self.cuda = SimpleNamespace(
            CUDAGraph=self.make_graph,
            graph=self.capture,
            Stream=lambda device: stream,
            stream=lambda stream: nullcontext(),
            current_stream=lambda device: stream,
            set_stream=lambda stream: None,
            default_generators={None: generator},
            graph_pool_handle=lambda: (0, 1),
        )
        self._C = SimpleNamespace(
            _cuda_endAllocateToPool=self.end_allocation,
            _cuda_releasePool=lambda *_: self.released.append("release"),
        )

    def __getattr__(self, name):
        return getattr(torch, name)

    def make_graph(self):
        graph = FakeGraph()
        self.graphs.append(weakref.ref(graph))
        return graph

    @contextmanager
    def capture(self, *_, **__):
        self.capturing = True
        try:
            yield
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904 - as PyTorch's
        finally:
            self.capturing = False

    def end_allocation(self, *_):
        if not self.pool_is_captured:
            raise RuntimeError("not currently recording to mempool_id")
        self.released.append("end allocation")


class CPUOperations(CUDAOperations):
    """CUDA operations on a CPU. As a graph does, it calls the work at each replay, and not while it is captured."""

    def capture(self, work):
        graph = super().capture(lambda: None)
        graph.replay = work
        return graph
