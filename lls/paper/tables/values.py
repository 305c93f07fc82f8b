"""The numbers of a table's cells: from finished runs, from the networks themselves, or from paired timings."""

from collections.abc import Callable
from statistics import mean, stdev
from typing import NamedTuple

from lls.paper.rules import ci_halfwidth
from lls.paper.tables.declaration import Cell, Table
from lls.paper.tables.metrics import METRICS
from lls.runs.run import Run
from lls.runs.schema import Failed, Result, is_failed

ResultLookup = Callable[[Run], Result | Failed | None]  # None: the run has not ended, or does not count


class Value(NamedTuple):
    """The numbers of one cell.

    values: in the table's unit; by seed, of finished runs; of minutes, by round of the timing. Empty where a run has
    diverged, because the mean of the other runs would mislead.
    """

    values: dict[int, float]
    best: tuple[float, ...]  # values of the best epochs, where the metric has one
    planned: int
    commits: tuple[str, ...]
    diverged: int = 0  # number of runs
    unrecorded: int = 0  # number of finished runs whose result lacks this metric (older versions)
    paper_inside: bool | None = None  # whether the paper's number is inside our prediction interval; None: no mark

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


class Difference(NamedTuple):
    """`row` minus `rival` in one column, over the seeds that both have.

    ci_halfwidth: half the width of the 95 % confidence interval of the mean of the paired differences (Student's t);
    None for a single pair.
    """

    row: str
    rival: str
    column: str
    mean: float
    ci_halfwidth: float | None
    pairs: int
    percent: float | None  # of the rival's mean; None where that is 0


def table_values(table: Table, lookup: ResultLookup) -> dict[tuple[str, str], Value]:
    """Return the numbers of every cell, by the names of row and column."""
    return {key: _value(cell, lookup) for key, cell in table.cells.items()}


def _value(cell: Cell, lookup: ResultLookup) -> Value:
    if cell.metric == "parameters":
        from lls.paper.tables.cost import parameters

        counts = {run.cfg.seed: float(parameters(run)) for run in cell.runs[:1]}
        return Value(counts, (), 1, ())
    if cell.metric == "minutes":
        from lls.paper.tables.timing import minutes

        rounds = dict(enumerate(minutes(cell.runs[0]))) if cell.runs else {}
        return Value(rounds, (), len(rounds), ())
    metric, values, best, commits = METRICS[cell.metric], {}, [], []
    ended = {run.cfg.seed: end for run in cell.runs if (end := lookup(run)) is not None}
    diverged = sum(map(is_failed, ended.values()))
    unrecorded = sum(cell.metric not in end for end in ended.values()) - diverged
    for seed, result in ended.items():
        commits += result.get("commit", "none").split(", ")
        if not diverged and cell.metric in result:
            values[seed] = metric.scale * result[cell.metric]
            if metric.best in result:
                best.append(metric.scale * result[metric.best])
    return Value(values, tuple(best), len(cell.runs), tuple(commits), diverged, unrecorded)


def differences(table: Table, values: dict[tuple[str, str], Value]) -> list[Difference]:
    """Compare each row with its rivals, as `table.compare` declares them, where both have values of the same seed."""
    pairs = [(row, rival) for row, rivals in table.compare.items() for rival in rivals]
    compared = [difference(row, rival, column.name, values) for row, rival in pairs for column in table.columns]
    return [d for d in compared if d is not None]


def difference(row: str, rival: str, column: str, values: dict[tuple[str, str], Value]) -> Difference | None:
    """Compare two rows in one column. None if they have no common seed."""
    row_values, rival_values = values[row, column].values, values[rival, column].values
    paired = [row_values[seed] - rival_values[seed] for seed in row_values if seed in rival_values]
    if not paired:
        return None
    base = mean(rival_values.values())
    percent = 100 * mean(paired) / base if base else None
    halfwidth = ci_halfwidth(paired) if len(paired) > 1 else None
    return Difference(row, rival, column, mean(paired), halfwidth, len(paired), percent)
