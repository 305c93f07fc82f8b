"""Work in a process of its own, done when it is asked for: how one way uses memory and threads is not the others'."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

SHUTDOWN_TIMEOUT_SECONDS = 10  # seconds to end in, for a process whose loaders have processes too


class SubprocessBenchmark:
    """`build(*arguments)()` elsewhere: calling it has one turn done and returns what that returned, which must pickle.
    `build` is called once, before the first turn. Raises RuntimeError for what goes wrong there."""

    def __init__(self, build: Callable[..., Callable[[], object]], *arguments: object):
        context = multiprocessing.get_context("spawn")  # from nothing, as a user's would be
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, build, arguments))
        self.process.start()
        theirs.close()

    def __call__(self) -> object:
        try:
            self.pipe.send(None)
            result, error = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(SHUTDOWN_TIMEOUT_SECONDS)  # before which its status is unknown
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
