"""How many runs a machine trains at a time, and what each of them gets of it."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from lls.runs.run import Run


class Slot(NamedTuple):
    """The share of one run: threads, and the variables that show it its GPU."""

    threads: int
    environment: dict[str, str]


def slots_for(runs: Sequence[Run], jobs: int | None) -> list[Slot]:
    """The slots of this machine for such runs. jobs: how many on each GPU (default: 1), or on the CPU (default: one for
    each core, of one thread, or of OMP_NUM_THREADS). The threads do not depend on how many runs there are: on a CPU a
    run's last digits depend on them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [] if {run.cfg.machine.device for run in runs} == {"cpu"} else _gpus()
    if gpus:
        each = jobs or 1
        threads = max(1, cores // (len(gpus) * each))
        return [Slot(threads, gpu) for _ in range(each) for gpu in gpus]
    threads = int(os.environ.get("OMP_NUM_THREADS") or (max(1, cores // jobs) if jobs else 1))
    return [Slot(threads, {})] * (jobs or max(1, cores // threads))


def _gpus() -> list[dict[str, str]]:
    """The GPUs that PyTorch sees, each as the variables that show it alone. Apple's one needs none."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        return [{}] if torch.backends.mps.is_available() else []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",")[:count] if named else [str(i) for i in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
