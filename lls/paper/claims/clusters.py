"""Claims about distances between classes in the penultimate features.

The distances are in the clusters.json of a finished run. Drawing Figures 5, 6 and 8 writes that file."""

from collections.abc import Callable, Set
from pathlib import Path
from statistics import mean

import numpy as np

from lls.paper.claims.matrices import Runs, finished_runs
from lls.paper.claims.verdict import DISTANCES, Comparison, Evidence
from lls.paper.figures.features import CLUSTERS, Clusters, read_clusters, row_normalised, variation

METHODS = ("onehot", "ls", "lls")


def equidistant(runs: list[Runs], below: float, output: Path) -> Evidence:
    """Compare how much the distances between class centres vary: less for LS than `below`, 1-hot and LLS.

    The measure is the coefficient of variation of the row-normalised distances; 0 means that all are equal."""

    def measure(c: Clusters) -> float:
        return variation(row_normalised(c.distances))

    return _compare(runs, output, measure, [("onehot", "ls"), ("lls", "ls")], "variation of distances", limit=below)


def compact(runs: list[Runs], output: Path) -> Evidence:
    """Compare the spread of the classes: smaller for LS and for LLS than for 1-hot.

    The measure is the mean cosine distance of images to their class centre over the mean distance of two centres."""

    def measure(c: Clusters) -> float:
        return float(c.spread.mean() / c.distances[~np.eye(len(c.classes), dtype=bool)].mean())

    return _compare(runs, output, measure, [("onehot", "ls"), ("onehot", "lls")], "spread over distance")


def trio(runs: list[Runs], classes: list[list[str]], output: Path) -> Evidence:
    """Compare how far two similar classes are apart: further for LS than for 1-hot and for LLS.

    The measure is the distance of the first two classes over their mean distance to the third. A run without these
    classes, on the user's own data set, gives no evidence."""
    evidence = []
    for run, (first, second, third) in zip(runs, classes, strict=True):

        def ratio(c: Clusters, names=(first, second, third)) -> float:
            a, b, far = (c.classes.index(name) for name in names)
            return float(2 * c.distances[a, b] / (c.distances[a, far] + c.distances[b, far]))

        label, names = f"{first}–{second} over {third}", {first, second, third}
        evidence.append(_compare([run], output, ratio, [("ls", "onehot"), ("ls", "lls")], label, names))
    comparisons = [comparison for each in evidence for comparison in each.comparisons]
    return Evidence(comparisons, "; ".join(each.measured for each in evidence if each.measured))


def _compare(
    runs: list[Runs],
    output: Path,
    measure: Callable[[Clusters], float],
    larger: list[tuple[str, str]],
    name: str,
    classes: Set[str] = frozenset(),
    limit: float | None = None,
) -> Evidence:
    """Compare `measure`: larger for the first method of each pair than for the second, and below `limit` for LS.

    Only runs whose data set has all of `classes` count."""
    comparisons, summaries = [], []
    for run in runs:
        values = {method: _by_seed(run | {"method": method}, output, measure, classes) for method in METHODS}
        if limit is not None:
            below = [limit - value for value in values["ls"].values()]
            comparisons.append(Comparison(f"{name} of ls below {limit:g} ({run['dataset']})", below, DISTANCES))
        for a, b in larger:
            seeds = sorted(values[a].keys() & values[b].keys())
            differences = [values[a][seed] - values[b][seed] for seed in seeds]
            comparisons.append(Comparison(f"{name}: {a} above {b} ({run['dataset']})", differences, DISTANCES))
        if any(values.values()):
            means = ", ".join(f"{method} {mean(v.values()):.2f}" for method, v in values.items() if v)
            summaries.append(f"{run['dataset']}, {name}: {means}")
    return Evidence(comparisons, "; ".join(summaries))


def _by_seed(run: Runs, output: Path, measure: Callable[[Clusters], float], classes: Set[str]) -> dict[int, float]:
    values = {}
    for finished in finished_runs(run, output, CLUSTERS):
        distances = read_clusters(finished)
        if distances is not None and classes <= {*distances.classes}:
            values[finished.cfg.seed] = measure(distances)
    return values
