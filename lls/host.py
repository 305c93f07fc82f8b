"""Facts about this machine without PyTorch, whose import takes longer than planning the runs of a table."""

import hashlib
import os
import platform
from pathlib import Path


def processor_name() -> str:
    """Return the model name of the processor; on systems other than Linux, the name that Python has for it."""
    return next(iter(_values("/proc/cpuinfo", "model name")), platform.processor() or platform.machine())


def host_fingerprint() -> str:
    """Return 12 hexadecimal digits that identify the hardware that PyTorch can use.

    They depend on the processor, the number of cores, the NVIDIA GPUs, CUDA_VISIBLE_DEVICES and OMP_NUM_THREADS."""
    gpus = [name for path in Path("/proc/driver/nvidia/gpus").glob("*/information") for name in _values(path, "Model")]
    variables = [os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
    facts = [processor_name(), os.cpu_count(), sorted(gpus), variables]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def _values(path: str | Path, key: str) -> list[str]:
    """Return the values of the lines `key: value` of a file such as /proc/cpuinfo; [] if there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip().lower() == key.lower()]
