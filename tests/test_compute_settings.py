"""Decisions about a device: precision, compilation, CUDA graph, and whether Triton's kernels can be built for it."""

import sys
import sysconfig
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from lls.config.compose import compose
from lls.device import has_triton, resolve_compute

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that fakes a GPU with what Triton needs. `has_triton` caches its answer, here for a call alone.

    install(capability, cuda=..., triton=..., headers=...): compute capability, version of CUDA, whether Triton and
    Python's headers are installed."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CC", "cc")
    triton_module = ModuleType("triton")
    triton_module.__spec__ = ModuleSpec("triton", None)

    def install(capability=(9, 0), cuda="13.0", triton=True, headers=True):
        has_triton.cache_clear()
        folder = tmp_path if headers else tmp_path / "nowhere"
        monkeypatch.setitem(sys.modules, "triton", triton_module if triton else None)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(folder))

    yield install
    has_triton.cache_clear()


def test_compute_settings_are_decided_by_device_and_steps(install):
    cfg = compose([]).machine
    assert resolve_compute(cfg, CPU, 10**9) == ("fp32", False, False)
    chosen = compose(["machine.precision=bf16", "machine.compile=true", "machine.graph=true"]).machine
    assert resolve_compute(chosen, CPU) == ("bf16", True, False)
    for capability, precision in (((9, 0), "bf16"), ((7, 5), "fp32")):
        install(capability)
        assert resolve_compute(cfg, GPU, 117_000) == (precision, True, True)
        assert resolve_compute(cfg, GPU, 1000) == (precision, False, True)
    tf32 = compose(["machine.graph=false", "machine.precision=tf32"]).machine
    assert resolve_compute(tf32, GPU) == ("fp32", False, False)  # Turing and CPUs have no TF32.
    assert resolve_compute(tf32, CPU) == ("fp32", False, False)
    install((8, 0))
    assert resolve_compute(tf32, GPU) == ("tf32", False, False)


def test_kernels_are_built_where_they_can_be(install):
    install()
    assert has_triton(GPU)
    assert not has_triton(CPU)
    for missing in ({"cuda": None}, {"capability": (6, 1)}, {"headers": False}, {"triton": False}):
        install(**missing)
        assert not has_triton(GPU), missing
