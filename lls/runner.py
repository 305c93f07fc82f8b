"""Starting many runs: what is missing of them, teachers first, each in a process of its own with a log of its own.

A run that crashes, however hard, costs itself and its students; the others go on. Stopped in whatever way, the same
call goes on where it stopped. What is done is read from the runs' folders, so that several runners can share them.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from lls.config import UserError
from lls.runs import Run, frozen, lesson_file, needs
from lls.slots import Slot, slots_for
from lls.view import View

GRACE = 30  # seconds that a run has to stop by itself
LOOK_AGAIN = 0.5  # seconds


class Failure(NamedTuple):
    """A run that is not done. status: the exit status of its process, the name of the signal that ended it, or why it
    was not started."""

    run: Run
    status: int | str
    last_lines: list[str]


class Task(NamedTuple):
    """A run to be trained. lessons: the files that students need of it."""

    run: Run
    lessons: set[str]

    @property
    def done(self) -> bool:
        return self.run.result is not None and all(map(self.run.has, self.lessons))


class Job(NamedTuple):
    """A task under way. begin: where in the log this process begins to write."""

    task: Task
    slot: Slot
    process: BaseProcess
    begin: int


def start(
    runs: Sequence[Run],
    *,
    jobs: int | None = None,
    time_limit: float | None = None,
    launcher: str = "local",
    settings: Sequence[str] = (),
) -> list[Failure]:
    """Train what is missing of `runs` and of their teachers. Returns the runs that failed, of which it has told.

    jobs: runs at a time, on each GPU or on the CPU (slots_for says how many by default). time_limit: seconds after which
    nothing is started and what runs is stopped, to be resumed by the same call. launcher: local | slurm. settings: for
    slurm, overrides of hydra.launcher.*. Ctrl-C raises KeyboardInterrupt when all is stopped, SIGTERM SystemExit."""
    tasks, failures = missing(runs)
    if launcher == "slurm":
        from lls.slurm import run_on_slurm

        if time_limit is not None:
            raise UserError("a time limit is of this machine; on SLURM a job has one, hydra.launcher.timeout_min")
        failures += run_on_slurm(tasks, jobs, settings)
    elif tasks:
        failures += _run_here(tasks, slots_for([task.run for task in tasks.values()], jobs), time_limit)
    for failure in failures:
        print(told(failure), file=sys.stderr, flush=True)
    return failures


def missing(runs: Sequence[Run]) -> tuple[dict[str, Task], list[Failure]]:
    """What of `runs` and their teachers is not done, by id, teachers first, and the runs whose teacher can't be had."""
    tasks: dict[str, Task] = {}
    failures = []

    def add(run: Run, lessons: set[str]) -> None:
        task = tasks.get(run.id) or Task(run, set())
        task.lessons.update(lessons)
        if run.id in tasks or task.done:
            return
        if teacher := needs(run):
            add(teacher, {lesson_file(run)})
        tasks[run.id] = task

    for run in runs:
        try:
            add(run, set())
        except UserError as error:
            failures.append(Failure(run, error.status, [f"error: {error}"]))
    return dict(sorted(tasks.items(), key=lambda item: not item[1].lessons)), failures


def log_of(run: Run) -> Path:
    """What the processes that trained a run have printed."""
    return Path(run.cfg.machine.output) / "logs" / f"{run.id}.txt"


def last_lines(log: Path, begin: int = 0, count: int = 10) -> list[str]:
    """The last lines that are not blank, of those after byte `begin`."""
    if not log.exists():
        return []
    with open(log, "rb") as file:
        file.seek(max(begin, log.stat().st_size - 100_000))
        return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()][-count:]


def told(failure: Failure) -> str:
    """A failure as a paragraph."""
    status = f"exit status {failure.status}" if isinstance(failure.status, int) else failure.status
    return "\n".join([f"{failure.run.id} failed: {status}", *(f"    {line}" for line in failure.last_lines)])


def students_of(teacher: Run, tasks: dict[str, Task]) -> list[Run]:
    """Whom a teacher that failed takes with it, their students too."""
    direct = [task.run for task in tasks.values() if (own := needs(task.run)) is not None and own.id == teacher.id]
    return [student for run in direct for student in (run, *students_of(run, tasks))]


# -- on this machine ---------------------------------------------------------------------------------------------------


def _run_here(tasks: dict[str, Task], slots: list[Slot], time_limit: float | None) -> list[Failure]:
    waiting, free, failures = dict(tasks), list(slots), []
    running: list[Job] = []
    elsewhere: set[str] = set()
    deadline = float("inf") if time_limit is None else time.monotonic() + time_limit
    server = _server()

    def ended(task: Task, status: int | str, begin: int = 0) -> None:
        waiting.pop(task.run.id, None)
        if status == 0:
            view.ended(task.run, "done", *under_way())
            return
        failures.append(Failure(task.run, status, last_lines(log_of(task.run), begin)))
        view.ended(task.run, failures[-1].status if isinstance(status, str) else f"exit status {status}", *under_way())
        for student in students_of(task.run, waiting):
            waiting.pop(student.id)
            failures.append(Failure(student, "not started", [f"its teacher {task.run.id} failed"]))
            view.ended(student, "not started, its teacher failed", *under_way())

    def under_way() -> tuple[list[Run], list[Run]]:
        return [job.task.run for job in running], [task.run for task in waiting.values()]

    def startable() -> Iterator[Task]:
        """The tasks whose turn it can be, one by one; those that others have done meanwhile are done."""
        elsewhere.clear()
        for task in list(waiting.values()):
            teacher = needs(task.run)
            if task.done:
                ended(task, 0)
            elif task.run.busy:
                elsewhere.add(task.run.id)
            elif teacher is None or not (teacher.id in waiting or teacher.id in [job.task.run.id for job in running]):
                yield task

    with stop_requests() as asked, View(len(tasks), len(slots)) as view:
        try:
            while (waiting or running) and not asked and time.monotonic() < deadline:
                if free:
                    for task in startable():
                        running.append(_fork(server, waiting.pop(task.run.id), free.pop()))
                        if not free:
                            break
                connection.wait([job.process.sentinel for job in running], LOOK_AGAIN) if running else time.sleep(
                    LOOK_AGAIN
                )
                for job in [job for job in running if not job.process.is_alive()]:
                    running.remove(job)
                    free.append(job.slot)
                    if (status := _status(job)) == "busy":
                        waiting[job.task.run.id] = job.task
                    else:
                        ended(job.task, status, job.begin)
                view.show(*under_way(), len(elsewhere))
        finally:
            stopped = bool(running or waiting)
            _stop(running, asked)
    if stopped:
        why = "stopped" if asked else "the time limit is reached"
        print(f"{why}: {view.done} of {len(tasks)} runs done; the same command goes on", flush=True)
    if asked:
        raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])
    return failures


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Gather the signals that ask to stop, instead of being interrupted by them wherever one is."""
    asked: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]  # nohup means it
        before = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in heeded}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _server() -> multiprocessing.context.ForkServerContext:
    """The process that the runs are forked from. It and they begin with SIGNALS blocked, until they can take them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lls.worker"])
    resource_tracker.ensure_running()  # which unblocks some, and is started by the next line otherwise
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _fork(server: multiprocessing.context.ForkServerContext, task: Task, slot: Slot) -> Job:
    run, log = task.run, log_of(task.run)
    lost = None if run.result is None else min(lesson for lesson in task.lessons if not run.has(lesson))
    begin = log.stat().st_size if log.exists() else 0
    environment = {} if ":" in run.cfg.machine.device else slot.environment
    process = server.Process(target=_work, args=(frozen(run), lost, log, slot.threads, environment, Path.cwd()))
    process.start()
    return Job(task, slot, process, begin)


def _work(*arguments) -> None:
    from lls.worker import work  # not above: the runner itself has no use for torch

    work(*arguments)


def _status(job: Job) -> int | str:
    """0 for a run that is done, "busy" for one that another process trains, else how its process ended."""
    code = job.process.exitcode
    if code == 75:
        return "busy"
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return code or (0 if job.task.run.result is not None else "it ended without a result")


def _stop(running: list[Job], asked: list[int]) -> None:
    """End all processes: as Ctrl-C does, and by force after a while, or when asked a second time."""
    for job in running:
        with suppress(ProcessLookupError):
            os.kill(job.process.pid, signal.SIGINT)
    deadline, before = time.monotonic() + GRACE, len(asked)
    while left := [job.process for job in running if job.process.is_alive()]:
        if time.monotonic() > deadline or len(asked) > before:
            break
        connection.wait([process.sentinel for process in left], LOOK_AGAIN)
    for process in left:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for job in running:
        job.process.join()
