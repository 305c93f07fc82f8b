"""Train runs as SLURM jobs, with submitit. Needs the extra `slurm`.

Whether a run is done is read from its folder. SLURM is only asked for its queue (`squeue`), which needs no accounting.
"""

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
from lls.runs.summary import format_count

LAUNCHER = CONFIGS / "hydra" / "launcher" / "submitit_slurm.yaml"
HYDRA_KEYS = ("_target_", "submitit_folder")  # keys of LAUNCHER for Hydra alone
# The parameters that submitit has for all clusters. The others are SLURM's, with the prefix slurm_.
COMMON_PARAMETERS = (
    "name",
    "timeout_min",
    "mem_gb",
    "nodes",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "stderr_to_stdout",
)
QUEUE_RETRY_SECONDS = (2, 10, 60)  # pauses between attempts while the controller is busy or starts
POLL_SECONDS = 5
RESULT_TIMEOUT_SECONDS = 60  # time that a shared file system may take to show the result of a job that has ended


class Job(submitit.helpers.Checkpointable):
    """A SLURM job that trains one run. A job that is queued again resumes the run."""

    def __init__(self, task: Task):
        self.serialized, self.missing_artifact = serialize(task.run), task.missing_artifact
        self.log = log_path(task.run)

    def __call__(self) -> None:
        from lls.launch.worker import redirect_output, train_task

        redirect_output(self.log)
        train_task(self.serialized, self.missing_artifact)


def run_on_slurm(
    tasks: Sequence[Task],
    jobs: int | None,
    settings: Sequence[str],
    *,
    job_type: type[Job] = Job,
    poll_seconds: float = POLL_SECONDS,
    result_timeout: float = RESULT_TIMEOUT_SECONDS,
) -> list[Failure]:
    """Submit tasks and wait until all have ended. Returns the failures; see lls.launch.start.train_missing.

    Tasks whose job is still in the queue from an earlier call are not submitted again. Ctrl-C leaves all jobs in the
    queue. result_timeout: seconds after the end of a job until a run without a result counts as failed."""
    parameters = launcher_settings(settings)
    if jobs is not None:
        parameters["array_parallelism"] = jobs
    states = queued_jobs()
    submitted = {task.run.folder: job for task in tasks if (job := _read_job(task.run)) in states}
    try:
        _submit(tasks, submitted, parameters, job_type)
        with StatusDisplay(len(tasks), parameters["array_parallelism"]) as display:
            queue = JobQueue(tasks, display)
            _watch(queue, submitted, poll_seconds, result_timeout)
    except KeyboardInterrupt:
        if submitted:
            ids = " ".join(sorted({job.partition("_")[0] for job in submitted.values()}))
            print(f"the jobs continue: repeat the command to watch them, or cancel them by scancel {ids}", flush=True)
        raise
    return queue.failures


def launcher_settings(overrides: Sequence[str]) -> dict:
    """Return the settings of configs/hydra/launcher/submitit_slurm.yaml with overrides hydra.launcher.KEY=VALUE."""
    settings = OmegaConf.load(LAUNCHER)
    for override in parse_overrides(overrides):
        section, _, key = override.key_or_group.rpartition(".")
        if section != "hydra.launcher" or key not in settings:
            hint = did_you_mean(key, map(str, settings))
            raise UserError(
                f"no such key: {override.key_or_group}{hint} ({LAUNCHER.relative_to(CONFIGS.parent)} lists them)"
            )
        settings[key] = override.value()
    return {key: value for key, value in OmegaConf.to_container(settings).items() if key not in HYDRA_KEYS}


def queued_jobs() -> dict[str, str]:
    """Return the state of each of the user's jobs in the queue, by job id (`array_task`)."""
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T"]
    for pause in (*QUEUE_RETRY_SECONDS, None):
        try:
            process = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            raise UserError("there is no SLURM here: squeue is not found") from None
        if process.returncode == 0:
            break
        if pause is None:
            raise UserError(f"squeue fails: {' '.join(process.stderr.split())}")
        time.sleep(pause)
    return dict(line.split() for line in process.stdout.splitlines())


def _submit(tasks: Sequence[Task], submitted: dict[Path, str], parameters: dict, job_type: type[Job]) -> None:
    """Submit the tasks that are not in `submitted`, and add their job ids to it.

    All teachers are one job array, their students the next: an array starts when the array before it has ended. The
    job id of each run is also written beside its log, where a later call finds it."""
    folders = {task.run.folder for task in tasks}
    handled: set[Path] = set()
    previous_arrays: set[str] = set()
    while generation := [
        task for task in tasks if task.run.folder not in handled and _teacher_folders(task) & folders <= handled
    ]:
        new = [task for task in generation if task.run.folder not in submitted]
        for task, job in zip(new, _submit_array(new, parameters, previous_arrays, job_type), strict=True):
            submitted[task.run.folder] = job
            path = _job_file(task.run)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(job)
        handled |= {task.run.folder for task in generation}
        previous_arrays = {submitted[task.run.folder].partition("_")[0] for task in generation}


def _submit_array(tasks: Sequence[Task], parameters: dict, previous_arrays: set[str], job_type: type[Job]) -> list[str]:
    """Submit one job array. Returns the job id of each task."""
    if not tasks:
        return []
    parameters = dict(parameters)
    folder = Path(tasks[0].run.cfg.machine.output) / "slurm" / "%j"
    max_timeouts = parameters.pop("max_num_timeout")
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=max_timeouts)
    executor.update_parameters(
        **{key if key in COMMON_PARAMETERS else f"slurm_{key}": value for key, value in parameters.items()}
    )
    if previous_arrays:
        executor.update_parameters(slurm_dependency=":".join(["afterany", *sorted(previous_arrays)]))
    try:
        jobs = [job.job_id for job in executor.submit_array([job_type(task) for task in tasks])]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"SLURM rejects the job: {one_line(error)}") from None
    print(f"submitted {format_count(len(jobs), 'run')} as job {jobs[0].partition('_')[0]}", flush=True)
    return jobs


def _watch(queue: JobQueue, submitted: dict[Path, str], poll_seconds: float, result_timeout: float) -> None:
    """Follow the jobs until each run is done or its job has ended without a result."""
    missing_since: dict[Path, float] = {}  # when a job was first missing from SLURM's queue
    while queue:
        states = queued_jobs()
        for task in [*queue.running.values(), *queue.waiting.values()]:
            folder, state = task.run.folder, states.get(submitted[task.run.folder])
            if state is not None or task.run.busy:
                missing_since.pop(folder, None)
            if task.done:
                queue.finish(task)
            elif state == "RUNNING" and folder in queue.waiting:
                queue.start(task)
            elif state != "RUNNING" and folder in queue.running:
                queue.requeue(task)
            elif (
                time.monotonic() > missing_since.setdefault(folder, time.monotonic()) + result_timeout
                and folder in queue.waiting
            ):
                lines = _last_lines(task.run, submitted[folder])
                queue.finish(task, Failure(task.run, "its job ended without a result", lines))
        queue.display.refresh(*queue.runs())
        time.sleep(poll_seconds)


def _last_lines(run: Run, job: str) -> list[str]:
    """Return the last lines of a run's log, and the last errors in SLURM's own output."""
    slurm_log = Path(run.cfg.machine.output) / "slurm" / job / f"{job}_0_log.out"
    return [*last_lines(log_path(run)), *[line for line in last_lines(slurm_log) if "error" in line][-2:]]


def _job_file(run: Run) -> Path:
    """Return the path of the file with the id of a run's job."""
    return log_path(run).with_suffix(".job")


def _read_job(run: Run) -> str | None:
    return _job_file(run).read_text() if _job_file(run).exists() else None


def _teacher_folders(task: Task) -> set[Path]:
    teacher = teacher_run(task.run)
    return set() if teacher is None else {teacher.folder}
