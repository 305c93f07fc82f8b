"""Claims about the learned Q."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from lls.paper.claims.verdict import ENTRIES, Comparison, Evidence
from lls.runs.planned import run_of
from lls.runs.run import RUNS, Run

Runs = dict[str, str | float]
SEEDS = (0, 1, 2)


def finished_runs(run: Runs, output: Path, file: str | None = None) -> list[Run]:
    """The finished runs of `run` under `output`, one a seed, that have kept `file`."""
    words = [f"{key}={value}" for key, value in run.items()]
    runs = [in_output(output, run_of([*words, f"seed={seed}"])) for seed in SEEDS]
    return [run for run in runs if not run.failed and run.result is not None and run.has(file)]


def in_output(output: Path, run: Run) -> Run:
    """The same run in another output folder."""
    moved = Run(run.cfg)
    moved.folder = output / RUNS / run.id
    return moved


def rows_of(runs: Sequence[Run]) -> list[dict[str, dict[str, float]]]:
    """softmax(Q) of each run by the names of true class and other class."""
    from lls.qmatrix import load_q

    found = []
    for q in (load_q(run.folder / "q.safetensors") for run in runs):
        rows = q.logits.double().softmax(-1).tolist()
        found.append({y: dict(zip(q.classes, row, strict=True)) for y, row in zip(q.classes, rows, strict=True)})
    return found


def order(run: Runs, levels: dict[str, list[list[str]]], output: Path) -> Evidence:
    """In row y of Q, each class of a level gets more than each of the level below it, and those of the last level more
    than all classes that are not named. A Q that does not know a named class, of a data set of one's own, is no
    evidence."""
    known = {name for y, groups in levels.items() for name in (y, *(name for group in groups for name in group))}
    matrices = [q for q in rows_of(finished_runs(run, output, "q.safetensors")) if known <= q.keys()]
    comparisons, words = [], []
    for y, groups in levels.items():
        named = {name for group in groups for name in group} | {y}
        for level, higher in enumerate(groups):
            lower = groups[level + 1] if level + 1 < len(groups) else None
            differences = []
            for q in matrices:
                below = lower or [name for name in q[y] if name not in named]
                differences.append(
                    min(q[y][name] for name in higher) - max((q[y][name] for name in below), default=0.0)
                )
            under = ", ".join(lower) if lower else "the rest"
            label = _said(f"{y}: {', '.join(higher)} above {under}")
            comparisons.append(Comparison(label, differences, ENTRIES))
        if matrices:
            shares = [(name, mean(q[y][name] for q in matrices)) for group in groups for name in group]
            words.append(_said(f"{y}: " + ", ".join(f"{name} {share:.2f}" for name, share in shares)))
    return Evidence(comparisons, "; ".join(words))


def pairs(run: Runs, pairs: list[list[str]], output: Path) -> Evidence:
    """In the row of each class of a pair the other one gets the most."""
    return order(run, {y: [[other]] for a, b in pairs for y, other in ((a, b), (b, a))}, output)


def diagonal(runs: list[Runs], below: float, output: Path) -> Evidence:
    """The mean Q_yy is less than `below`, and in every row Q_yy is the smallest entry."""
    comparisons, words = [], []
    for run in runs:
        done = finished_runs(run, output, "q.safetensors")
        matrices = rows_of(done)
        where = f"{run['dataset']} / {run['network']}"
        level = [mean(q[y][y] for y in q) for q in matrices]
        margin = [min(min(v for name, v in q[y].items() if name != y) - q[y][y] for y in q) for q in matrices]
        comparisons.append(Comparison(f"mean Q_yy below {below:g} ({where})", [below - v for v in level], below))
        comparisons.append(Comparison(f"Q_yy the smallest of its row ({where})", margin, below))
        if matrices:
            lowest = mean(sum(q[y][y] == min(q[y].values()) for y in q) / len(q) for q in matrices)
            words.append(f"{where}: mean Q_yy {mean(level):.3f}, the smallest in {100 * lowest:.0f} % of the rows")
    return Evidence(comparisons, "; ".join(words))


def follows_confusions(run: Runs, above: float, output: Path) -> Evidence:
    """The rank correlation of Q with the confusions on test images, off the diagonal, is more than `above`."""
    done = [r for r in finished_runs(run, output) if "q_confusion" in r.result]
    ranks = [r.result["q_confusion"] for r in done]
    ours = f"rank correlation {mean(ranks):.2f}" if ranks else ""
    return Evidence([Comparison(f"rank correlation above {above:g}", [v - above for v in ranks], ENTRIES)], ours)


def entropy(run: Runs, key: str, flatter: list[str], than: str, output: Path) -> Evidence:
    """With `key` at one of `flatter`, the rows of Q stay closer to uniform (in nats of entropy) than at `than`."""
    measured = {
        value: {
            r.cfg.seed: r.result["q_entropy"]
            for r in finished_runs(run | {key: value}, output, "q.safetensors")
            if "q_entropy" in r.result
        }
        for value in (*flatter, than)
    }
    comparisons = []
    for value in flatter:
        seeds = sorted(measured[value].keys() & measured[than].keys())
        differences = [measured[value][seed] - measured[than][seed] for seed in seeds]
        comparisons.append(Comparison(f"{value} flatter than {than}", differences, ENTRIES))
    words = [f"{value} {mean(found.values()):.2f}" for value, found in measured.items() if found]
    return Evidence(comparisons, f"entropy in nats: {', '.join(words)}" if words else "")


def _said(name: str) -> str:
    return name.replace("_", " ")
