"""The runs that are still to be trained, and the state of each while they are trained."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import NamedTuple

from lls.errors import UserError
from lls.launch.status import StatusDisplay
from lls.runs.run import Run, teacher_artifact, teacher_run


class Task(NamedTuple):
    """A run to be trained. artifacts: files of its folder that its students or a figure need."""

    run: Run
    artifacts: set[str]

    @property
    def done(self) -> bool:
        return self.run.result is not None and all(map(self.run.has_final, self.artifacts))

    @property
    def missing_artifact(self) -> str | None:
        """A needed file that a finished run lacks, or None. Git does not track weights, so a clone lacks them."""
        return None if self.run.result is None else min(filterfalse(self.run.has_final, self.artifacts), default=None)


class Failure(NamedTuple):
    """A run that failed. status: the exit status of its process, or a reason in words."""

    run: Run
    status: int | str
    last_lines: list[str]

    def __str__(self) -> str:
        status = f"exit status {self.status}" if isinstance(self.status, int) else self.status
        return "\n".join([f"{self.run.id}: {status}", *(f"    {line}" for line in self.last_lines)])


def missing_tasks(
    runs: Sequence[Run], files: Mapping[str, Iterable[str]] | None = None
) -> tuple[list[Task], list[Failure]]:
    """Return the tasks of all runs and teachers that are not done, and a failure for each run without a usable teacher.

    Teachers come first. A run that has diverged is not trained again. files: by run id, the files that a finished run
    must have."""
    tasks: dict[Path, Task] = {}
    failures = []

    def add(run: Run, artifacts: set[str]) -> None:
        task = tasks.get(run.folder) or Task(run, set())
        task.artifacts.update(artifacts)
        if run.folder in tasks or task.done or run.failed:
            return
        if teacher := teacher_run(run):
            if teacher.failed:
                raise UserError(f"its teacher {teacher.id} has diverged; choose other settings for the teacher")
            add(teacher, {teacher_artifact(run)})
        tasks[run.folder] = task

    for run in runs:
        try:
            add(run, set((files or {}).get(run.id, ())))
        except UserError as error:
            failures.append(Failure(run, error.status, [f"error: {error}"]))
    teachers = {teacher.folder for task in tasks.values() if (teacher := teacher_run(task.run))}
    return sorted(tasks.values(), key=lambda task: task.run.folder not in teachers), failures


class JobQueue:
    """The state of each task: waiting, running, done or failed. Reports each task that ends to the display."""

    def __init__(self, tasks: Sequence[Task], display: StatusDisplay):
        self.waiting = {task.run.folder: task for task in tasks}
        self.running: dict[Path, Task] = {}
        self.failures: list[Failure] = []
        self.done = 0
        self.display = display

    def start(self, task: Task) -> None:
        self.running[task.run.folder] = self.waiting.pop(task.run.folder)

    def requeue(self, task: Task) -> None:
        """Move a running task behind those that wait."""
        self.waiting[task.run.folder] = self.running.pop(task.run.folder)

    def is_ready(self, task: Task) -> bool:
        """Whether the task's teacher, if it has one, neither waits nor runs."""
        teacher = teacher_run(task.run)
        return teacher is None or not (teacher.folder in self.waiting or teacher.folder in self.running)

    def finish(self, task: Task, failure: Failure | None = None) -> None:
        """Count a task as done, or as failed together with all its students."""
        self.waiting.pop(task.run.folder, None)
        self.running.pop(task.run.folder, None)
        if failure is None:
            self.done += 1
            self.display.report(task.run, None, *self.runs())
            return
        self.failures.append(failure)
        self.display.report(task.run, failure.status, *self.runs())
        for student in [*self.waiting.values()]:
            teacher = teacher_run(student.run)
            if teacher is not None and teacher.folder == task.run.folder:
                self.finish(student, Failure(student.run, "not started", [f"its teacher {teacher.id} failed"]))

    def __bool__(self) -> bool:
        return bool(self.waiting or self.running)

    def runs(self) -> tuple[list[Run], list[Run]]:
        """Return the running and the waiting runs."""
        running, waiting = ([task.run for task in tasks.values()] for tasks in (self.running, self.waiting))
        return running, waiting


def log_path(run: Run) -> Path:
    """Return the path of the file with all output of a run's processes."""
    return Path(run.cfg.machine.output) / "logs" / f"{run.id}.txt"


def last_lines(log: Path, start: int = 0) -> list[str]:
    """Return the last ten lines after byte `start` that are not blank."""
    if not log.exists():
        return []
    with open(log, "rb") as file:
        file.seek(max(start, log.stat().st_size - 100_000))
        return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()][-10:]
