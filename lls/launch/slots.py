"""How many runs this machine trains at a time, and the threads and GPU of each."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from lls.runs.run import Run


class Slot(NamedTuple):
    """The resources of one run: its CPU threads, and environment variables that select its GPU."""

    threads: int
    environment: dict[str, str]


def slots_for(runs: Sequence[Run], jobs: int | None) -> list[Slot]:
    """Return the slots of this machine.

    jobs: runs at a time on each GPU (default: 1), or on the CPU (default: one for each core, with one thread, or with
    OMP_NUM_THREADS threads each). The number of threads does not depend on the number of runs, because on a CPU the
    last digits of a result depend on the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [] if {run.cfg.machine.device for run in runs} == {"cpu"} else _gpus()
    if gpus:
        per_gpu = jobs or 1
        threads = max(1, cores // (len(gpus) * per_gpu))
        return [Slot(threads, gpu) for _ in range(per_gpu) for gpu in gpus]
    threads = int(os.environ.get("OMP_NUM_THREADS") or (max(1, cores // jobs) if jobs else 1))
    return [Slot(threads, {})] * (jobs or max(1, cores // threads))


def _gpus() -> list[dict[str, str]]:
    """For each GPU that PyTorch sees, return the environment variables that select it. An Apple GPU needs none."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        return [{}] if torch.backends.mps.is_available() else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",")[:count] if visible else [str(i) for i in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
