"""Claims about the learned Q, and about confusions of classes."""

import math
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean

from lls.paper.claims.evidence import Evidence, Overrides, Results
from lls.paper.rules import over_seeds, over_values
from lls.runs.run import Run
from lls.training.confusion import CONFUSION, load_confusion

Q = "q.safetensors"
OTHERS = ["others"]  # a level: all classes that the other levels do not name
Shares = dict[str, dict[str, float]]  # by true class and other class
Levels = dict[str, list[list[str]]]  # by true class


def read_q(run: Run) -> Shares | None:
    """Read softmax(Q) of a run, by the names of the true class and the other class; None for less than two classes."""
    from lls.qmatrix import load_q

    q = load_q(run.folder / Q)
    rows = q.logits.double().softmax(-1).tolist()
    if len(q.classes) < 2:
        return None
    return {y: dict(zip(q.classes, row, strict=True)) for y, row in zip(q.classes, rows, strict=True)}


def read_confusions(run: Run) -> Shares | None:
    """Read the confusion matrix of a run's test images, as shares of the true class; None if the file is empty."""
    rows, classes = load_confusion(run.folder / CONFUSION)
    counts = {name: dict(zip(classes, row, strict=True)) for name, row in zip(classes, rows, strict=True)}
    return {y: {c: n / max(1, sum(row.values())) for c, n in row.items()} for y, row in counts.items()} or None


def order(results: Results, run: Overrides, levels: Levels) -> Evidence:
    """Compare the entries of row y of Q: each class of a level is above each class of the next level.

    The level [others] stands for all classes that are not named. A Q without a named class, learned on the user's own
    data set, gives no evidence."""
    return _order(results.read_each(run, Q, lambda r: _with_classes(read_q(r), levels)), levels)


def confusion_order(results: Results, run: Overrides, levels: Levels) -> Evidence:
    """Compare how often test images of class y are predicted as other classes, as `order` does."""
    return _order(results.read_each(run, CONFUSION, lambda r: _with_classes(read_confusions(r), levels)), levels)


def pairs(results: Results, run: Overrides, pairs: list[list[str]]) -> Evidence:
    """Compare the rows of Q of both classes of a pair: the other class of the pair has the largest entry."""
    return order(results, run, {y: [[other], OTHERS] for a, b in pairs for y, other in ((a, b), (b, a))})


def diagonal(results: Results, runs: list[Overrides], below: float) -> Evidence:
    """Compare the diagonal of Q: the mean Q_yy is less than `below`, and each Q_yy is the smallest entry of its row."""
    comparisons, summaries = [], []
    for run in runs:
        matrices = results.read_each(run, Q, read_q).values()
        subject = f"{run['dataset']} / {run['network']}"
        entries = [[q[y][y] for y in q] for q in matrices]
        negative = [[-entry for entry in of_seed] for of_seed in entries]
        comparisons.append(over_seeds(f"mean Q_yy below {below:g} ({subject})", negative, -below))
        margins = [min(min(v for name, v in q[y].items() if name != y) - q[y][y] for y in q) for q in matrices]
        comparisons.append(over_values(f"Q_yy the smallest of its row ({subject})", margins))
        if entries:
            smallest = 100 * fmean(fmean(q[y][y] == min(q[y].values()) for y in q) for q in matrices)
            mean = fmean(map(fmean, entries))
            summaries.append(f"{subject}: mean Q_yy {mean:.3f}, the smallest in {smallest:.0f} % of the rows")
    return Evidence(comparisons, "; ".join(summaries))


def follows_confusions(results: Results, run: Overrides, above: float) -> Evidence:
    """Compare the rank correlation of Q with the confusions on test images, off the diagonal: it is above `above`.

    It is a mean over classes, the q_confusion of result.json."""
    ranks = [*results.read_each(run, Q, _correlations).values()]
    summary = f"rank correlation {fmean(map(fmean, ranks)):.2f}" if ranks else ""
    return Evidence([over_seeds(f"rank correlation above {above:g}", ranks, above, bound=1.0)], summary)


def entropy(results: Results, run: Overrides, key: str, flatter: list[str], than: str) -> Evidence:
    """Compare the mean entropy of the rows of Q, in nats: larger with `key` at a value of `flatter` than at `than`."""
    nats = {value: results.read_each(run | {key: value}, Q, _entropies) for value in (*flatter, than)}
    return _flatter(nats, [(value, than) for value in flatter])


def flatter(results: Results, first: Overrides, second: Overrides) -> Evidence:
    """Compare the mean entropy of the rows of Q on two data sets with equally many classes: larger on the first."""
    a, b = first["dataset"], second["dataset"]
    nats = {a: results.read_each(first, Q, _entropies), b: results.read_each(second, Q, _entropies)}
    return _flatter(nats, [(a, b)])


def _flatter(nats: dict[str, dict[int, list[float]]], pairs: list[tuple[str, str]]) -> Evidence:
    comparisons = []
    for a, b in pairs:
        seeds = sorted(nats[a].keys() & nats[b].keys())
        differences = [[x - y for x, y in zip(nats[a][seed], nats[b][seed], strict=True)] for seed in seeds]
        comparisons.append(over_seeds(f"{a} flatter than {b}", differences))
    means = [f"{name} {fmean(map(fmean, by_seed.values())):.2f}" for name, by_seed in nats.items() if by_seed]
    return Evidence(comparisons, f"entropy in nats: {', '.join(means)}" if means else "")


def _entropies(run: Run) -> list[float] | None:
    """Return the entropy of each row of Q, in nats."""
    q = read_q(run)
    return q and [sum(-p * math.log(p) for p in row.values() if p) for row in q.values()]


def _with_classes(matrix: Shares | None, levels: Levels) -> Shares | None:
    """Return the matrix if it has all classes of `levels`, else None."""
    named = {name for y, groups in levels.items() for name in (y, *_named(groups))}
    return matrix if matrix and named <= matrix.keys() else None


def _order(by_seed: dict[int, Shares], levels: Levels) -> Evidence:
    comparisons, summaries, matrices = [], [], [*by_seed.values()]
    for y, groups in levels.items():
        for higher, lower in pairwise(groups):
            others = "all other classes" if lower == OTHERS else ", ".join(lower)
            differences = [_margin(q[y], higher, lower, {y, *_named(groups)}) for q in matrices]
            comparisons.append(over_values(_spaced(f"{y}: {', '.join(higher)} above {others}"), differences))
        if matrices:
            shares = [f"{name} {fmean(q[y][name] for q in matrices):.2f}" for name in _named(groups)]
            summaries.append(_spaced(f"{y}: {', '.join(shares)}"))
    return Evidence(comparisons, "; ".join(summaries))


def _margin(row: dict[str, float], higher: Iterable[str], lower: list[str], named: set[str]) -> float:
    names = [name for name in row if name not in named] if lower == OTHERS else lower
    return min(row[name] for name in higher) - max((row[name] for name in names), default=0.0)


def _named(groups: list[list[str]]) -> list[str]:
    return [name for group in groups if group != OTHERS for name in group]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _correlations(run: Run) -> list[float] | None:
    """Return Spearman's rank correlation of the rows of Q and of the confusion matrix, without y, for each class y.

    The mean over the classes is q_confusion of result.json. None if there is no confusion matrix of these classes, or
    if no class has a correlation."""
    from scipy.stats import spearmanr

    q, confusion = read_q(run), read_confusions(run) if run.has(CONFUSION) else None
    if not q or not confusion or q.keys() != confusion.keys():
        return None
    rows = [([q[y][c] for c in q if c != y], [confusion[y][c] for c in q if c != y]) for y in q]
    return [float(spearmanr(a, b).statistic) for a, b in rows if len(set(a)) > 1 and len(set(b)) > 1] or None
