"""The `machine` section of a configuration: the device, precision, compilation and CUDA graph of a run."""

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
from typing import TYPE_CHECKING, NamedTuple

import torch

import lls
from lls.errors import UserError
from lls.host import processor_name

if TYPE_CHECKING:  # the losses need this module, and are installed without OmegaConf
    from omegaconf import DictConfig

# Compiling takes about 20 s and saves about 0.5 ms per step of a ResNet-18, so it pays from this number of steps on.
COMPILE_MIN_STEPS = 40_000
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of mallopt, from glibc's malloc.h


def select_device(name: str) -> torch.device:
    """Return the device of a name such as `cuda:1`; `auto` is the first available of cuda, mps and cpu.

    Raises UserError for a device that this machine does not have."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}[device.type]
    if (device.index or 0) >= count:
        raise UserError(
            f"machine.device={name}: PyTorch sees {count or 'no'} such device here; use machine.device=auto"
        )
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # for kernels and graphs that are launched without naming a device
    return device


class ComputeSettings(NamedTuple):
    """How a run is computed, with each `auto` of the `machine` section resolved."""

    precision: str  # fp32 | tf32 | bf16
    compile: bool
    graph: bool


def resolve_compute(cfg: "DictConfig", device: torch.device, steps: int = 0) -> ComputeSettings:
    """Resolve each `auto` of the `machine` section for a device and the number of steps of a run.

    - CPU: float32, not compiled. Compiling takes tens of seconds, and no gain was measured on a CPU.
    - NVIDIA GPU: bfloat16 from Ampere on, and a CUDA graph. Compiled from COMPILE_MIN_STEPS steps on."""
    nvidia = device.type == "cuda" and torch.version.cuda is not None
    return ComputeSettings(
        precision=resolve_precision(cfg.precision, device),
        compile=has_triton(device) and steps >= COMPILE_MIN_STEPS if cfg.compile == "auto" else cfg.compile,
        graph=nvidia and cfg.graph in ("auto", True),
    )


def resolve_precision(name: str, device: torch.device) -> str:
    """Return the precision to compute in: fp32, tf32 or bf16.

    `auto` is bf16 on an NVIDIA GPU from Ampere on, and fp32 elsewhere. `tf32` is fp32 before Ampere and on a CPU."""
    tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere
    if name == "auto":
        return "bf16" if tensor_cores else "fp32"
    return "fp32" if name == "tf32" and not tensor_cores else name


def set_precision(name: str, device: torch.device) -> None:
    """Set PyTorch's precision of float32 operations: full precision for fp32; TF32 is allowed for tf32 and bf16.

    PyTorch's default would round the convolutions of fp32 to TF32."""
    exact = resolve_precision(name, device) == "fp32"
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.benchmark = True


def keep_memory(device: torch.device) -> None:
    """Make glibc keep freed memory for the next step, when training on a CPU. Does nothing on other devices.

    By default glibc returns blocks as large as a batch's activations to Linux and requests them again in the next
    step, which costs 220,000 page faults per step of a ResNet-18."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def autocast(device: torch.device, name: str) -> AbstractContextManager:
    """Return the context manager for a forward pass: torch.autocast for bf16, else one that does nothing."""
    return torch.autocast(device.type, torch.bfloat16) if resolve_precision(name, device) == "bf16" else nullcontext()


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until all work queued on the device is done."""
    if device.type == "mps":
        return torch.mps.synchronize
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None


@cache
def has_triton(device: torch.device) -> bool:
    """Return whether Triton can build kernels for a device.

    It needs an NVIDIA GPU from Volta on. To build the code that launches a kernel, it needs a C compiler and the
    header files of Python."""
    if device.type != "cuda" or torch.version.cuda is None or find_spec("triton") is None:
        return False
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")  # where Triton searches
    return compiler is not None and headers.exists() and torch.cuda.get_device_capability(device) >= (7, 0)


def device_name(device: torch.device) -> str:
    """Return the model name of a GPU; for other devices the type and the processor: `cpu (PROCESSOR)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({processor_name()})"


def environment_info(compute: ComputeSettings, device: torch.device) -> dict:
    """Return how numbers are computed, for results and timings: device, threads, compute settings, versions."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **compute._asdict(),
        "versions": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the packages that results depend on."""
    packages = {name: version(name) for name in ("torch", "torchvision", "hydra-core", "numpy")}
    return {"python": platform.python_version(), "lls": lls.__version__, **packages}
