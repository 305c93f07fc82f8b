"""The numbers of a table's cells: from finished runs, from the networks themselves, or from paired timings."""

from collections.abc import Callable
from statistics import mean, stdev
from typing import NamedTuple

from lls.paper.statistics import ci_halfwidth
from lls.paper.tables.declaration import Cell, Table
from lls.paper.tables.metrics import METRICS
from lls.runs.run import Run
from lls.runs.schema import Failed, Result, is_failed

Finished = Callable[[Run], Result | Failed | None]  # what a run has ended with; None where it is not to be counted


class Value(NamedTuple):
    """One cell. values: in the table's unit, by seed, of the runs that are done; of minutes, by round. There are none
    where a run has diverged: the mean of the others would say too much."""

    values: dict[int, float]
    best: tuple[float, ...]  # those of the best epochs, where the metric has one
    planned: int
    commits: tuple[str, ...]
    diverged: int = 0  # runs
    unrecorded: int = 0  # runs that are done, by a version that did not record this number

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def table_values(table: Table, finished: Finished) -> dict[tuple[str, str], Value]:
    """Every cell's numbers, by the names of row and column."""
    return {key: _value(cell, table, finished) for key, cell in table.cells.items()}


def _value(cell: Cell, table: Table, finished: Finished) -> Value:
    if cell.metric == "parameters":
        from lls.paper.tables.cost import parameters

        counts = {seed: float(parameters(run)) for seed, run in zip(table.seeds[:1], cell.runs, strict=False)}
        return Value(counts, (), 1, ())
    if cell.metric == "minutes":
        from lls.paper.tables.timing import minutes

        rounds = dict(enumerate(minutes(cell.runs[0]))) if cell.runs else {}
        return Value(rounds, (), len(rounds), ())
    metric, values, best, commits = METRICS[cell.metric], {}, [], []
    ended = {seed: end for seed, run in zip(table.seeds, cell.runs, strict=False) if (end := finished(run)) is not None}
    diverged = sum(map(is_failed, ended.values()))
    unrecorded = sum(cell.metric not in end for end in ended.values()) - diverged
    for seed, result in ended.items():
        commits += result.get("commit", "none").split(", ")
        if not diverged and cell.metric in result:
            values[seed] = metric.scale * result[cell.metric]
            if metric.best in result:
                best.append(metric.scale * result[metric.best])
    planned = len(cell.runs) or len(table.seeds)
    return Value(values, tuple(best), planned, tuple(commits), diverged, unrecorded)


class Difference(NamedTuple):
    """`row` minus `rival` in one column, over the seeds that both have. ci_halfwidth: half the width of the 95 %
    confidence interval of the mean of the paired differences (Student's t); None for a single pair."""

    row: str
    rival: str
    column: str
    mean: float
    ci_halfwidth: float | None
    pairs: int
    percent: float | None  # of the rival's mean; None where that is 0


def differences(table: Table, values: dict[tuple[str, str], Value]) -> list[Difference]:
    """LLS minus each rival, or as the table's `compare` says, wherever both have a run of the same seed."""
    found = []
    for row, rivals in table.compare.items():
        for rival in rivals:
            for column in table.columns:
                ours, theirs = values[row, column.name].values, values[rival, column.name].values
                pairs = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
                if pairs:
                    base = mean(theirs.values())
                    percent = 100 * mean(pairs) / base if base else None
                    halfwidth = ci_halfwidth(pairs) if len(pairs) > 1 else None
                    found.append(Difference(row, rival, column.name, mean(pairs), halfwidth, len(pairs), percent))
    return found
