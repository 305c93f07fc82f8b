"""Runs as SLURM jobs, by submitit. What is done is read from the runs' folders; SLURM is asked only who is in its
queue, which works without its accounting. Needs the extra `slurm`."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import submitit
from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS, parse_overrides
from lls.config.compose import did_you_mean
from lls.errors import UserError, one_line
from lls.launch.queue import Failure, JobQueue, Task, last_lines, log_path
from lls.launch.status import StatusDisplay
from lls.runs.run import Run, serialize, teacher_run

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
ACCOUNTING_TIMEOUT_SECONDS = 60  # seconds that a shared file system may take to show what a job has left


class Job(submitit.helpers.Checkpointable):
    """What a job does: it trains a frozen run. Queued again, it does the same, and the run goes on."""

    def __init__(self, task: Task):
        self.serialized, self.missing_artifact, self.log = (
            serialize(task.run),
            task.missing_artifact,
            log_path(task.run),
        )

    def __call__(self) -> None:
        from lls.launch.worker import redirect_output, train_task

        redirect_output(self.log)
        train_task(self.serialized, self.missing_artifact)


def run_on_slurm(tasks: Sequence[Task], jobs: int | None, settings: Sequence[str]) -> list[Failure]:
    """Submit tasks and watch them until all have ended; those that an earlier call has in the queue are watched only.
    Ctrl-C leaves them there. Returns those that failed; see lls.launch.start.train_missing."""
    known = launcher_settings(settings)
    if jobs is not None:
        known["array_parallelism"] = jobs
    queue = queued_jobs()
    submitted = {task.run.folder: job for task in tasks if (job := _job_of(task.run)) in queue}
    _submit(tasks, submitted, known)
    with StatusDisplay(len(tasks), known["array_parallelism"]) as display:
        queue = JobQueue(tasks, display)
        try:
            _watch(queue, submitted)
        except KeyboardInterrupt:
            ids = " ".join(sorted({job.partition("_")[0] for job in submitted.values()}))
            print(f"the jobs go on: the same command watches them, scancel {ids} ends them", flush=True)
            raise
    return queue.failures


def launcher_settings(overrides: Sequence[str]) -> dict:
    """The keys of configs/hydra/launcher/submitit_slurm.yaml, with overrides hydra.launcher.KEY=VALUE."""
    known = OmegaConf.load(LAUNCHER)
    for override in parse_overrides(overrides):
        section, _, key = override.key_or_group.rpartition(".")
        if section != "hydra.launcher" or key not in known:
            hint = did_you_mean(key, map(str, known))
            raise UserError(
                f"no such key: {override.key_or_group}{hint} ({LAUNCHER.relative_to(CONFIGS.parent)} has them)"
            )
        known[key] = override.value()
    return {key: value for key, value in OmegaConf.to_container(known).items() if key not in HYDRAS}


def queued_jobs() -> dict[str, str]:
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


def _watch(queue: JobQueue, submitted: dict[Path, str]) -> None:
    gone: dict[Path, float] = {}  # since when a job is not in the queue
    while queue:
        queue = queued_jobs()
        for task in [*queue.running.values(), *queue.waiting.values()]:
            folder, state = task.run.folder, queue.get(submitted[task.run.folder])
            if state is not None or task.run.busy:
                gone.pop(folder, None)
            if task.done:
                queue.finish(task)
            elif state == "RUNNING" and folder in queue.waiting:
                queue.start(task)
            elif state != "RUNNING" and folder in queue.running:
                queue.requeue(task)
            elif (
                time.monotonic() > gone.setdefault(folder, time.monotonic()) + ACCOUNTING_TIMEOUT_SECONDS
                and folder in queue.waiting
            ):
                queue.finish(task, Failure(task.run, "its job is over", _last_words(task.run, submitted[folder])))
        queue.display.refresh(*queue.runs())
        time.sleep(LOOK_AGAIN)


def _last_words(run: Run, job: str) -> list[str]:
    """The end of its log, and what SLURM says if it says something."""
    told = Path(run.cfg.machine.output) / "slurm" / job / f"{job}_0_log.out"
    return [*last_lines(log_path(run)), *[line for line in last_lines(told) if "error" in line][-2:]]


def _note(run: Run) -> Path:
    """Where the id of a run's job is kept."""
    return log_path(run).with_suffix(".job")


def _job_of(run: Run) -> str | None:
    return _note(run).read_text() if _note(run).exists() else None


def _teachers(task: Task) -> set[Path]:
    teacher = teacher_run(task.run)
    return set() if teacher is None else {teacher.folder}
