"""Runs from overrides, without composing the same configuration twice."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from lls.config.compose import compose
from lls.runs.run import Run, teacher_run


def run_of(overrides: Sequence[str]) -> Run:
    """Return the run that `python train.py *overrides` trains; the same object for the same overrides.

    Raises UserError for overrides that the command would refuse."""
    return _run(tuple(overrides))


@cache
def _run(overrides: tuple[str, ...]) -> Run:
    return Run(compose(overrides))


def distinct_runs(runs: Iterable[Run]) -> list[Run]:
    """Return each run once, in the order of its first appearance, after its teachers."""
    distinct: dict[Path, Run] = {}

    def add(run: Run) -> None:
        if run.folder not in distinct:
            if teacher := teacher_run(run):
                add(teacher)
            distinct.setdefault(run.folder, run)

    for run in runs:
        add(run)
    return list(distinct.values())
