"""Ctrl-C at a given moment of a run."""

import io
from contextlib import redirect_stdout

import pytest

from lls.runs.run import Run
from lls.training.execute import execute


class _InterruptingOutput(io.StringIO):
    """Standard output that raises KeyboardInterrupt once, when `run` prints the line of its epoch `epoch`."""

    def __init__(self, run: Run, epoch: int):
        super().__init__()
        self.run, self.line, self.interrupted = run, f"epoch {epoch}/", False

    def write(self, text: str) -> int:
        length = super().write(text)
        of_run = self.getvalue().partition(f"{self.run.id}: ")[2]
        if self.line in of_run and not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        return length


def interrupt_after(epoch: int, run: Run) -> None:
    """Train a run and interrupt it when its epoch `epoch` is over."""
    with redirect_stdout(_InterruptingOutput(run, epoch)), pytest.raises(KeyboardInterrupt):
        execute(run)
    assert run.epochs_done == epoch
