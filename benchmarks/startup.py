"""Start-up: the time until train.py prints its help, and until the first training step."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import Spread

ROOT = Path(__file__).resolve().parents[1]
# Runs train.py, and ends at the first step.
FIRST_STEP = """
import os, runpy
from lls.training.progress import Progress
def step(self):
    os._exit(0)
Progress.step = step
runpy.run_path("train.py", run_name="__main__")
"""


def measure(rounds: int) -> dict[str, Spread]:
    """Return seconds of three commands.

    - help: CPU time of `train.py --help`.
    - first step: wall time of `train.py` until the first training step on digits.
    - import torch: wall time of importing torch alone."""
    seconds = {"help": [], "first step": [], "import torch": []}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # W&B's process may still write to it
        output = f"machine.output={folder}"
        for number in range(rounds + 1):
            for name, command in {
                "help": ["train.py", "--help"],
                "first step": ["-c", FIRST_STEP, output, f"seed={number}"],
                "import torch": ["-c", "import torch"],
            }.items():
                wall, cpu = run_python(command)
                if number:  # the first round reads from the disk
                    seconds[name].append(cpu if name == "help" else wall)
    return {name: Spread.of(values) for name, values in seconds.items()}


def run_python(arguments: list[str]) -> tuple[float, float]:
    """Run Python with these arguments. Returns wall and CPU seconds. Raises RuntimeError if it fails."""
    before, start = os.times(), time.perf_counter()
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryFile("w+") as output:  # not a pipe, which W&B's process would keep open
        process = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output, env=environment)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{arguments}: {output.read()[-300:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu
