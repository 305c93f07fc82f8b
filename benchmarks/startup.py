"""How long the command takes to say something, and to train something."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import Spread

ROOT = Path(__file__).resolve().parents[1]
FIRST_STEP = """
import os, runpy
from lls.training.progress import Progress
def step(self):
    os._exit(0)
Progress.step = step
runpy.run_path("train.py", run_name="__main__")
"""


def measure(rounds: int) -> dict[str, Spread]:
    """Seconds: of CPU for `train.py --help`; from the command to the first training step of the digits default; and of
    importing torch alone."""
    taken = {"help": [], "first step": [], "import torch": []}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # W&B's own process may still write there
        output = f"machine.output={folder}"
        for number in range(rounds + 1):
            for name, command in {
                "help": ["train.py", "--help"],
                "first step": ["-c", FIRST_STEP, output, f"seed={number}"],
                "import torch": ["-c", "import torch"],
            }.items():
                wall, cpu = _run(command)
                if number:  # the first reads from the disk
                    taken[name].append(cpu if name == "help" else wall)
    return {name: Spread.of(values) for name, values in taken.items()}


def _run(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a Python process."""
    before, started = os.times(), time.perf_counter()
    found = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
    with tempfile.TemporaryFile("w+") as said:  # no pipe, which would be waited for while W&B's process holds it
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=said, stderr=said, env=environment)
        if done.returncode:
            said.seek(0)
            raise RuntimeError(f"{arguments}: {said.read()[-300:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu
