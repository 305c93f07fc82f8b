"""Runs from overrides, hundreds at a time."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from lls.config.compose import compose
from lls.runs.run import Run, teacher_run


def run_of(overrides: Sequence[str]) -> Run:
    """The run that `python train.py *overrides` trains; the same object for the same overrides. Raises UserError where
    that would refuse."""
    return _run(tuple(overrides))


@cache
def _run(overrides: tuple[str, ...]) -> Run:
    return Run(compose(overrides))


def distinct_runs(wanted: Iterable[Run]) -> list[Run]:
    """Each run once, in the order of its first appearance, its teachers before it."""
    found: dict[Path, Run] = {}

    def add(run: Run) -> None:
        if run.folder not in found:
            if teacher := teacher_run(run):
                add(teacher)
            found.setdefault(run.folder, run)

    for run in wanted:
        add(run)
    return list(found.values())
