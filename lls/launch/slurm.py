"""Runs as SLURM jobs, by submitit. What is done is read from the runs' folders; SLURM is asked only who is in its
queue, which works without its accounting. Needs the extra `slurm`."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import submitit
from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS, parse
from lls.config.compose import nearest
from lls.errors import UserError, one_line
from lls.launch.queue import Board, Failure, Task, last_lines, log_of
from lls.launch.status import View
from lls.runs.run import Run, frozen, needs

LAUNCHER = CONFIGS / "hydra" / "launcher" / "submitit_slurm.yaml"
SHARED = (
    "name",
    "timeout_min",
    "mem_gb",
    "nodes",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "stderr_to_stdout",
)
HYDRAS = ("_target_", "submitit_folder")
LOOK_AGAIN = 5  # seconds
LATE = 60  # seconds that a shared file system may take to show what a job has left


class Job(submitit.helpers.Checkpointable):
    """What a job does: it trains a frozen run. Queued again, it does the same, and the run goes on."""

    def __init__(self, task: Task):
        self.frozen, self.lost, self.log = frozen(task.run), task.lost, log_of(task.run)

    def __call__(self) -> None:
        from lls.launch.worker import train, write_to

        write_to(self.log)
        train(self.frozen, self.lost)


def run_on_slurm(tasks: Sequence[Task], jobs: int | None, settings: Sequence[str]) -> list[Failure]:
    """Submit tasks and watch them until all have ended; those that an earlier call has in the queue are watched only.
    Ctrl-C leaves them there. Returns those that failed; see lls.launch.start.start."""
    known = settings_of(settings)
    if jobs is not None:
        known["array_parallelism"] = jobs
    queue = in_queue()
    submitted = {task.run.folder: job for task in tasks if (job := _job_of(task.run)) in queue}
    _submit(tasks, submitted, known)
    with View(len(tasks), known["array_parallelism"]) as view:
        board = Board(tasks, view)
        try:
            _watch(board, submitted)
        except KeyboardInterrupt:
            ids = " ".join(sorted({job.partition("_")[0] for job in submitted.values()}))
            print(f"the jobs go on: the same command watches them, scancel {ids} ends them", flush=True)
            raise
    return board.failures


def settings_of(overrides: Sequence[str]) -> dict:
    """The keys of configs/hydra/launcher/submitit_slurm.yaml, with overrides hydra.launcher.KEY=VALUE."""
    known = OmegaConf.load(LAUNCHER)
    for override in parse(overrides):
        section, _, key = override.key_or_group.rpartition(".")
        if section != "hydra.launcher" or key not in known:
            hint = nearest(key, map(str, known))
            raise UserError(
                f"no such key: {override.key_or_group}{hint} ({LAUNCHER.relative_to(CONFIGS.parent)} has them)"
            )
        known[key] = override.value()
    return {key: value for key, value in OmegaConf.to_container(known).items() if key not in HYDRAS}


def in_queue() -> dict[str, str]:
    """The user's jobs that are waiting or running, by id (array_task), with their state."""
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T"]
    for pause in (2, 10, 60, None):
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            raise UserError("there is no SLURM here: squeue is not found") from None
        if found.returncode == 0:
            break
        if pause is None:
            raise UserError(f"squeue fails: {' '.join(found.stderr.split())}")
        time.sleep(pause)  # a controller that is busy, or starts
    return dict(line.split() for line in found.stdout.splitlines())


def _submit(tasks: Sequence[Task], submitted: dict[Path, str], settings: dict) -> None:
    """Submit what is not yet, a generation an array: students wait for the array of their teachers to end. `submitted`
    gets the jobs, which are noted beside the logs too, where the next call finds them."""
    folders = {task.run.folder for task in tasks}
    taught: set[Path] = set()
    after: set[str] = set()
    while generation := [
        task for task in tasks if task.run.folder not in taught and _teachers(task) & folders <= taught
    ]:
        new = [task for task in generation if task.run.folder not in submitted]
        for task, job in zip(new, _array(new, settings, after), strict=True):
            submitted[task.run.folder] = job
            note = _note(task.run)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(job)
        taught |= {task.run.folder for task in generation}
        after = {submitted[task.run.folder].partition("_")[0] for task in generation}


def _array(tasks: Sequence[Task], settings: dict, after: set[str]) -> list[str]:
    if not tasks:
        return []
    settings = dict(settings)
    folder = Path(tasks[0].run.cfg.machine.output) / "slurm" / "%j"
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=settings.pop("max_num_timeout"))
    executor.update_parameters(**{key if key in SHARED else f"slurm_{key}": value for key, value in settings.items()})
    if after:
        executor.update_parameters(slurm_dependency=":".join(["afterany", *sorted(after)]))
    try:
        jobs = [job.job_id for job in executor.submit_array([Job(task) for task in tasks])]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"SLURM takes no such job: {one_line(error)}") from None
    print(f"submitted {len(jobs)} runs as job {jobs[0].partition('_')[0]}", flush=True)
    return jobs


def _watch(board: Board, submitted: dict[Path, str]) -> None:
    gone: dict[Path, float] = {}  # since when a job is not in the queue
    while board:
        queue = in_queue()
        for task in [*board.running.values(), *board.waiting.values()]:
            folder, state = task.run.folder, queue.get(submitted[task.run.folder])
            if state is not None or task.run.busy:
                gone.pop(folder, None)
            if task.done:
                board.end(task)
            elif state == "RUNNING" and folder in board.waiting:
                board.begin(task)
            elif state != "RUNNING" and folder in board.running:
                board.again(task)
            elif time.monotonic() > gone.setdefault(folder, time.monotonic()) + LATE and folder in board.waiting:
                board.end(task, Failure(task.run, "its job is over", _last_words(task.run, submitted[folder])))
        board.view.show(*board.runs())
        time.sleep(LOOK_AGAIN)


def _last_words(run: Run, job: str) -> list[str]:
    """The end of its log, and what SLURM says if it says something."""
    told = Path(run.cfg.machine.output) / "slurm" / job / f"{job}_0_log.out"
    return [*last_lines(log_of(run)), *[line for line in last_lines(told) if "error" in line][-2:]]


def _note(run: Run) -> Path:
    """Where the id of a run's job is kept."""
    return log_of(run).with_suffix(".job")


def _job_of(run: Run) -> str | None:
    return _note(run).read_text() if _note(run).exists() else None


def _teachers(task: Task) -> set[Path]:
    teacher = needs(task.run)
    return set() if teacher is None else {teacher.folder}
