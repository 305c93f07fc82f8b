"""Claims about accuracy: compare rows of a table within each column, paired by seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from lls.paper.claims.matrices import Runs, finished_runs, in_output
from lls.paper.claims.verdict import ACCURACY, Comparison, Evidence
from lls.paper.tables import cost, load
from lls.paper.tables.declaration import heading
from lls.runs.run import Run

MAX_LISTED = 6  # differences that the text of a claim lists


class Column(NamedTuple):
    """A column of a table."""

    name: str
    top1: dict[str, dict[int, float]]  # by row and seed


def best(tables: list[str], row: str, output: Path, among: list[str] | None = None) -> Evidence:
    """Compare `row` with each other row in each column: `row` is above it.

    among: compare with these rows only."""

    def pairs(rows: list[str]) -> list[tuple[str, str]]:
        return [(row, rival) for rival in rows if rival != row and (among is None or rival in among)]

    return _compare_rows(tables, output, pairs)


def above(
    tables: list[str], pairs: list[list[str]], output: Path, by: float = 0.0, diverged_at_chance: bool = False
) -> Evidence:
    """Compare the two rows of each pair in each column: the first is more than `by` points above the second.

    by: a negative value is the margin by which the first row may be below the second.
    diverged_at_chance: a diverged run counts with 100/K %, for the claim that a method does not converge. By default,
    a row with a diverged run gives no evidence in that column."""
    return _compare_rows(tables, output, lambda rows: [(a, b) for a, b in pairs], by, diverged_at_chance)


def best_alpha(runs: list[Runs], inside: list[float], outside: list[float], output: Path) -> Evidence:
    """Compare the mean top-1 over the α of `inside` with each α of `outside`: the mean is above it."""
    comparisons, summaries = [], []
    for run in runs:
        top1 = {a: _top1(finished_runs(run | {"method.alpha": a}, output)) for a in (*inside, *outside)}
        for a in outside:
            seeds = sorted(set.intersection(*(set(top1[x]) for x in (*inside, a))))
            differences = [mean(top1[x][seed] for x in inside) - top1[a][seed] for seed in seeds]
            comparisons.append(Comparison(f"{run['dataset']}: inside above α={a:g}", differences, ACCURACY))
        if means := [f"{a:g}: {mean(values.values()):.2f}" for a, values in sorted(top1.items()) if values]:
            summaries.append(f"{run['dataset']} {', '.join(means)}")
    return Evidence(comparisons, "; ".join(summaries))


def _compare_rows(
    tables: list[str],
    output: Path,
    pairs: Callable[[list[str]], list[tuple[str, str]]],
    by: float = 0.0,
    diverged_at_chance: bool = False,
) -> Evidence:
    comparisons, summaries = [], []
    for column in (column for table in tables for column in columns(table, output, diverged_at_chance)):
        for a, b in pairs(list(column.top1)):
            first, second = column.top1[a], column.top1[b]
            differences = [first[seed] - second[seed] - by for seed in sorted(first.keys() & second.keys())]
            comparisons.append(Comparison(f"{column.name}, {a} above {b}", differences, ACCURACY))
            if differences:
                summaries.append(f"{column.name}, {a} to {b} {mean(differences) + by:+.2f}")
    more = f" and {len(summaries) - MAX_LISTED} more" if len(summaries) > MAX_LISTED else ""
    return Evidence(comparisons, "; ".join(summaries[:MAX_LISTED]) + more)


def columns(table: str, output: Path, diverged_at_chance: bool = False) -> list[Column]:
    """Return the columns of a declared table with the top-1 of its finished runs under `output`."""
    declared = load(table)

    def top1(row: str, column: str) -> dict[int, float]:
        runs = [in_output(output, run) for run in declared.cells[row, column].runs]
        return _top1(runs, diverged_at_chance)

    return [
        Column(heading(declared, column.name), {row.name: top1(row.name, column.name) for row in declared.rows})
        for column in declared.columns
    ]


def _top1(runs: Sequence[Run], diverged_at_chance: bool = False) -> dict[int, float]:
    """Return top-1 by seed.

    If a run has diverged, the result is empty, because the mean of the others would be too high. With
    `diverged_at_chance`, the diverged run counts with the accuracy of guessing."""
    diverged = [run for run in runs if run.failed]
    if diverged and not diverged_at_chance:
        return {}
    chance = {run.cfg.seed: 100 / cost.classes_of(run) for run in diverged}
    return chance | {run.cfg.seed: run.result["top1"] for run in runs if run.result and "top1" in run.result}
