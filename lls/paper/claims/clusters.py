"""Claims about how classes lie in the space of penultimate features, by clusters.json beside a finished run, which
drawing Figures 5, 6 and 8 leaves there."""

from collections.abc import Callable, Set
from pathlib import Path
from statistics import mean

import numpy as np

from lls.paper.claims.matrices import Runs, finished_runs
from lls.paper.claims.verdict import DISTANCES, Comparison, Evidence
from lls.paper.figures.features import CLUSTERS, Clusters, read_clusters, row_normalised, variation


def equidistant(runs: list[Runs], below: float, output: Path) -> Evidence:
    """The coefficient of variation of the row-normalised distances between class centres (0: all are equal) is less
    than `below` for LS, and smaller for LS than for 1-hot and for LLS."""

    def measure(c: Clusters) -> float:
        return variation(row_normalised(c.distances))

    return _compare(runs, output, measure, [("onehot", "ls"), ("lls", "ls")], "variation of distances", limit=below)


def compact(runs: list[Runs], output: Path) -> Evidence:
    """Images lie closer to their class's centre, in cosine distance over the mean distance of two centres, for LS and
    for LLS than for 1-hot."""

    def measure(c: Clusters) -> float:
        return float(c.spread.mean() / c.distances[~np.eye(len(c.classes), dtype=bool)].mean())

    return _compare(runs, output, measure, [("onehot", "ls"), ("onehot", "lls")], "spread over distance")


def trio(runs: list[Runs], classes: list[list[str]], output: Path) -> Evidence:
    """The distance of the first two classes over their mean distance to the third is larger for LS than for 1-hot and
    for LLS. A run that does not know one of them, of a data set of one's own, is no evidence."""
    found = []
    for run, (first, second, third) in zip(runs, classes, strict=True):

        def ratio(c: Clusters, names=(first, second, third)) -> float:
            a, b, far = (c.classes.index(name) for name in names)
            return float(2 * c.distances[a, b] / (c.distances[a, far] + c.distances[b, far]))

        label = f"{first}–{second} over {third}"
        found.append(_compare([run], output, ratio, [("ls", "onehot"), ("ls", "lls")], label, {first, second, third}))
    return Evidence([c for e in found for c in e.comparisons], "; ".join(e.ours for e in found if e.ours))


def _compare(
    runs: list[Runs],
    output: Path,
    measure: Callable[[Clusters], float],
    larger: list[tuple[str, str]],
    name: str,
    classes: Set[str] = frozenset(),
    limit: float | None = None,
) -> Evidence:
    """`measure` is larger for the first method of each pair than for the second; and less than `limit` for LS. Runs
    count that know `classes`."""
    comparisons, words = [], []
    for run in runs:
        values = {
            method: {
                r.cfg.seed: measure(found)
                for r in finished_runs(run | {"method": method}, output, CLUSTERS)
                if (found := read_clusters(r)) is not None and classes <= {*found.classes}
            }
            for method in ("onehot", "ls", "lls")
        }
        if limit is not None:
            below = [limit - value for value in values["ls"].values()]
            comparisons.append(Comparison(f"{name} of ls below {limit:g} ({run['dataset']})", below, DISTANCES))
        for a, b in larger:
            seeds = sorted(values[a].keys() & values[b].keys())
            differences = [values[a][seed] - values[b][seed] for seed in seeds]
            comparisons.append(Comparison(f"{name}: {a} above {b} ({run['dataset']})", differences, DISTANCES))
        if any(values.values()):
            shown = ", ".join(f"{method} {mean(v.values()):.2f}" for method, v in values.items() if v)
            words.append(f"{run['dataset']}, {name}: {shown}")
    return Evidence(comparisons, "; ".join(words))
