"""Train runs as processes of this machine.

The processes are forked from one that has already imported torch, so that each run starts at once.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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

STOP_TIMEOUT_SECONDS = 30  # time that a run has to stop after SIGINT, before it is killed
POLL_SECONDS = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunningTask(NamedTuple):
    """A task whose process runs. log_start: size of the run's log in bytes when the process started."""

    task: Task
    slot: Slot
    process: BaseProcess
    log_start: int


def _run_task(*arguments) -> None:
    from lls.launch.worker import run_task  # imported here because the launcher itself needs no torch

    run_task(*arguments)


def run_locally(
    tasks: Sequence[Task],
    slots: Sequence[Slot],
    time_limit: float | None,
    *,
    target: Callable[..., None] = _run_task,
    stop_timeout: float = STOP_TIMEOUT_SECONDS,
) -> list[Failure]:
    """Train tasks, one per slot at a time. Returns the failures; see lls.launch.start.train_missing.

    target: what each process calls, with the arguments of lls.launch.worker.run_task. stop_timeout: seconds that a
    process has to stop before it is killed."""
    free_slots, running = list(slots), []
    deadline = float("inf") if time_limit is None else time.monotonic() + time_limit
    server = _fork_server()
    with collect_stop_signals() as received, StatusDisplay(len(tasks), len(slots)) as display:
        queue = JobQueue(tasks, display)
        try:
            while queue and not received and time.monotonic() < deadline:
                busy = _start_ready_tasks(free_slots, running, queue, server, target)
                _wait([job.process for job in running])
                for job in [job for job in running if not job.process.is_alive()]:
                    running.remove(job)
                    free_slots.append(job.slot)
                    _collect(job, queue)
                display.refresh(*queue.runs(), f" ({busy} of them trained by another command)" if busy else "")
        finally:
            _stop(running, received, stop_timeout)
    if queue:
        reason = "stopped" if received else "time limit reached"
        print(f"{reason}: {queue.done} of {len(tasks)} runs are done; repeat the command to continue", flush=True)
    if received:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])
    return queue.failures


def _start_ready_tasks(
    free_slots: list[Slot],
    running: list[RunningTask],
    queue: JobQueue,
    server: ForkServerContext,
    target: Callable[..., None],
) -> int:
    """Start tasks in the free slots. Returns how many waiting runs are trained by another command."""
    busy = 0
    for task in list(queue.waiting.values()) if free_slots else ():
        if not free_slots:
            break
        if task.done:  # by another command
            queue.finish(task)
        elif task.run.busy:
            busy += 1
        elif queue.is_ready(task):
            queue.start(task)
            running.append(_fork(server, task, free_slots.pop(0), target))
    return busy


def _fork(server: ForkServerContext, task: Task, slot: Slot, target: Callable[..., None]) -> RunningTask:
    run, log = task.run, log_path(task.run)
    log_start = log.stat().st_size if log.exists() else 0
    environment = {} if ":" in run.cfg.machine.device else slot.environment  # cuda:1 counts all GPUs
    arguments = (serialize(run), task.missing_artifact, log, slot.threads, environment, Path.cwd())
    process = server.Process(target=target, args=arguments)
    process.start()
    return RunningTask(task, slot, process, log_start)


def _collect(job: RunningTask, queue: JobQueue) -> None:
    """Move a task whose process has ended to done, failed or, if another process trains the run, back to waiting."""
    task, code = job.task, job.process.exitcode
    if code == Busy.status:
        queue.requeue(task)
    elif code == 0 and task.run.result is not None:
        queue.finish(task)
    else:
        status = code or "ended without a result"
        if code < 0:
            status = f"killed by {signal.Signals(-code).name}"
            status += " (out of memory?)" if code == -signal.SIGKILL else ""
        queue.finish(task, Failure(task.run, status, last_lines(log_path(task.run), job.log_start)))


def _fork_server() -> ForkServerContext:
    """Start the process that the runs are forked from.

    It and the runs start with STOP_SIGNALS blocked. A run unblocks them when it can handle them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lls.launch.worker"])
    resource_tracker.ensure_running()  # first, because starting it unblocks SIGINT and SIGTERM
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
    return context


@contextmanager
def collect_stop_signals() -> Iterator[list[int]]:
    """Yield a list to which STOP_SIGNALS are appended as they arrive; they interrupt nothing meanwhile."""
    received: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        # A signal that is ignored stays ignored: nohup relies on it.
        numbers = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, lambda number, _: received.append(number)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stop(running: list[RunningTask], received: list[int], timeout: float) -> None:
    """Send SIGINT to all processes. Kill those that still run after `timeout` seconds, or at the next stop signal."""
    for job in running:
        with suppress(ProcessLookupError):
            os.kill(job.process.pid, signal.SIGINT)
    deadline, received_before = time.monotonic() + timeout, len(received)
    while alive := [job.process for job in running if job.process.is_alive()]:
        if time.monotonic() > deadline or len(received) > received_before:
            break
        _wait(alive)
    for process in alive:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _wait(processes: Sequence[BaseProcess]) -> None:
    """Wait until one of the processes ends, at most POLL_SECONDS."""
    if processes:
        connection.wait([process.sentinel for process in processes], POLL_SECONDS)
    else:
        time.sleep(POLL_SECONDS)
