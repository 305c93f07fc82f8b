"""Checkpoints written while training goes on."""

from threading import Thread

import torch
from torch import Tensor

from lls.runs import Run


class Saver:
    """Saves a run's states; a context manager, at whose end the last one is written.

    On a GPU, which computes meanwhile, they are written by a thread: a file of 90 MB after every epoch of a ResNet-18
    would cost a tenth of the time. A CPU has no time to spare, and writes at once."""

    def __init__(self, run: Run, device: torch.device):
        self.run, self.meanwhile = run, device.type == "cuda"
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
            return self.run.save(state)
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
            self.run.save(state)
        except Exception as error:  # to be raised where somebody hears it
            self.error = error


def _on_cpu(state: object) -> object:
    """A copy that the next step does not change."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    return [_on_cpu(value) for value in state] if isinstance(state, list) else state
