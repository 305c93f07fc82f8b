"""What of a list of runs is still to be trained, and what has become of it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import NamedTuple

from lls.errors import UserError
from lls.launch.status import View
from lls.runs.run import Run, lesson_file, needs


class Task(NamedTuple):
    """A run to be trained. lessons: the files that its students, or a figure, need of it."""

    run: Run
    lessons: set[str]

    @property
    def done(self) -> bool:
        return self.run.result is not None and all(map(self.run.has, self.lessons))

    @property
    def lost(self) -> str | None:
        """A file that is needed of a run that has its result but not that: weights are not tracked."""
        return None if self.run.result is None else min(filterfalse(self.run.has, self.lessons), default=None)


class Failure(NamedTuple):
    """A run that is not done. status: the exit status of its process, or in words why there is none."""

    run: Run
    status: int | str
    last_lines: list[str]

    def __str__(self) -> str:
        status = f"exit status {self.status}" if isinstance(self.status, int) else self.status
        return "\n".join([f"{self.run.id}: {status}", *(f"    {line}" for line in self.last_lines)])


def missing(runs: Sequence[Run], files: Mapping[str, Iterable[str]] | None = None) -> tuple[list[Task], list[Failure]]:
    """What of `runs` and their teachers is not done, teachers first, and the runs whose teacher can't be had. A run
    that has diverged is not trained again. files: by a run's id, those of its folder without which it is not done."""
    tasks: dict[Path, Task] = {}
    failures = []

    def add(run: Run, lessons: set[str]) -> None:
        task = tasks.get(run.folder) or Task(run, set())
        task.lessons.update(lessons)
        if run.folder in tasks or task.done or run.failed:
            return
        if teacher := needs(run):
            if teacher.failed:
                raise UserError(f"its teacher {teacher.id} has diverged")
            add(teacher, {lesson_file(run)})
        tasks[run.folder] = task

    for run in runs:
        try:
            add(run, set((files or {}).get(run.id, ())))
        except UserError as error:
            failures.append(Failure(run, error.status, [f"error: {error}"]))
    taught = {teacher.folder for task in tasks.values() if (teacher := needs(task.run))}
    return sorted(tasks.values(), key=lambda task: task.run.folder not in taught), failures


class Board:
    """Where every task stands: waiting, running, or off the board, done or failed. It tells of each that ends."""

    def __init__(self, tasks: Sequence[Task], view: View):
        self.waiting = {task.run.folder: task for task in tasks}
        self.running: dict[Path, Task] = {}
        self.failures: list[Failure] = []
        self.done = 0
        self.view = view

    def begin(self, task: Task) -> None:
        self.running[task.run.folder] = self.waiting.pop(task.run.folder)

    def again(self, task: Task) -> None:
        """Back to those that wait, behind the others."""
        self.waiting[task.run.folder] = self.running.pop(task.run.folder)

    def ready(self, task: Task) -> bool:
        """Whether it has no teacher that is still to be trained."""
        teacher = needs(task.run)
        return teacher is None or not (teacher.folder in self.waiting or teacher.folder in self.running)

    def end(self, task: Task, failure: Failure | None = None) -> None:
        """Take a task off the board, and if it failed its students too."""
        self.waiting.pop(task.run.folder, None)
        self.running.pop(task.run.folder, None)
        if failure is None:
            self.done += 1
            self.view.tell(task.run, None, *self.runs())
            return
        self.failures.append(failure)
        self.view.tell(task.run, failure.status, *self.runs())
        for student in [*self.waiting.values()]:
            teacher = needs(student.run)
            if teacher is not None and teacher.folder == task.run.folder:
                self.end(student, Failure(student.run, "not started", [f"its teacher {teacher.id} failed"]))

    def __bool__(self) -> bool:
        return bool(self.waiting or self.running)

    def runs(self) -> tuple[list[Run], list[Run]]:
        """Those that run, and those that wait."""
        running, waiting = ([task.run for task in tasks.values()] for tasks in (self.running, self.waiting))
        return running, waiting


def log_of(run: Run) -> Path:
    """What the processes that trained a run have printed."""
    return Path(run.cfg.machine.output) / "logs" / f"{run.id}.txt"


def last_lines(log: Path, begin: int = 0) -> list[str]:
    """The last ten lines that are not blank, of those after byte `begin`."""
    if not log.exists():
        return []
    with open(log, "rb") as file:
        file.seek(max(begin, log.stat().st_size - 100_000))
        return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()][-10:]
