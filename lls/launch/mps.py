"""NVIDIA's Multi-Process Service (MPS): runs on one GPU compute side by side. Without MPS they take turns.

The launcher starts an MPS control daemon whose files are in a temporary folder. A guard process stops the daemon when
the launcher ends, even if the launcher is killed: the guard reads from a pipe that closes with the launcher.
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
GUARD_SCRIPT = f'cat >/dev/null; echo quit -t 10 | {CONTROL}; rm -rf "$0"'  # without -t, quit waits for hanging clients
TRIAL_COMMAND = (sys.executable, "-c", "import torch; torch.zeros(1, device='cuda').add_(1).item()")
MPS_TIMEOUT_SECONDS = 60  # for each command


@contextmanager
def share_gpus(
    slots: Sequence[Slot], *, trial: Sequence[str] = TRIAL_COMMAND, timeout: float = MPS_TIMEOUT_SECONDS
) -> Iterator[list[Slot]]:
    """Start an MPS daemon if slots share a GPU. Yields the slots with the environment variables of the daemon.

    trial: a command that computes on the GPU and so tests the daemon. timeout: seconds for each command.

    The slots are unchanged where

    - no two slots share a GPU,
    - MPS is not installed,
    - a daemon already runs, which the runs use by themselves, or
    - MPS does not work, which is printed in one line."""
    gpus = [gpu for slot in slots if (gpu := slot.environment.get("CUDA_VISIBLE_DEVICES"))]
    if len(set(gpus)) == len(gpus) or shutil.which(CONTROL) is None or _daemon_runs(timeout):
        yield list(slots)
        return
    folder = Path(tempfile.mkdtemp(prefix="lls-mps-"))  # a short path: a socket's path has at most 107 characters
    variables = {f"CUDA_MPS_{name}_DIRECTORY": str(folder / name.lower()) for name in ("PIPE", "LOG")}
    for path in variables.values():
        Path(path).mkdir()
    environment = os.environ | variables
    with _guard(folder, environment, timeout):
        problem = _start(environment, gpus[0], folder, trial, timeout)
        if problem is None:
            yield [
                slot._replace(environment=slot.environment | variables) if slot.environment else slot for slot in slots
            ]
    if problem is not None:
        print(f"MPS does not work ({problem}); runs take turns on each GPU", flush=True)
        yield list(slots)


@contextmanager
def _guard(folder: Path, environment: dict[str, str], timeout: float) -> Iterator[None]:
    """Run the guard process. It quits the daemon and removes `folder` when this context ends or this process does."""
    detached = {"start_new_session": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    guard = subprocess.Popen(["sh", "-c", GUARD_SCRIPT, folder], stdin=subprocess.PIPE, env=environment, **detached)
    try:
        yield
    finally:
        guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(timeout)


def _daemon_runs(timeout: float) -> bool:
    """Whether a daemon answers in the current environment."""
    try:
        answer = subprocess.run([CONTROL], input="get_server_list\n", text=True, capture_output=True, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0


def _start(environment: dict[str, str], gpu: str, folder: Path, trial: Sequence[str], timeout: float) -> str | None:
    """Start the daemon and let the trial command compute through it. Returns None, or what went wrong."""
    # The daemon serves all GPUs: with CUDA_VISIBLE_DEVICES it would number them anew.
    all_gpus = {key: value for key, value in environment.items() if key != "CUDA_VISIBLE_DEVICES"}
    for command, variables in (([CONTROL, "-d"], all_gpus), (trial, environment | {"CUDA_VISIBLE_DEVICES": gpu})):
        with open(folder / "output", "w+") as output:  # not a pipe, which the daemon would keep open
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            try:
                status = subprocess.run(command, env=variables, timeout=timeout, start_new_session=True, **streams)
            except subprocess.TimeoutExpired:
                return f"{Path(command[0]).name} does not answer within {timeout} s"
            except OSError as error:
                return one_line(error)
            if status.returncode:
                output.seek(0)
                lines = [line.strip() for line in output if line.strip()]
                return lines[-1] if lines else f"exit status {status.returncode}"
    return None
