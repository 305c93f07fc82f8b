"""The `machine` part of a configuration: where and in which precision a run is computed, and what that was."""

import ctypes
import os
import platform
import shutil
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig

import lls
from lls.errors import UserError
from lls.host import processor_name

COMPILE_MIN_STEPS = (
    40_000  # steps from which compiling is thought to pay: half a millisecond a step of ResNet-18, for some 20 s
)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def select_device(name: str) -> torch.device:
    """`auto` is cuda, mps or the CPU, whichever there is first. UserError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    found = torch.device(name)
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}[found.type]
    if (found.index or 0) >= there:
        raise UserError(
            f"machine.device={name}: PyTorch sees {there or 'no'} such device here; machine.device=auto takes what is"
        )
    if found.index is not None and found.type == "cuda":
        torch.cuda.set_device(found)  # where kernels and graphs are launched that name no device
    return found


class ComputeSettings(NamedTuple):
    """How a run is computed: what of `machine` is left to be decided, decided."""

    precision: str  # fp32 | tf32 | bf16
    compile: bool
    graph: bool


def resolve_compute(cfg: DictConfig, on: torch.device, steps: int = 0) -> ComputeSettings:
    """The decisions for `machine` as configured, a device, and the number of steps that a run will take.

    auto on a CPU: float32, nothing compiled, which was measured to gain nothing there and costs tens of seconds. On an
    NVIDIA GPU: bfloat16 from Ampere on, and a CUDA graph; compiled where compiling, tens of seconds, can pay."""
    nvidia = on.type == "cuda" and torch.version.cuda is not None
    return ComputeSettings(
        precision=resolve_precision(cfg.precision, on),
        compile=has_triton(on) and steps >= COMPILE_MIN_STEPS if cfg.compile == "auto" else cfg.compile,
        graph=nvidia and cfg.graph in ("auto", True),
    )


def resolve_precision(name: str, on: torch.device) -> str:
    """`auto` is bf16 on a GPU whose tensor cores have it, fp32 elsewhere; tf32 is fp32 where there is no TF32."""
    tensor_cores = on.type == "cuda" and torch.cuda.get_device_capability(on) >= (8, 0)  # bfloat16 and TF32: Ampere
    if name == "auto":
        return "bf16" if tensor_cores else "fp32"
    return "fp32" if name == "tf32" and not tensor_cores else name


def set_precision(name: str, on: torch.device) -> None:
    """fp32 means fp32, where PyTorch's own default rounds convolutions to TF32; what bf16 does not cover is TF32."""
    exact = resolve_precision(name, on) == "fp32"
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.benchmark = True


def keep_memory(on: torch.device) -> None:
    """For training on a CPU: what this process has freed is its own to use again. glibc would give blocks as large as a
    batch's activations back to Linux, and ask for them anew in the next step, page by page: 220,000 page faults a step
    of ResNet-18. Elsewhere this does nothing."""
    if on.type == "cpu" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def autocast(on: torch.device, name: str) -> AbstractContextManager:
    """The context a network's forward pass runs in."""
    return torch.autocast(on.type, torch.bfloat16) if resolve_precision(name, on) == "bf16" else nullcontext()


def synchronizer(on: torch.device) -> Callable[[], None]:
    """A function that waits until a device has done what it was given."""
    if on.type == "mps":
        return torch.mps.synchronize
    return (lambda: torch.cuda.synchronize(on)) if on.type == "cuda" else lambda: None


@cache
def has_triton(on: torch.device) -> bool:
    """Whether Triton's kernels can be built for a device: it must be NVIDIA's, from Volta on, and there must be a C
    compiler and Python's headers, with which Triton builds what launches them."""
    if on.type != "cuda" or torch.version.cuda is None or find_spec("triton") is None:
        return False
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")  # where Triton looks
    return compiler is not None and headers.exists() and torch.cuda.get_device_capability(on) >= (7, 0)


def device_name(on: torch.device) -> str:
    """The name of a device, as its maker has it: of a GPU, or in brackets of the processor."""
    if on.type == "cuda":
        return torch.cuda.get_device_name(on)
    return f"{on.type} ({processor_name()})"


def environment_info(compute: ComputeSettings, on: torch.device) -> dict:
    """What results and timings say of how they were computed: device, threads, precision, versions."""
    return {
        "device": device_name(on),
        "threads": torch.get_num_threads(),
        **compute._asdict(),
        "versions": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Of Python, this package and those that results depend on."""
    packages = {name: version(name) for name in ("torch", "torchvision", "hydra-core", "numpy")}
    return {"python": platform.python_version(), "lls": lls.__version__, **packages}
