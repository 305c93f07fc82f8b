"""The process that trains one run.

It is forked from a process that has imported this module, and with it all modules that a run imports. So a run starts
at once, and edits of the code do not reach runs that start later.
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

# Packages that a run imports only when it needs them.
LAZY_IMPORTS = "torchvision.models wandb matplotlib.figure matplotlib.backends.backend_agg scipy.optimize scipy.stats"
METHODS = [module.name for module in pkgutil.iter_modules(lls.methods.__path__, "lls.methods.")]
for name in METHODS:
    import_module(name)
for name in LAZY_IMPORTS.split():
    with suppress(ImportError):  # the run that needs a missing package reports it
        import_module(name)


def run_task(
    serialized: list[str], missing_artifact: str | None, log: Path, threads: int, environment: dict, folder: Path
) -> None:
    """Train a serialized run in this process, and exit with the status that train.py has.

    - missing_artifact: a needed file that the finished run lacks, or None.
    - log: the file that all output is appended to.
    - threads: the number of CPU threads.
    - environment: environment variables to set.
    - folder: the working directory."""
    os.setsid()  # the launcher passes Ctrl-C and hang-ups of the terminal on
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    os.chdir(folder)
    os.environ.update(environment)
    redirect_output(log)
    torch.set_num_threads(threads)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # from here on Ctrl-C is handled
        train_task(serialized, missing_artifact)
    except KeyboardInterrupt:
        sys.exit(130)


def train_task(serialized: list[str], missing_artifact: str | None) -> None:
    """Train a serialized run whose teacher is done. A UserError is printed, and its status is the exit status."""
    try:
        run = deserialize(serialized)
        print(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')}  {run.id}, process {os.getpid()}", flush=True)
        teacher = teacher_run(run)
        if teacher is not None and teacher.result is None:
            raise UserError(f"its teacher {teacher.id} is not done; train the teacher first")
        if missing_artifact == "q.safetensors":  # execute_teacher checks that the method learns a Q
            execute_teacher(run, missing_artifact)
        else:
            execute(run, missing_artifact)
    except UserError as error:
        print(f"error: {error}", flush=True)
        sys.exit(error.status)


def redirect_output(log: Path) -> None:
    """Append all output of this process to `log`, including that of C libraries."""
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()


def _end_with_launcher() -> None:
    """Wait until the launcher ends, then kill this process and the ones that load its images."""
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)
