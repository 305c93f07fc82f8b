"""One run in a process of its own: what the runner's processes do.

They are forked from one that has imported this module, and with it all that a run imports, so that a short run costs no
start-up and code that is edited meanwhile changes nothing.
"""

import faulthandler
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch

import lls.methods
from lls.errors import UserError
from lls.runs.run import deserialize, teacher_run
from lls.training.execute import execute, execute_teacher

LAZY_IMPORTS = """torchvision.models wandb matplotlib.figure matplotlib.backends.backend_agg
    scipy.optimize scipy.stats torchmetrics.functional.classification"""  # what a run imports when it comes to need it
METHODS = [module.name for module in pkgutil.iter_modules(lls.methods.__path__, "lls.methods.")]
for name in METHODS:
    import_module(name)
for name in LAZY_IMPORTS.split():
    with suppress(ImportError):  # who needs it says so
        import_module(name)


def run_task(
    serialized: list[str], missing_artifact: str | None, log: Path, threads: int, environment: dict, folder: Path
) -> None:
    """Train a frozen run, in `folder`, on so many threads, its output at the end of `log`; exit as train.py does.

    missing_artifact: a file that is needed of a run that has its result and not that."""
    os.setsid()  # a terminal's Ctrl-C and hang-up are for the runner, who passes them on
    threading.Thread(target=_die_with_the_runner, daemon=True).start()
    os.chdir(folder)
    os.environ.update(environment)
    redirect_output(log)
    torch.set_num_threads(threads)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # from here on Ctrl-C finds someone to take it
        train_task(serialized, missing_artifact)
    except KeyboardInterrupt:
        sys.exit(130)


def train_task(serialized: list[str], missing_artifact: str | None) -> None:
    """Train a frozen run, whose teacher is finished, and say why if that can't be done."""
    try:
        run = deserialize(serialized)
        print(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')}  {run.id}, process {os.getpid()}", flush=True)
        teacher = teacher_run(run)
        if teacher is not None and teacher.result is None:
            raise UserError(f"its teacher {teacher.id} is not done")
        execute_teacher(run, missing_artifact) if missing_artifact == "q.safetensors" else execute(
            run, missing_artifact
        )  # not every method learns one
    except UserError as error:
        print(f"error: {error}", flush=True)
        sys.exit(error.status)


def redirect_output(log: Path) -> None:
    """Let everything that this process prints, in whatever language, go to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()


def _die_with_the_runner() -> None:
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)  # with the processes that load its images
