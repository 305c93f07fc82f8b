"""What tests of whole runs share: make a run, read its rows, interrupt it."""

import json
import sys
from contextlib import redirect_stdout

import pytest

from lls.config.compose import compose
from lls.runs.run import Run
from lls.training.execute import execute

TIMES = {"seconds", "eval_seconds", "images_per_second", "finished"}


def make_run(*overrides):
    return Run(compose(overrides))


def read_rows(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def without_times(row):
    return {key: value for key, value in row.items() if key not in TIMES}


class _Output:
    """A standard output that raises `error` instead of writing a text that starts with `start`."""

    def __init__(self, start, error):
        self.start, self.error, self.stdout = start, error, sys.stdout

    def write(self, text):
        if text.startswith(self.start):
            raise self.error
        return self.stdout.write(text)

    def flush(self):
        self.stdout.flush()


def stop_after(run, epoch, error):
    """Train a run until checkpoint and row of `epoch` are written. Where its line would be printed, raise `error`."""
    with redirect_stdout(_Output(f"epoch {epoch}/", error)), pytest.raises(type(error)):
        execute(run)
