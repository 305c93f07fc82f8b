"""Claims about accuracy: comparisons of a table's rows within each of its columns, paired by seed."""

from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.claims.matrices import SEEDS, Runs, finished
from lls.claims.verdict import ACCURACY, Comparison, Evidence
from lls.config import CONFIGS, compose
from lls.runs import Run


class Column(NamedTuple):
    """A column of a table: top-1 by seed, of each row."""

    name: str
    top1: dict[str, dict[int, float]]


def best(
    tables: list[int],
    row: str,
    overrides: Sequence[str],
    among: list[str] | None = None,
    dataset: str | None = None,
    by: float = 0.0,
) -> Evidence:
    """`row` is more than `by` points above every other row (of `among`) in every column (of one data set)."""
    rivals = lambda rows: [name for name in rows if name != row and (among is None or name in among)]  # noqa: E731
    return _evidence(tables, overrides, dataset, lambda rows: [(row, rival, by) for rival in rivals(rows)])


def above(tables: list[int], pairs: list[list[str]], overrides: Sequence[str], by: float = 0.0) -> Evidence:
    """The first row of each pair is more than `by` points above the second, in every column; a negative `by` is how much
    it may be below."""
    return _evidence(tables, overrides, None, lambda rows: [(a, b, by) for a, b in pairs])


def best_alpha(runs: list[Runs], inside: list[float], outside: list[float], overrides: Sequence[str]) -> Evidence:
    """The mean top-1 over the α of `inside` is above that at each α of `outside`."""
    comparisons, words = [], []
    for run in runs:
        top1 = {a: _top1(finished(run | {"method.alpha": a}, overrides)) for a in (*inside, *outside)}
        for a in outside:
            seeds = sorted(set.intersection(*(set(top1[x]) for x in (*inside, a))))
            differences = [mean(top1[x][seed] for x in inside) - top1[a][seed] for seed in seeds]
            comparisons.append(Comparison(f"{run['dataset']}: inside above α={a:g}", differences, ACCURACY))
        if shown := [f"{a:g}: {mean(v.values()):.2f}" for a, v in sorted(top1.items()) if v]:
            words.append(f"{run['dataset']} {', '.join(shown)}")
    return Evidence(comparisons, "; ".join(words))


def _evidence(tables, overrides, dataset, pairs) -> Evidence:
    comparisons, words = [], []
    for table in tables:
        for column in columns(table, overrides, dataset):
            for a, b, by in pairs(list(column.top1)):
                ours, theirs = column.top1.get(a, {}), column.top1.get(b, {})
                differences = [ours[seed] - theirs[seed] - by for seed in sorted(ours.keys() & theirs.keys())]
                comparisons.append(Comparison(f"{column.name}: {a} above {b}", differences, ACCURACY))
                if differences:
                    words.append(f"{mean(differences) + by:+.2f} over {b} ({column.name})")
    return Evidence(comparisons, _few(words))


def columns(table: int, overrides: Sequence[str], dataset: str | None = None) -> list[Column]:
    """The columns of a declared table, with what its runs have reached."""
    declared = OmegaConf.to_container(OmegaConf.load(CONFIGS / "table" / f"{table}.yaml"))
    found = []
    for column in declared["columns"]:
        if dataset is None or column["run"].get("dataset") == dataset:
            top1 = {row["name"]: _cell(column["run"] | row["run"], overrides) for row in declared["rows"]}
            found.append(Column(column["name"], top1))
    return found


def _few(words: list[str]) -> str:
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")


def _top1(runs: Sequence[Run]) -> dict[int, float]:
    return {run.cfg.seed: run.result["top1"] for run in runs}
