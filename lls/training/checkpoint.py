"""last.pt: what it holds, enough to go on after an epoch as if nothing had happened, and how it is written and read."""

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
    """Tensors and plain values only. optimizer: None when the run is finished. commits: of the code that trained it,
    one for each time that it was started under another. compute: how its epochs were computed (lls/runs/schema.py)."""
    random, device = {"cpu": torch.get_rng_state()}, _device(net)
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
    """Write last.pt: tensors and plain values only, so that torch.load(weights_only=True) reads it."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a path, PyTorch would not say that the disk is full
            torch.save(state, file)

    write_atomic(run.folder / "last.pt", write)


def load(run: Run) -> dict:
    """What save wrote last, on the CPU. OSError if it can't be read; ValueError if it is no whole checkpoint."""
    try:
        return torch.load(run.folder / "last.pt", map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a broken file shows as any of a dozen kinds
        raise ValueError(str(error) or type(error).__name__) from None


def restore(run: Run) -> dict | None:
    """What save wrote last; None if there is nothing, or nothing whole, which is set aside."""
    try:
        return load(run)
    except FileNotFoundError:
        return None
    except ValueError as error:
        quarantine(run.folder / "last.pt", error)
        return None


def resume(run: Run, net: nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> tuple[list, list, list]:
    """Put everything back as it was after the last finished epoch. Returns the rows, the commits and how the epochs
    were computed until then."""
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
    return state["rows"], state["commits"], state.get("compute", [])  # older versions have none


def _device(net: nn.Module) -> torch.device:
    """Where dropout draws."""
    return next(net.parameters()).device


class Saver:
    """Writes states by `write`, as save does; a context manager, at whose end the last one is written.

    On a GPU, which computes meanwhile, they are written by a thread: a file of 90 MB after every epoch of a ResNet-18
    would cost a tenth of the time. A CPU has no time to spare, and writes at once."""

    def __init__(self, write: Callable[[dict], None], device: torch.device):
        self.write, self.meanwhile = write, device.type == "cuda"
        self.thread, self.error = None, None

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:  # else what ended the training is to be told
                raise

    def save(self, state: dict) -> None:
        """Save a state as it is now. Raises what went wrong with the last one."""
        self.wait()
        if not self.meanwhile:
            return self.write(state)
        self.thread = Thread(target=self._write, args=(_on_cpu(state),))
        self.thread.start()

    def wait(self) -> None:
        """Until the last state is written."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _write(self, state: dict) -> None:
        try:
            self.write(state)
        except Exception as error:  # to be raised where somebody hears it
            self.error = error


def _on_cpu(state: object) -> object:
    """A copy that the next step does not change."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    return [_on_cpu(value) for value in state] if isinstance(state, list) else state
