"""Claims about the learned Q."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from lls.paper.claims.verdict import ENTRIES, Comparison, Evidence
from lls.runs.planned import run_of
from lls.runs.run import RUNS, Run

Runs = dict[str, str | float]  # the overrides of runs that differ in their seed
Shares = dict[str, dict[str, float]]  # softmax(Q) by true class and other class
SEEDS = (0, 1, 2)


def finished_runs(run: Runs, output: Path, file: str | None = None) -> list[Run]:
    """Return the finished runs of these overrides under `output`, one per seed, that have `file`."""
    overrides = [f"{key}={value}" for key, value in run.items()]
    runs = [in_output(output, run_of([*overrides, f"seed={seed}"])) for seed in SEEDS]
    return [run for run in runs if not run.failed and run.has_final(file)]


def in_output(output: Path, run: Run) -> Run:
    """Return the same run in another output folder."""
    moved = Run(run.cfg)
    moved.folder = output / RUNS / run.id
    return moved


def rows_of(runs: Sequence[Run]) -> list[Shares]:
    """Load softmax(Q) of each run, by the names of the true class and the other class."""
    from lls.qmatrix import load_q

    matrices = []
    for q in (load_q(run.folder / "q.safetensors") for run in runs):
        rows = q.logits.double().softmax(-1).tolist()
        matrices.append({y: dict(zip(q.classes, row, strict=True)) for y, row in zip(q.classes, rows, strict=True)})
    return matrices


def order(run: Runs, levels: dict[str, list[list[str]]], output: Path) -> Evidence:
    """Compare the entries of row y of Q: each class of a level is above each class of the next level.

    The classes of the last level are above all classes that are not named. A Q without a named class, learned on the
    user's own data set, gives no evidence."""
    required = {name for y, groups in levels.items() for name in (y, *_flat(groups))}
    matrices = [q for q in rows_of(finished_runs(run, output, "q.safetensors")) if required <= q.keys()]
    comparisons, summaries = [], []
    for y, groups in levels.items():
        for higher, lower in zip(groups, [*groups[1:], None], strict=True):
            others = ", ".join(lower) if lower else "all other classes"
            label = _spaced(f"{y}: {', '.join(higher)} above {others}")
            named = {y, *_flat(groups)}
            differences = [_margin(q[y], higher, lower or [name for name in q if name not in named]) for q in matrices]
            comparisons.append(Comparison(label, differences, ENTRIES))
        if matrices:
            shares = [f"{name} {mean(q[y][name] for q in matrices):.2f}" for name in _flat(groups)]
            summaries.append(_spaced(f"{y}: {', '.join(shares)}"))
    return Evidence(comparisons, "; ".join(summaries))


def _margin(row: dict[str, float], higher: Iterable[str], lower: Iterable[str]) -> float:
    return min(row[name] for name in higher) - max((row[name] for name in lower), default=0.0)


def _flat(groups: list[list[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def pairs(run: Runs, pairs: list[list[str]], output: Path) -> Evidence:
    """Compare the rows of both classes of a pair: the other class of the pair has the largest entry."""
    return order(run, {y: [[other]] for a, b in pairs for y, other in ((a, b), (b, a))}, output)


def diagonal(runs: list[Runs], below: float, output: Path) -> Evidence:
    """Compare the diagonal of Q: the mean Q_yy is less than `below`, and each Q_yy is the smallest entry of its row."""
    comparisons, summaries = [], []
    for run in runs:
        matrices = rows_of(finished_runs(run, output, "q.safetensors"))
        subject = f"{run['dataset']} / {run['network']}"
        means = [mean(q[y][y] for y in q) for q in matrices]
        margins = [min(min(v for name, v in q[y].items() if name != y) - q[y][y] for y in q) for q in matrices]
        differences = [below - value for value in means]
        comparisons.append(Comparison(f"mean Q_yy below {below:g} ({subject})", differences, below))
        comparisons.append(Comparison(f"Q_yy the smallest of its row ({subject})", margins, below))
        if matrices:
            smallest = mean(sum(q[y][y] == min(q[y].values()) for y in q) / len(q) for q in matrices)
            share = f"{100 * smallest:.0f} % of the rows"
            summaries.append(f"{subject}: mean Q_yy {mean(means):.3f}, the smallest in {share}")
    return Evidence(comparisons, "; ".join(summaries))


def follows_confusions(run: Runs, above: float, output: Path) -> Evidence:
    """Compare the rank correlation of Q with the confusions on test images, off the diagonal: it is above `above`."""
    ranks = [r.result["q_confusion"] for r in finished_runs(run, output) if "q_confusion" in r.result]
    summary = f"rank correlation {mean(ranks):.2f}" if ranks else ""
    differences = [rank - above for rank in ranks]
    return Evidence([Comparison(f"rank correlation above {above:g}", differences, ENTRIES)], summary)


def entropy(run: Runs, key: str, flatter: list[str], than: str, output: Path) -> Evidence:
    """Compare the mean entropy of the rows of Q, in nats: larger with `key` at a value of `flatter` than at `than`."""
    nats = {}
    for value in (*flatter, than):
        finished = finished_runs(run | {key: value}, output, "q.safetensors")
        nats[value] = {r.cfg.seed: r.result["q_entropy"] for r in finished if "q_entropy" in r.result}
    comparisons = []
    for value in flatter:
        seeds = sorted(nats[value].keys() & nats[than].keys())
        differences = [nats[value][seed] - nats[than][seed] for seed in seeds]
        comparisons.append(Comparison(f"{value} flatter than {than}", differences, ENTRIES))
    means = [f"{value} {mean(by_seed.values()):.2f}" for value, by_seed in nats.items() if by_seed]
    return Evidence(comparisons, f"entropy in nats: {', '.join(means)}" if means else "")
