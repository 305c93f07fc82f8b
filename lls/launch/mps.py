"""NVIDIA's Multi-Process Service: runs that share a GPU compute side by side on it, where without they take turns.

A control daemon of our own, with its files in a temporary folder, for as long as the runner lives. A guard stops it: a
shell that reads from a pipe of the runner's, which ends with the runner, however that comes to its end.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lls.errors import one_line
from lls.launch.slots import Slot

CONTROL = "nvidia-cuda-mps-control"
GUARD = f'cat >/dev/null; echo quit -t 10 | {CONTROL}; rm -rf "$0"'  # without -t it waits for clients that hang
TRIAL = [sys.executable, "-c", "import torch; torch.zeros(1, device='cuda').add_(1).item()"]
MPS_TIMEOUT_SECONDS = 60  # seconds for each of them


@contextmanager
def shared(slots: Sequence[Slot]) -> Iterator[list[Slot]]:
    """The slots, those of a GPU with the variables by which a run finds the daemon. As they are where no GPU has two of
    them, MPS is not installed, or a daemon runs already, which runs find by themselves; and where MPS does not work,
    which costs a line of text."""
    gpus = [gpu for slot in slots if (gpu := slot.environment.get("CUDA_VISIBLE_DEVICES"))]
    if len(set(gpus)) == len(gpus) or shutil.which(CONTROL) is None or _answers():
        yield list(slots)
        return
    folder = Path(tempfile.mkdtemp(prefix="lls-mps-"))  # short: a socket's path has 107 characters at most
    found = {f"CUDA_MPS_{name}_DIRECTORY": str(folder / name.lower()) for name in ("PIPE", "LOG")}
    for path in found.values():
        Path(path).mkdir()
    with _guarded(folder, os.environ | found):
        problem = _start(os.environ | found, gpus[0], folder)
        if problem is None:
            yield [slot._replace(environment=slot.environment | found) if slot.environment else slot for slot in slots]
    if problem is not None:
        print(f"runs take turns on a GPU, as MPS does not work here ({problem})", flush=True)
        yield list(slots)


@contextmanager
def _guarded(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    apart = {"start_new_session": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    guard = subprocess.Popen(["sh", "-c", GUARD, folder], stdin=subprocess.PIPE, env=environment, **apart)
    try:
        yield
    finally:
        guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(MPS_TIMEOUT_SECONDS)


def _answers() -> bool:
    """Whether a daemon runs already, where the environment or the default says."""
    try:
        asked = subprocess.run(
            [CONTROL], input="get_server_list\n", text=True, capture_output=True, timeout=MPS_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


def _start(environment: dict[str, str], gpu: str, folder: Path) -> str | None:
    """Start the daemon and have one process compute through it. Returns what is wrong, if something is."""
    every = {key: value for key, value in environment.items() if key != "CUDA_VISIBLE_DEVICES"}  # it would count anew
    for command, variables in (([CONTROL, "-d"], every), (TRIAL, environment | {"CUDA_VISIBLE_DEVICES": gpu})):
        with open(folder / "said", "w+") as said:  # no pipe, which the daemon would keep open
            streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
            try:
                status = subprocess.run(
                    command, env=variables, timeout=MPS_TIMEOUT_SECONDS, start_new_session=True, **streams
                )
            except subprocess.TimeoutExpired:
                return f"{Path(command[0]).name} does not answer within {MPS_TIMEOUT_SECONDS} s"
            except OSError as error:
                return one_line(error)
            if status.returncode:
                said.seek(0)
                lines = [line.strip() for line in said if line.strip()]
                return lines[-1] if lines else f"exit status {status.returncode}"
    return None
