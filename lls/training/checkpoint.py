"""The checkpoint last.pt: its content, and how it is saved and loaded.

A run that is resumed from it after epoch e gets the weights that it would have had without the interruption."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor, nn

from lls.files import quarantine, write_atomic
from lls.methods.base import Method
from lls.runs.run import Run


def collect_state(
    net: nn.Module,
    method: Method,
    optimizer: torch.optim.Optimizer | None,
    rows: list[dict],
    classes: list[str],
    commits: list[str | None],
    compute: list[dict],
) -> dict:
    """Return the content of a checkpoint, which is tensors and plain values only.

    - optimizer: None when the run is finished
    - rows: the rows of metrics.jsonl
    - commits: the commits of the code that trained the run, oldest first, without repetitions
    - compute: how the epochs were computed (lls.runs.schema.Compute)
    """
    device = _device(net)
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    state = {
        "network": net.state_dict(),
        "method": method.state_dict(),
        "random": random,
        "rows": rows,
        "classes": classes,
        "commits": commits,
        "compute": compute,
    }
    return state | ({"optimizer": optimizer.state_dict()} if optimizer else {})


def save(run: Run, state: dict) -> None:
    """Write last.pt atomically. `torch.load(weights_only=True)` reads it."""

    def write(temporary: Path) -> None:
        with open(
            temporary, "wb"
        ) as file:  # If torch.save opens the file itself, its error hides that the disk is full.
            torch.save(state, file)

    write_atomic(run.folder / "last.pt", write)


def load(run: Run) -> dict:
    """Load last.pt to the CPU. Raises OSError if it can't be read, ValueError if it is not a complete checkpoint."""
    try:
        return torch.load(run.folder / "last.pt", map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch.load raises errors of many types for a broken file.
        raise ValueError(str(error) or type(error).__name__) from None


def restore(run: Run) -> dict | None:
    """Load last.pt. Returns None if there is no such file, or if it is broken; then it is renamed to last.pt.broken."""
    try:
        return load(run)
    except FileNotFoundError:
        return None
    except ValueError as error:
        quarantine(run.folder / "last.pt", error)
        return None


def resume(run: Run, net: nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> tuple[list, list, list]:
    """Load the checkpoint, if there is one, into network, method, optimizer and the random number generators.

    Returns its `rows`, `commits` and `compute` (see `collect_state`), which are empty without a checkpoint."""
    state = restore(run)
    if state is None:
        return [], [], []
    net.load_state_dict(state["network"])
    method.load_state_dict(state["method"])
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"] and _device(net).type == "cuda":
        torch.cuda.set_rng_state(state["random"]["cuda"], _device(net))
    return state["rows"], state["commits"], state.get("compute", [])  # Checkpoints of older versions lack `compute`.


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device


class Saver:
    """Save checkpoints with `write(state)`. A context manager; when it ends, the last state has been written.

    On a GPU a thread writes them while training goes on: writing the 90 MB of a ResNet-18 after each epoch would take a
    tenth of the time. On a CPU, where a thread would slow down training, they are written at once."""

    def __init__(self, write: Callable[[dict], None], device: torch.device):
        self.write, self.in_background = write, device.type == "cuda"
        self.thread, self.error = None, None

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:  # Otherwise the exception that ended training is the one to raise.
                raise

    def save(self, state: dict) -> None:
        """Save a state as it is now. Raises the error of the state before, if that could not be written."""
        self.wait()
        if not self.in_background:
            return self.write(state)
        self.thread = Thread(target=self._write_in_background, args=(_copy_to_cpu(state),))
        self.thread.start()

    def wait(self) -> None:
        """Wait until the last state is written. Raises its error, if it could not be written."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _write_in_background(self, state: dict) -> None:
        try:
            self.write(state)
        except Exception as error:  # `wait` raises it in the thread that trains.
            self.error = error


def _copy_to_cpu(state: object) -> object:
    """Copy a state, so that the next training step does not change it."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copy_to_cpu(value) for key, value in state.items()}
    return [_copy_to_cpu(value) for value in state] if isinstance(state, list) else state
