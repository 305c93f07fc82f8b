"""Starting many runs: what is missing of them, teachers first, each in a process of its own with a log of its own.

A run that crashes, however hard, costs itself and its students; the others go on. Stopped in whatever way, the same
call goes on where it stopped. What is done is read from the runs' folders, so that several runners can share them.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from lls.errors import UserError
from lls.launch import mps
from lls.launch.local import run_locally
from lls.launch.queue import Failure, missing_tasks
from lls.launch.slots import slots_for
from lls.runs.run import Run


def train_missing(
    runs: Sequence[Run],
    *,
    files: Mapping[str, Iterable[str]] | None = None,
    jobs: int | None = None,
    time_limit: float | None = None,
    launcher: str = "local",
    settings: Sequence[str] = (),
) -> list[Failure]:
    """Train what is missing of `runs` and of their teachers. Returns the runs that failed, of which it has told.

    files: by a run's id, what of its folder is wanted beside the result. jobs: runs at a time, on each GPU or on the
    CPU (see slots_for), or on the cluster. time_limit: seconds after which nothing is started and what runs is stopped,
    to be resumed by the same call. launcher: local | slurm. settings: on SLURM, overrides of hydra.launcher.*. Ctrl-C
    raises KeyboardInterrupt when all is stopped, SIGTERM SystemExit."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least 1")
    if launcher == "slurm":
        failures = _on_slurm(runs, files, jobs, time_limit, settings)
    elif launcher != "local":
        raise UserError(f"launcher {launcher}: local or slurm")
    elif settings:
        raise UserError(f"{settings[0]}: goes with --launcher slurm")
    else:
        tasks, failures = missing_tasks(runs, files)
        if tasks:
            with mps.shared(slots_for([task.run for task in tasks], jobs)) as slots:
                failures += run_locally(tasks, slots, time_limit)
    for failure in failures:
        print(failure, file=sys.stderr, flush=True)
    return failures


def _on_slurm(
    runs: Sequence[Run],
    files: Mapping[str, Iterable[str]] | None,
    jobs: int | None,
    time_limit: float | None,
    settings: Sequence[str],
) -> list[Failure]:
    if time_limit is not None:
        raise UserError("a time limit is for this machine; on SLURM each job has its own, hydra.launcher.timeout_min")
    try:
        from lls.launch.slurm import run_on_slurm
    except ModuleNotFoundError as error:
        raise UserError(f"SLURM needs the package {error.name}: pip install -e '.[slurm]'") from None
    tasks, failures = missing_tasks(runs, files)
    return failures + run_on_slurm(tasks, jobs, settings)
