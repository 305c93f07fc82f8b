"""Work in a separate process: its memory and threads do not affect the other competitors."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

SHUTDOWN_TIMEOUT_SECONDS = 10  # time that a process has to end, its loader's worker processes included


class SubprocessBenchmark:
    """Call `build(*arguments)` once in another process, and its result there for each call of this object.

    A call returns the result of the work, which must be picklable. The process builds before its first turn. Raises
    RuntimeError if the process raises or ends. A context manager, which ends the process."""

    def __init__(self, build: Callable[..., Callable[[], object]], *arguments: object):
        context = multiprocessing.get_context("spawn")  # a new interpreter, as in normal use
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_pipe, build, arguments))
        self.process.start()
        child_pipe.close()

    def __call__(self) -> object:
        try:
            self.pipe.send(None)
            result, error = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(SHUTDOWN_TIMEOUT_SECONDS)  # the exit status is unknown before
            raise RuntimeError(f"a timed process has ended with status {self.process.exitcode}") from None
        if error is not None:
            raise RuntimeError(error)
        return result

    def __enter__(self) -> "SubprocessBenchmark":
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self.process.join(SHUTDOWN_TIMEOUT_SECONDS)
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection, build: Callable[..., Callable[[], object]], arguments: tuple) -> None:
    work = None
    while True:
        try:
            pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            work = work or build(*arguments)
            pipe.send((work(), None))
        except Exception as error:
            pipe.send((None, f"{type(error).__name__}: {error}"))
