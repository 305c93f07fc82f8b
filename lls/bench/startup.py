"""How long the command takes to say something, and to train something."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lls.bench.rounds import Spread

ROOT = Path(__file__).resolve().parents[2]
FIRST_STEP = """
import runpy, sys, time
import lls.progress
def step(self):
    print("first step", flush=True)
    raise SystemExit
lls.progress.Progress.step = step
runpy.run_path("train.py", run_name="__main__")
"""


def measure(rounds: int) -> dict[str, Spread]:
    """Seconds: of CPU for `train.py --help`; from the command to the first training step of the digits default; and of
    importing torch alone."""
    taken = {"help": [], "first step": [], "import torch": []}
    with tempfile.TemporaryDirectory() as folder:
        places = [f"machine.output={folder}", "machine.wandb=disabled"]
        for number in range(rounds + 1):
            for name, command in {
                "help": ["train.py", "--help"],
                "first step": ["-c", FIRST_STEP, *places, f"seed={number}"],
                "import torch": ["-c", "import torch"],
            }.items():
                wall, cpu = _run(command)
                if number:  # the first reads from the disk
                    taken[name].append(cpu if name == "help" else wall)
    return {name: Spread.of(values) for name, values in taken.items()}


def _run(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a Python process."""
    before, started = os.times(), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr[-300:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu
