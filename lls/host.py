"""This machine, as far as it can be told without PyTorch, whose import takes longer than a plan."""

import hashlib
import os
import platform
from pathlib import Path


def processor_name() -> str:
    """The name of the processor, as its maker has it where Linux tells."""
    return next(iter(_values("/proc/cpuinfo", "model name")), platform.processor() or platform.machine())


def host_fingerprint() -> str:
    """Another one on a machine with another processor, number of cores or NVIDIA GPU, or where PyTorch is told to use
    others of them: 12 hexadecimal digits."""
    gpus = [name for path in Path("/proc/driver/nvidia/gpus").glob("*/information") for name in _values(path, "Model")]
    told = [os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
    seen = [processor_name(), os.cpu_count(), sorted(gpus), told]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]


def _values(path: str | Path, key: str) -> list[str]:
    """What a file of Linux's says after `key:`, line by line; nothing where there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip().lower() == key.lower()]
