"""Runs as processes of this machine, forked from one that has imported torch: a short run costs no start-up."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from lls.launch.queue import Failure, JobQueue, Task, last_lines, log_path
from lls.launch.slots import Slot
from lls.launch.status import StatusDisplay
from lls.runs.run import Busy, serialize

STOP_TIMEOUT_SECONDS = 30  # seconds that a run is given to stop by itself
LOOK_AGAIN = 0.5  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Process(NamedTuple):
    """A task under way. begin: where in its log it began to write."""

    task: Task
    slot: Slot
    process: BaseProcess
    begin: int


def run_locally(tasks: Sequence[Task], slots: Sequence[Slot], time_limit: float | None) -> list[Failure]:
    """Train tasks, one in each slot at a time. Returns those that failed; see lls.launch.start.train_missing."""
    free, running = list(slots), []
    deadline = float("inf") if time_limit is None else time.monotonic() + time_limit
    server = _server()
    with stop_requests() as asked, StatusDisplay(len(tasks), len(slots)) as display:
        queue = JobQueue(tasks, display)
        try:
            while queue and not asked and time.monotonic() < deadline:
                elsewhere = _fill(free, running, queue, server)
                _wait([job.process for job in running])
                for job in [job for job in running if not job.process.is_alive()]:
                    running.remove(job)
                    free.append(job.slot)
                    _reap(job, queue)
                display.refresh(*queue.runs(), f" ({elsewhere} of them elsewhere)" if elsewhere else "")
        finally:
            _stop(running, asked)
    if queue:
        why = "stopped" if asked else "the time limit is reached"
        print(f"{why}: {queue.done} of {len(tasks)} runs are done; the same command goes on", flush=True)
    if asked:
        raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])
    return queue.failures


def _fill(free: list[Slot], running: list[Process], queue: JobQueue, server: ForkServerContext) -> int:
    """Start what can be started in the free slots. Returns how many runs other runners were found to train."""
    elsewhere = 0
    for task in list(queue.waiting.values()) if free else ():
        if not free:
            break
        if task.done:  # by another runner
            queue.finish(task)
        elif task.run.busy:
            elsewhere += 1
        elif queue.is_ready(task):
            queue.start(task)
            running.append(_fork(server, task, free.pop(0)))
    return elsewhere


def _fork(server: ForkServerContext, task: Task, slot: Slot) -> Process:
    run, log = task.run, log_path(task.run)
    begin = log.stat().st_size if log.exists() else 0
    environment = {} if ":" in run.cfg.machine.device else slot.environment
    process = server.Process(
        target=_work, args=(serialize(run), task.missing_artifact, log, slot.threads, environment, Path.cwd())
    )
    process.start()
    return Process(task, slot, process, begin)


def _work(*arguments) -> None:
    from lls.launch.worker import run_task  # not above: the runner itself has no use for torch

    run_task(*arguments)


def _reap(job: Process, queue: JobQueue) -> None:
    task, code = job.task, job.process.exitcode
    if code == Busy.status:
        queue.requeue(task)
    elif code == 0 and task.run.result is not None:
        queue.finish(task)
    else:
        status = code or "it ended without a result"
        if code < 0:
            status = f"killed by {signal.Signals(-code).name}"
            status += " (out of memory?)" if code == -signal.SIGKILL else ""
        queue.finish(task, Failure(task.run, status, last_lines(log_path(task.run), job.begin)))


def _server() -> ForkServerContext:
    """The process that the runs are forked from. It, and they, begin with SIGNALS blocked until they can take them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lls.launch.worker"])
    resource_tracker.ensure_running()  # it unblocks signals when it starts, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Gather the signals that ask to stop, instead of being interrupted by them wherever one is."""
    asked: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup means it
        before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in heeded}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(running: list[Process], asked: list[int]) -> None:
    """End all processes: as Ctrl-C does, then by force after a while, or when asked once more."""
    for job in running:
        with suppress(ProcessLookupError):
            os.kill(job.process.pid, signal.SIGINT)
    deadline, before = time.monotonic() + STOP_TIMEOUT_SECONDS, len(asked)
    while left := [job.process for job in running if job.process.is_alive()]:
        if time.monotonic() > deadline or len(asked) > before:
            break
        _wait(left)
    for process in left:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _wait(processes: Sequence[BaseProcess]) -> None:
    """Until one of them ends, or until it is time to look again."""
    if processes:
        connection.wait([process.sentinel for process in processes], LOOK_AGAIN)
    else:
        time.sleep(LOOK_AGAIN)
