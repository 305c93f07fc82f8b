"""The runs of a claim: which ones it needs, and what the finished ones have measured."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lls.paper.rules import Estimate
from lls.paper.tables import cost, load
from lls.paper.tables.declaration import Table, heading
from lls.runs.planned import run_of
from lls.runs.run import RUNS, Run
from lls.runs.schema import Failed, Result, is_failed

Overrides = dict[str, str | float | list[int]]  # of runs that differ in their seed; `seeds` lists these
SEEDS = (0, 1, 2)  # unless the overrides list others
Measure = Callable[[Result], float | None]  # None: not recorded


class Evidence(NamedTuple):
    """The estimates of a claim, and a summary of what was measured ('' if nothing)."""

    estimates: list[Estimate]
    measured: str


class Column(NamedTuple):
    """A column of a table."""

    name: str
    values: dict[str, dict[int, float]]  # by row and seed


def read_end(run: Run) -> Result | Failed | None:
    """Return a run's failed.json if it has diverged, else its result.json; None if it has neither."""
    return run.failed or run.result


class Results:
    """The runs under `output`, as the tests of claims read them.

    needed: the runs that a test has asked for, finished or not, by their id.
    read: returns what a run has ended with; simulations have their own.
    tables: replace the declared tables of these names."""

    def __init__(
        self,
        output: Path,
        read: Callable[[Run], Result | Failed | None] = read_end,
        tables: Mapping[str, Table] | None = None,
    ):
        self.output = output
        self.read = read
        self.tables = tables or {}
        self.needed: dict[str, Run] = {}
        self._runs: dict[str, Run] = {}  # by id

    def finished(self, overrides: Overrides, file: str | None = None) -> list[Run]:
        """Return the finished runs of these overrides that have `file`, in the order of their seeds."""
        texts = [f"{key}={value}" for key, value in overrides.items() if key != "seeds"]
        runs = [self._in_output(run_of([*texts, f"seed={seed}"])) for seed in overrides.get("seeds", SEEDS)]
        self.needed |= {run.id: run for run in runs}
        return [run for run in runs if not run.failed and run.has_final(file)]

    def columns(
        self,
        tables: list[str],
        measure: Measure,
        *,
        rows: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        diverged_at_chance: bool = False,
    ) -> list[Column]:
        """Return the columns of declared tables with the measures of their finished runs.

        A cell with a diverged run is empty, because the mean of the others would be too high. With
        `diverged_at_chance`, which is for top-1, the diverged run counts with the accuracy of guessing, 100/K %.
        rows: those that the claim needs; None: all. names: of the columns; None: all."""
        columns = []
        for table in map(self._table, tables):
            for column in table.columns:
                if names is not None and column.name not in names:
                    continue
                values = {}
                for row in table.rows:
                    planned = table.cells[row.name, column.name].runs
                    runs = {seed: self._in_output(run) for seed, run in zip(column.seeds, planned, strict=False)}
                    values[row.name] = self._cell(runs, measure, diverged_at_chance)
                    if rows is None or row.name in rows:
                        self.needed |= {run.id: run for run in runs.values()}
                columns.append(Column(heading(table, column.name), values))
        return columns

    def with_separate_spread(self, tables: list[str]) -> set[str]:
        """Return the rows of declared tables whose spread is not pooled with that of others."""
        return {row.name for table in map(self._table, tables) for row in table.rows if row.separate_spread}

    def _table(self, name: str) -> Table:
        return self.tables.get(name) or load_table(name)

    def _cell(self, runs: dict[int, Run], measure: Measure, diverged_at_chance: bool) -> dict[int, float]:
        ends = {seed: end for seed, run in runs.items() if (end := self.read(run)) is not None}
        diverged = [seed for seed, end in ends.items() if is_failed(end)]
        if diverged and not diverged_at_chance:
            return {}
        values = {seed: measure(end) for seed, end in ends.items() if seed not in diverged}
        values |= {seed: 100 / cost.classes_of(runs[seed]) for seed in diverged}
        return {seed: value for seed, value in values.items() if value is not None}

    def _in_output(self, run: Run) -> Run:
        if run.id not in self._runs:
            self._runs[run.id] = in_output(self.output, run)
        return self._runs[run.id]


def in_output(output: Path, run: Run) -> Run:
    """Return the same run in another output folder."""
    moved = copy(run)
    moved.folder = output / RUNS / run.id
    return moved


@cache
def load_table(name: str) -> Table:
    """Load a declared table once."""
    return load(name)
