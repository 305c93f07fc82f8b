"""The runs of a claim: which ones it needs, and what the finished ones have measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from lls.config.assemble import override_value
from lls.paper.rules import Comparison
from lls.paper.tables import cost, load
from lls.paper.tables.declaration import Table, heading
from lls.runs.planned import run_of
from lls.runs.run import RUNS, Run
from lls.runs.schema import Failed, Result, is_failed

Overrides = dict[str, str | float | list[int]]  # of runs that differ in their seed; `seeds` lists these
SEEDS = (0, 1, 2)  # unless the overrides list others
Measure = Callable[[Result], float | None]  # None: not recorded
T = TypeVar("T")


class Evidence(NamedTuple):
    """The comparisons of a claim, and a summary of what was measured ('' if nothing)."""

    comparisons: list[Comparison]
    measured: str


class Cell(NamedTuple):
    """A measure of runs that differ in their seed."""

    values: dict[int, float]  # by seed
    diverged: int  # number of runs. If the measure is top-1, they count as chance; else there are no values

    @property
    def spread_is_known(self) -> bool:
        """Whether the spread between seeds can be estimated. One diverged run without others says nothing of it."""
        return not self.diverged or len(self.values) > 1


class Column(NamedTuple):
    """A column of a table."""

    name: str
    cells: dict[str, Cell]  # by row

    @property
    def values(self) -> dict[str, dict[int, float]]:
        """The values by row and seed."""
        return {row: cell.values for row, cell in self.cells.items()}


def read_end(run: Run) -> Result | Failed | None:
    """Return a run's failed.json if it has diverged, else its result.json; None if it has neither."""
    return run.failed or run.result


def top1(result: Result) -> float | None:
    """Return the top-1 accuracy of a result, in per cent."""
    return result.get("top1")


class Results:
    """The runs under `output`, as the tests of claims read them.

    needed: the runs that a test has asked for, finished or not, by their id.
    lacking: the ids of those without something that the test needs. A diverged run has a top-1, and nothing else.
    read: returns the result of a run; simulations pass a function that returns simulated results.
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
        self.lacking: set[str] = set()
        self._runs: dict[str, Run] = {}  # by id

    def read_each(self, overrides: Overrides, file: str, read: Callable[[Run], T | None]) -> dict[int, T]:
        """Return by seed what `read` returns for the finished runs of these overrides that have `file`.

        Runs for which it returns None are left out."""
        values = {}
        for seed, run in self._of_seeds(overrides).items():
            self.needed[run.id] = run
            value = read(run) if run.has_final(file) else None
            if value is None:
                self.lacking.add(run.id)
            else:
                values[seed] = value
        return values

    def accuracies(self, overrides: Overrides) -> Cell:
        """Return the top-1 of the runs of these overrides."""
        return self._cell(self._of_seeds(overrides), top1, needed=True)

    def columns(
        self,
        tables: list[str],
        measure: Measure,
        *,
        needed_rows: Sequence[str] | None = None,
        column_names: Sequence[str] | None = None,
    ) -> list[Column]:
        """Return the columns of declared tables with a measure of their runs.

        needed_rows: those that the claim needs; None: all. column_names: of the columns; None: all."""
        columns = []
        for table in map(self._table, tables):
            for column in table.columns:
                if column_names is not None and column.name not in column_names:
                    continue
                cells = {}
                for row in table.rows:
                    planned = table.cells[row.name, column.name].runs
                    runs = {seed: self._in_output(run) for seed, run in zip(column.seeds, planned, strict=False)}
                    cells[row.name] = self._cell(runs, measure, needed=needed_rows is None or row.name in needed_rows)
                columns.append(Column(heading(table, column.name), cells))
        return columns

    def with_separate_spread(self, tables: list[str]) -> set[str]:
        """Return the rows of declared tables whose spread is not pooled with that of others."""
        return {row.name for table in map(self._table, tables) for row in table.rows if row.separate_spread}

    def _cell(self, runs: dict[int, Run], measure: Measure, *, needed: bool) -> Cell:
        values, diverged = {}, 0
        for seed, run in runs.items():
            end, value = self.read(run), None
            if end is not None and is_failed(end):
                diverged += 1
                value = 100 / cost.classes_of(run) if measure is top1 else None
            elif end is not None:
                value = measure(end)
            if value is not None:
                values[seed] = value
            if needed:
                self.needed[run.id] = run
                if value is None:
                    self.lacking.add(run.id)
        # Without the diverged runs, the mean of another measure would be that of the runs that went well.
        return Cell({} if diverged and measure is not top1 else values, diverged)

    def _of_seeds(self, overrides: Overrides) -> dict[int, Run]:
        texts = [f"{key}={override_value(value)}" for key, value in overrides.items() if key != "seeds"]
        seeds: Iterable[int] = overrides.get("seeds", SEEDS)
        return {seed: self._in_output(run_of([*texts, f"seed={seed}"])) for seed in seeds}

    def _table(self, name: str) -> Table:
        return self.tables.get(name) or load_table(name)

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
