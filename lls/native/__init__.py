"""What is written in C, for a CPU with a C compiler: the losses, some layers, a batch's crops. One pass over numbers
that stay in the cache, where PyTorch's operations each go through memory and cost more to call than to compute.

They are compiled at the first use, in a second, and kept in the user's cache folder. Where there is no
compiler, or LLS_NATIVE=0 is set, the same formulas are computed in PyTorch.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

SOURCES = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O3", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
AVX2 = ("-mavx2", "-mfma")  # what PyTorch's own kernels ask for; not all that this machine has: the cache may be shared

DONE, OUT_OF_RANGE = 0, 1  # of simd.h
pointer, count, number = c_void_p, c_int64, c_double
FUNCTIONS = {
    "lls_symmetric_kl": (c_int, [pointer] * 3 + [count] * 2 + [number] * 2 + [pointer] * 3),
    "lls_sparse_kl": (c_int, [pointer] * 4 + [count] * 4 + [number] * 2 + [pointer] * 3),
    "lls_threads": (c_int, []),
    "lls_scale": (None, [pointer, count, pointer]),
    "lls_max_pool_relu": (c_int, [pointer] + [count] * 4 + [pointer] * 2),
    "lls_max_pool_relu_backward": (c_int, [pointer] * 2 + [count] * 4 + [pointer]),
    "lls_norm_relu": (c_int, [pointer] * 2 + [count] * 2 + [pointer] * 2 + [number] * 2 + [pointer] * 5),
    "lls_norm_relu_backward": (c_int, [pointer] * 3 + [count] * 2 + [pointer] * 7),
    "lls_windows": (c_int, [pointer] + [count] * 2 + [pointer] * 3 + [count] * 4 + [pointer] * 3),
}


def suits(logits: Tensor, q: Tensor, y: Tensor) -> bool:
    """Whether the C functions can have these: float32 logits and Q of two dimensions and `[B]` labels, on the CPU. What
    PyTorch would refuse is left to it, as is what it traces."""
    return (
        plain(logits)
        and q.dtype == torch.float32
        and y.dtype == torch.int64
        and q.is_cpu
        and y.is_cpu
        and logits.dim() == q.dim() == 2
        and y.shape == logits.shape[:1]
        and not q.is_neg()
        and library() is not None
    )


def plain(x: Tensor) -> bool:
    """Whether a tensor is float32 in the CPU's memory, and no one is to be told what is done to it."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_in_torch_dispatch_mode()
        and torch._C._functorch.peek_interpreter_stack() is None  # no torch.func.grad, no vmap
        and type(x) is Tensor
        and x.is_cpu
        and x.dtype == torch.float32
        and not x.is_neg()  # it would be in memory with the other sign
    )


@cache
def library() -> ctypes.CDLL | None:
    """The C functions, compiled if they were not yet; None where that is not possible or not wanted."""
    if os.environ.get("LLS_NATIVE") == "0" or os.name != "posix":
        return None
    avx2 = platform.machine() == "x86_64" and torch.backends.cpu.get_cpu_capability().startswith("AVX")
    try:
        command = [*_compiler(), *FLAGS, *(AVX2 if avx2 else ()), "-shared", "-fPIC"]
        found = ctypes.CDLL(str(_compiled(command)))
    except (OSError, subprocess.SubprocessError, ValueError, RuntimeError):  # the last for a user without a home
        return None
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def check(code: int, out_of_range: str = "") -> None:
    """Raise what a function returned: IndexError with this text, or MemoryError."""
    if code == OUT_OF_RANGE:
        raise IndexError(out_of_range)
    if code != DONE:
        raise MemoryError("no memory for a function in C")


def scaled(gradients: Sequence[Tensor | None], by: Tensor) -> list[Tensor | None]:
    """These, of which nothing else knows, times a scalar. It is nearly always 1, which C sees without any reading of
    numbers in a step."""
    try:
        factor = by.data_ptr() if plain(by) and not by._is_zerotensor() else None
    except RuntimeError:  # a batch of scalars, of is_grads_batched
        factor = None
    if factor is None:
        return [None if gradient is None else gradient * by for gradient in gradients]
    for gradient in gradients:
        if gradient is not None:
            library().lls_scale(gradient.data_ptr(), gradient.numel(), factor)
    return list(gradients)


def windows(images: Tensor, image: Tensor, top: Tensor, left: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale · images[image, top, left] + shift, as float32 `[B, H, W, C]`. images: uint8 `[N, Y, X, H, W, C]`, windows
    into images that lie in memory as `[H', W', C]` each; image, top, left: int64 `[B]`, within it; scale, shift:
    float32 `[C]`."""
    height, width, channels = images.shape[3:]
    out = torch.empty(len(image), height, width, channels, dtype=torch.float32, device="cpu")
    of_image, of_row = images.stride()[:2]
    chosen = (image.data_ptr(), top.data_ptr(), left.data_ptr(), len(image), height, width, channels)
    by = (scale.data_ptr(), shift.data_ptr(), out.data_ptr())
    check(library().lls_windows(images.data_ptr(), of_image, of_row, *chosen, *by))
    return out


def _compiler() -> list[str]:
    """The words that call it. OSError where there is none; ValueError for a CC with an open quote."""
    if words := shlex.split(os.environ.get("CC", "")):
        return words
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise FileNotFoundError("no C compiler")


def _compiled(command: list[str]) -> Path:
    """The library that this command makes of the sources, in the cache under a name that says what it was made of."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256("\n".join([platform.platform(), *command]).encode())
    for path in sources:
        digest.update(path.read_bytes())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lls")
    library = folder / f"native-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:  # others may be compiling too: the last one's stays
            made = Path(own, "native.so")
            files = [str(path) for path in sources if path.suffix == ".c"]
            subprocess.run([*command, "-o", made, *files, "-lm"], check=True, capture_output=True, timeout=60)
            with open(made, "rb+") as file:
                os.fsync(file.fileno())  # a library cut short by a power failure would kill whoever loads it
            os.replace(made, library)
    return library
