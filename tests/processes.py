"""The processes that train runs, as tests see them: counted, watched, and stopped at a checkpoint."""

import itertools
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from lls.launch.queue import log_path


def comparable_result(run):
    """Return the keys of a result that do not depend on when and how fast the run was trained."""
    varying = ("seconds", "images_per_second", "finished", "commit")
    return {key: value for key, value in run.result.items() if key not in varying}


def count_starts(run):
    """Return how many processes have started to train a run."""
    log = log_path(run)
    return log.read_text().count(f"  {run.id}, process ") if log.exists() else 0


def live_processes(run):
    """Return the processes that train a run and have not ended."""
    pids = re.findall(rf"  {run.id}, process (\d+)", log_path(run).read_text())
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    return [stat for stat in stats if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"]


def wait_until(condition, timeout=60):
    """Wait until `condition()` holds. AssertionError after `timeout` seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout
        time.sleep(0.01)


def call_when(condition, action):
    """Call `action()` from a thread as soon as `condition()` holds, at the latest after 60 seconds."""

    def wait():
        with suppress(AssertionError):
            wait_until(condition)
        action()

    threading.Thread(target=wait, daemon=True).start()


def before_checkpoint(action):
    """From now on, call `action(n)` just before this process moves its n-th checkpoint into place (n = 1, 2, ...).

    It is an audit hook of Python, which cannot be removed: for processes that train one run and end."""
    numbers = itertools.count(1)

    def hook(event, arguments):
        if event == "os.rename" and Path(arguments[1]).name == "last.pt":
            action(next(numbers))

    sys.addaudithook(hook)
