"""Interrupted runs, and rows without what varies from one training to the next."""

import sys
from contextlib import redirect_stdout

import pytest

from lls.training.execute import execute

TIMES = {"seconds", "eval_seconds", "images_per_second", "finished"}


def without_times(row):
    return {key: value for key, value in row.items() if key not in TIMES}


class _Output:
    """Standard output that raises `error` once, where the line of the run's epoch `epoch` would be printed."""

    def __init__(self, run, epoch, error):
        self.id, self.line, self.error, self.stdout = run.id, f"epoch {epoch}/", error, sys.stdout
        self.run_started = self.raised = False  # the run's first line has its id; a teacher's lines come before it

    def write(self, text):
        self.run_started |= text.startswith(f"{self.id}: ")
        if self.run_started and text.startswith(self.line) and not self.raised:
            self.raised = True
            raise self.error
        return self.stdout.write(text)

    def flush(self):
        self.stdout.flush()


def stop_after(run, epoch, error=KeyboardInterrupt, student=None):
    """Train a run, or a student of it, and raise `error` when the checkpoint and row of `epoch` are written."""
    with redirect_stdout(_Output(run, epoch, error)), pytest.raises(error if isinstance(error, type) else type(error)):
        execute(student or run)
    assert run.epochs_done == epoch
