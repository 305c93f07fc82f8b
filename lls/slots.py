"""How many runs a machine trains at a time, and what each of them gets of it."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from lls.config import UserError
from lls.runs import Run


class Slot(NamedTuple):
    """The share of one run: threads, and the variables that show it its GPU."""

    threads: int
    environment: dict[str, str]


def slots_for(runs: Sequence[Run], jobs: int | None) -> list[Slot]:
    """The slots of this machine for such runs. jobs: how many on each GPU (default: 1), or on the CPU (default: one for
    each core, of one thread, or of OMP_NUM_THREADS). The threads do not depend on how many runs there are: on a CPU a
    run's last digits depend on them."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least 1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [] if {run.cfg.machine.device for run in runs} == {"cpu"} else _gpus()
    if gpus:
        each = jobs or 1
        threads = max(1, cores // (len(gpus) * each))
        return [Slot(threads, {"CUDA_VISIBLE_DEVICES": gpu}) for _ in range(each) for gpu in gpus]
    threads = int(os.environ.get("OMP_NUM_THREADS") or (max(1, cores // jobs) if jobs else 1))
    return [Slot(threads, {})] * (jobs or max(1, cores // threads))


def _gpus() -> list[str]:
    """The NVIDIA GPUs that PyTorch sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(i) for i in range(count)]
