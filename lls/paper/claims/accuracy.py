"""Claims about accuracy: comparisons of a table's rows within each of its columns, paired by seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from lls.paper.claims.matrices import Runs, finished_runs, in_output
from lls.paper.claims.verdict import ACCURACY, Comparison, Evidence
from lls.paper.tables import cost, load
from lls.paper.tables.declaration import heading
from lls.runs.run import Run


class Column(NamedTuple):
    """A column of a table: top-1 by seed, of each row."""

    name: str
    top1: dict[str, dict[int, float]]


def best(tables: list[str], row: str, output: Path, among: list[str] | None = None) -> Evidence:
    """`row` is above every other row (of `among`) in every column."""

    def pairs(rows: list[str]) -> list[tuple[str, str]]:
        return [(row, rival) for rival in rows if rival != row and (among is None or rival in among)]

    return _evidence(tables, output, pairs)


def above(
    tables: list[str], pairs: list[list[str]], output: Path, by: float = 0.0, diverged_at_chance: bool = False
) -> Evidence:
    """The first row of each pair is more than `by` points above the second, in every column; a negative `by` is how
    much it may be below. diverged_at_chance: a run that has diverged counts with 100/K %, for the claim that a method
    does not converge; otherwise a row with such a run is no evidence in that column."""
    return _evidence(tables, output, lambda rows: [(a, b) for a, b in pairs], by, diverged_at_chance)


def best_alpha(runs: list[Runs], inside: list[float], outside: list[float], output: Path) -> Evidence:
    """The mean top-1 over the α of `inside` is above that at each α of `outside`."""
    comparisons, words = [], []
    for run in runs:
        top1 = {a: _top1(finished_runs(run | {"method.alpha": a}, output)) for a in (*inside, *outside)}
        for a in outside:
            seeds = sorted(set.intersection(*(set(top1[x]) for x in (*inside, a))))
            differences = [mean(top1[x][seed] for x in inside) - top1[a][seed] for seed in seeds]
            comparisons.append(Comparison(f"{run['dataset']}: inside above α={a:g}", differences, ACCURACY))
        if shown := [f"{a:g}: {mean(v.values()):.2f}" for a, v in sorted(top1.items()) if v]:
            words.append(f"{run['dataset']} {', '.join(shown)}")
    return Evidence(comparisons, "; ".join(words))


def _evidence(
    tables: list[str],
    output: Path,
    pairs: Callable[[list[str]], list[tuple[str, str]]],
    by: float = 0.0,
    diverged_at_chance: bool = False,
) -> Evidence:
    comparisons, words = [], []
    for column in (column for table in tables for column in columns(table, output, diverged_at_chance)):
        for a, b in pairs(list(column.top1)):
            ours, theirs = column.top1[a], column.top1[b]
            differences = [ours[seed] - theirs[seed] - by for seed in sorted(ours.keys() & theirs.keys())]
            comparisons.append(Comparison(f"{column.name}, {a} above {b}", differences, ACCURACY))
            if differences:
                words.append(f"{column.name}, {a} to {b} {mean(differences) + by:+.2f}")
    return Evidence(comparisons, _few(words))


def columns(table: str, output: Path, diverged_at_chance: bool = False) -> list[Column]:
    """The columns of a declared table, with what its finished runs have reached."""
    declared = load(table)
    return [
        Column(
            heading(declared, column.name),
            {
                row.name: _top1(
                    [in_output(output, run) for run in declared.cells[row.name, column.name].runs], diverged_at_chance
                )
                for row in declared.rows
            },
        )
        for column in declared.columns
    ]


def _few(words: list[str]) -> str:
    return "; ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")


def _top1(runs: Sequence[Run], diverged_at_chance: bool = False) -> dict[int, float]:
    """top-1 by seed. Of runs of which one has diverged nothing, since the mean of the others would say too much; or, if
    `diverged_at_chance`, what guessing reaches in its place."""
    diverged = [run for run in runs if run.failed]
    if diverged and not diverged_at_chance:
        return {}
    chance = {run.cfg.seed: 100 / cost.classes_of(run) for run in diverged}
    return chance | {run.cfg.seed: run.result["top1"] for run in runs if run.result and "top1" in run.result}
