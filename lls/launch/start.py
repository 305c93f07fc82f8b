"""Train all missing runs, teachers first. Each run has its own process and its own log.

- Missing data sets are downloaded first. Runs without images are not started.
- A run that fails stops only itself and its students. The other runs continue.
- After a stop or a crash, the same call continues where it stopped.
- Whether a run is done is read from its folder, so several calls can share one output folder.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from lls.errors import UserError
from lls.launch.local import run_locally
from lls.launch.mps import share_gpus
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
    """Train those of `runs` and their teachers that are not done. Prints and returns the failures.

    - files: by run id, the files besides result.json that a run must have to be done.
    - jobs: runs at a time, on each GPU or on the CPU (see slots_for), or on the cluster.
    - time_limit: seconds after which all runs are stopped. The same call resumes them.
    - launcher: local | slurm.
    - settings: overrides hydra.launcher.KEY=VALUE for SLURM.

    Missing data sets are obtained first, on this machine only: jobs of SLURM may see another data folder.
    Raises KeyboardInterrupt on Ctrl-C and SystemExit on SIGTERM, both after all local runs have stopped."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least 1")
    without_data: list[Failure] = []
    if launcher == "slurm":
        failures = _train_on_slurm(runs, files, jobs, time_limit, settings)
    elif launcher != "local":
        raise UserError(f"launcher {launcher}: local or slurm")
    elif settings:
        raise UserError(f"{settings[0]}: goes with --launcher slurm")
    else:
        tasks, failures = missing_tasks(runs, files)
        if tasks:
            from lls.launch.data import obtain_data  # here: it imports torch

            tasks, without_data = obtain_data(tasks)
        if tasks:
            with share_gpus(slots_for([task.run for task in tasks], jobs)) as slots:
                failures += run_locally(tasks, slots, time_limit)
    for failure in failures:
        print(failure, file=sys.stderr, flush=True)
    return failures + without_data


def _train_on_slurm(
    runs: Sequence[Run],
    files: Mapping[str, Iterable[str]] | None,
    jobs: int | None,
    time_limit: float | None,
    settings: Sequence[str],
) -> list[Failure]:
    if time_limit is not None:
        raise UserError("--time-limit is for this machine only; on SLURM set hydra.launcher.timeout_min for each job")
    try:
        from lls.launch.slurm import run_on_slurm
    except ModuleNotFoundError as error:
        raise UserError(f"SLURM needs the package {error.name}: pip install -e '.[slurm]'") from None
    tasks, failures = missing_tasks(runs, files)
    return failures + run_on_slurm(tasks, jobs, settings)
