"""Claims about distances between classes in the penultimate features.

The distances are in the clusters.json of a finished run. Drawing Figures 5, 6 and 8 writes that file."""

import math
from collections.abc import Callable, Set
from statistics import fmean

import numpy as np

from lls.paper.claims.evidence import Evidence, Overrides, Results
from lls.paper.figures.features import CLUSTERS, Clusters, read_clusters
from lls.paper.rules import over_seeds
from lls.runs.run import Run

METHODS = ("onehot", "ls", "lls")
Measure = Callable[[Clusters], list[float]]  # one value per class, or a single one


def equidistant(results: Results, runs: list[Overrides], below: float) -> Evidence:
    """Compare how much the distances from a class to the others vary: less for LS than `below`, 1-hot and LLS.

    The measure is the coefficient of variation of a class's distances, a mean over classes; 0: all are equal."""

    def measure(c: Clusters) -> list[float]:
        rows = c.distances[~np.eye(len(c.classes), dtype=bool)].reshape(len(c.classes), -1)
        return (rows.std(1) / rows.mean(1)).tolist()

    return _compare(results, runs, measure, [("onehot", "ls"), ("lls", "ls")], "variation of distances", limit=below)


def compact(results: Results, runs: list[Overrides]) -> Evidence:
    """Compare the spread of the classes: smaller for LS and for LLS than for 1-hot.

    The measure is the mean cosine distance of a class's images to their centre over the mean distance of two centres,
    a mean over classes."""

    def measure(c: Clusters) -> list[float]:
        return (c.spread / c.distances[~np.eye(len(c.classes), dtype=bool)].mean()).tolist()

    return _compare(results, runs, measure, [("onehot", "ls"), ("onehot", "lls")], "spread over distance")


def trio(results: Results, runs: list[Overrides], classes: list[list[str]]) -> Evidence:
    """Compare how far two similar classes are apart: further for LS than for 1-hot and for LLS.

    The measure is the distance of the first two classes over their mean distance to the third. A run without these
    classes, on the user's own data set, gives no evidence."""
    evidence = []
    for run, (first, second, third) in zip(runs, classes, strict=True):

        def ratio(c: Clusters, names=(first, second, third)) -> list[float]:
            a, b, far = (c.classes.index(name) for name in names)
            return [float(2 * c.distances[a, b] / (c.distances[a, far] + c.distances[b, far]))]

        label, names = f"{first}–{second} over {third}", {first, second, third}
        evidence.append(_compare(results, [run], ratio, [("ls", "onehot"), ("ls", "lls")], label, names))
    comparisons = [comparison for each in evidence for comparison in each.comparisons]
    return Evidence(comparisons, "; ".join(each.measured for each in evidence if each.measured))


def _compare(
    results: Results,
    runs: list[Overrides],
    measure: Measure,
    larger: list[tuple[str, str]],
    name: str,
    classes: Set[str] = frozenset(),
    limit: float | None = None,
) -> Evidence:
    """Compare `measure`: larger for the first method of each pair than for the second, and below `limit` for LS.

    Only runs whose data set has all of `classes` count, and only distances that are numbers: a class without images has
    none."""

    def read(run: Run) -> list[float] | None:
        distances = read_clusters(run)
        if distances is None or not classes <= {*distances.classes}:
            return None
        values = measure(distances)
        return values if all(map(math.isfinite, values)) else None

    comparisons, summaries = [], []
    for run in runs:
        values = {method: results.read_each(run | {"method": method}, CLUSTERS, read) for method in METHODS}
        if limit is not None:
            negative = [[-v for v in of_seed] for of_seed in values["ls"].values()]
            comparisons.append(over_seeds(f"{name} of ls below {limit:g} ({run['dataset']})", negative, -limit))
        for a, b in larger:
            seeds = sorted(values[a].keys() & values[b].keys())
            differences = [np.subtract(values[a][seed], values[b][seed]).tolist() for seed in seeds]
            comparisons.append(over_seeds(f"{name}: {a} above {b} ({run['dataset']})", differences))
        if any(values.values()):
            means = ", ".join(f"{method} {fmean(map(fmean, v.values())):.2f}" for method, v in values.items() if v)
            summaries.append(f"{run['dataset']}, {name}: {means}")
    return Evidence(comparisons, "; ".join(summaries))
