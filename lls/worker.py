"""One run in a process of its own: what the runner's processes do.

They are forked from one that has imported this module, and with it all that a run imports: a short run costs no start-up,
and code that is edited meanwhile changes nothing.
"""

import faulthandler
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import matplotlib.backends.backend_agg
import matplotlib.figure
import scipy.optimize
import scipy.stats
import torch
import torchmetrics.functional.classification
import torchvision.models  # noqa: F401 - as those above: a run imports it when it comes to need it

import lls.methods
import lls.train
from lls.config import UserError
from lls.runs import Busy, execute, execute_teacher, thawed

for module in pkgutil.iter_modules(lls.methods.__path__, "lls.methods."):
    import_module(module.name)

BUSY = 75  # EX_TEMPFAIL: another process trains the run


def work(frozen: list[str], lesson: str | None, log: Path, threads: int, environment: dict, folder: Path) -> None:
    """Train the run of `frozen` in `folder`, on so many threads, its output at the end of `log`; exit as train.py does.

    lesson: the file that students need of a run that has its result. A teacher of the run is finished by now."""
    try:
        _settle(log, environment, folder)
        torch.set_num_threads(threads)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # from here on a Ctrl-C finds someone to take it
        run = thawed(frozen)
        print(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')}  {run.id}, process {os.getpid()}", flush=True)
        execute(run) if lesson is None else execute_teacher(run, lesson)
    except Busy:
        sys.exit(BUSY)
    except UserError as error:
        print(f"error: {error}", flush=True)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)


def _settle(log: Path, environment: dict, folder: Path) -> None:
    os.setsid()  # a terminal's Ctrl-C and hang-up are for the runner, who passes them on
    os.chdir(folder)
    os.environ.update(environment)
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    threading.Thread(target=_die_with_the_runner, daemon=True).start()


def _die_with_the_runner() -> None:
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)  # with the processes that load its images
