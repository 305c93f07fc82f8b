"""Claims about the learned Q, and about confusions of classes."""

import csv
import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from lls.paper.claims.evidence import Evidence, Overrides, Results
from lls.paper.rules import over_seeds, over_values
from lls.runs.run import Run

Q, CONFUSION = "q.safetensors", "confusion.csv"
Shares = dict[str, dict[str, float]]  # by true class and other class


def rows_of(runs: Sequence[Run]) -> list[Shares]:
    """Load softmax(Q) of each run, by the names of the true class and the other class."""
    from lls.qmatrix import load_q

    matrices = []
    for q in (load_q(run.folder / Q) for run in runs):
        rows = q.logits.double().softmax(-1).tolist()
        matrices.append({y: dict(zip(q.classes, row, strict=True)) for y, row in zip(q.classes, rows, strict=True)})
    return matrices


def confusions_of(runs: Sequence[Run]) -> list[Shares]:
    """Load the confusion matrix of each run's test images, as shares of the true class."""
    matrices = []
    for run in runs:
        with open(run.folder / CONFUSION, encoding="utf-8", newline="") as file:
            (_, *classes), *lines = csv.reader(file)
        counts = {name: dict(zip(classes, map(int, row), strict=True)) for name, *row in lines}
        matrices.append({y: {c: n / max(1, sum(row.values())) for c, n in row.items()} for y, row in counts.items()})
    return matrices


def order(results: Results, run: Overrides, levels: dict[str, list[list[str]]]) -> Evidence:
    """Compare the entries of row y of Q: each class of a level is above each class of the next level.

    The classes of the last level are above all classes that are not named. A Q without a named class, learned on the
    user's own data set, gives no evidence."""
    return _order(rows_of(results.finished(run, Q)), levels)


def confusion_order(results: Results, run: Overrides, levels: dict[str, list[list[str]]]) -> Evidence:
    """Compare how often test images of class y are predicted as other classes, as `order` does."""
    return _order(confusions_of(results.finished(run, CONFUSION)), levels)


def pairs(results: Results, run: Overrides, pairs: list[list[str]]) -> Evidence:
    """Compare the rows of Q of both classes of a pair: the other class of the pair has the largest entry."""
    return order(results, run, {y: [[other]] for a, b in pairs for y, other in ((a, b), (b, a))})


def diagonal(results: Results, runs: list[Overrides], below: float) -> Evidence:
    """Compare the diagonal of Q: the mean Q_yy is less than `below`, and each Q_yy is the smallest entry of its row."""
    estimates, summaries = [], []
    for run in runs:
        matrices = rows_of(results.finished(run, Q))
        subject = f"{run['dataset']} / {run['network']}"
        entries = [[q[y][y] for y in q] for q in matrices]
        below_limit = [[-entry for entry in of_seed] for of_seed in entries]
        estimates.append(over_seeds(f"mean Q_yy below {below:g} ({subject})", below_limit, -below))
        margins = [min(min(v for name, v in q[y].items() if name != y) - q[y][y] for y in q) for q in matrices]
        estimates.append(over_values(f"Q_yy the smallest of its row ({subject})", margins))
        if matrices:
            smallest = 100 * fmean(fmean(q[y][y] == min(q[y].values()) for y in q) for q in matrices)
            mean = fmean(map(fmean, entries))
            summaries.append(f"{subject}: mean Q_yy {mean:.3f}, the smallest in {smallest:.0f} % of the rows")
    return Evidence(estimates, "; ".join(summaries))


def follows_confusions(results: Results, run: Overrides, above: float) -> Evidence:
    """Compare the rank correlation of Q with the confusions on test images, off the diagonal: it is above `above`.

    It is a mean over classes, the q_confusion of result.json."""
    finished = [r for r in results.finished(run, Q) if r.has(CONFUSION)]
    ranks = [of_classes for r in finished if (of_classes := _correlations(r))]
    summary = f"rank correlation {fmean(map(fmean, ranks)):.2f}" if ranks else ""
    return Evidence([over_seeds(f"rank correlation above {above:g}", ranks, above)], summary)


def entropy(results: Results, run: Overrides, key: str, flatter: list[str], than: str) -> Evidence:
    """Compare the mean entropy of the rows of Q, in nats: larger with `key` at a value of `flatter` than at `than`."""
    nats = {value: _entropies(results, run | {key: value}) for value in (*flatter, than)}
    return _flatter(nats, [(value, than) for value in flatter])


def flatter(results: Results, first: Overrides, second: Overrides) -> Evidence:
    """Compare the mean entropy of the rows of Q on two data sets with equally many classes: larger on the first."""
    a, b = first["dataset"], second["dataset"]
    return _flatter({a: _entropies(results, first), b: _entropies(results, second)}, [(a, b)])


def _entropies(results: Results, run: Overrides) -> dict[int, list[float]]:
    """Return the entropy of each row of Q, in nats, by seed."""
    finished = results.finished(run, Q)
    nats = [[sum(-p * math.log(p) for p in row.values() if p) for row in q.values()] for q in rows_of(finished)]
    return {r.cfg.seed: of_rows for r, of_rows in zip(finished, nats, strict=True)}


def _flatter(nats: dict[str, dict[int, list[float]]], pairs: list[tuple[str, str]]) -> Evidence:
    estimates = []
    for a, b in pairs:
        seeds = sorted(nats[a].keys() & nats[b].keys())
        differences = [[x - y for x, y in zip(nats[a][seed], nats[b][seed], strict=True)] for seed in seeds]
        estimates.append(over_seeds(f"{a} flatter than {b}", differences))
    means = [f"{name} {fmean(map(fmean, by_seed.values())):.2f}" for name, by_seed in nats.items() if by_seed]
    return Evidence(estimates, f"entropy in nats: {', '.join(means)}" if means else "")


def _order(matrices: list[Shares], levels: dict[str, list[list[str]]]) -> Evidence:
    required = {name for y, groups in levels.items() for name in (y, *_flat(groups))}
    matrices = [q for q in matrices if required <= q.keys()]
    estimates, summaries = [], []
    for y, groups in levels.items():
        for higher, lower in zip(groups, [*groups[1:], None], strict=True):
            others = ", ".join(lower) if lower else "all other classes"
            label = _spaced(f"{y}: {', '.join(higher)} above {others}")
            named = {y, *_flat(groups)}
            differences = [_margin(q[y], higher, lower or [name for name in q if name not in named]) for q in matrices]
            estimates.append(over_values(label, differences))
        if matrices:
            shares = [f"{name} {fmean(q[y][name] for q in matrices):.2f}" for name in _flat(groups)]
            summaries.append(_spaced(f"{y}: {', '.join(shares)}"))
    return Evidence(estimates, "; ".join(summaries))


def _margin(row: dict[str, float], higher: Iterable[str], lower: Iterable[str]) -> float:
    return min(row[name] for name in higher) - max((row[name] for name in lower), default=0.0)


def _flat(groups: list[list[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _correlations(run: Run) -> list[float]:
    """Return Spearman's rank correlation of the rows of Q and of the confusion matrix, without y, for each class y.

    The mean over the classes is q_confusion of result.json."""
    from scipy.stats import spearmanr

    q, confusion = rows_of([run])[0], confusions_of([run])[0]
    pairs = [([q[y][c] for c in q if c != y], [confusion[y][c] for c in q if c != y]) for y in q]
    return [float(spearmanr(a, b).statistic) for a, b in pairs if len(set(a)) > 1 and len(set(b)) > 1]
