"""The one rule by which a claim is decided.

A comparison holds if the interval of its difference lies above zero, fails if it lies below, and is open otherwise. The
interval is Student's, 95 %, over seeds; two methods are paired by seed. With a single seed there is none to be had, and
the difference has to be larger than `tolerance`, which is chosen to dwarf any spread between seeds that we have seen:

    accuracy        5 points      the paper's largest ± is 0.43 (Table 3), ours 0.9 (1-hot, FashionMNIST / LeNet)
    entries of Q    0.15          three times the largest spread of an entry of Q on FashionMNIST / LeNet
    distances       0.05          of coefficients of variation, ratios and cosine distances: ours spread by about 0.02

What is computed without a run has no spread and no tolerance. A claim is reproduced if all its comparisons hold. It is
not reproduced if one fails, for which the interval is widened by Bonferroni's correction: of the 112 comparisons of
Tables 1 to 3 a few lie below zero at 95 % by chance alone. Anything else is inconclusive, or not yet run if no
comparison has its runs.
"""

from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from lls.paper.statistics import ci_halfwidth

ACCURACY, ENTRIES, DISTANCES = 5.0, 0.15, 0.05
CONFIDENCE = 0.95


class Comparison(NamedTuple):
    """differences: one a seed, said to be above zero; none if runs are missing."""

    name: str
    differences: Sequence[float]
    tolerance: float


class Evidence(NamedTuple):
    """What a test found: its comparisons, and what was measured in words ('' if nothing)."""

    comparisons: list[Comparison]
    ours: str


class Verdict(NamedTuple):
    word: str  # reproduced | not reproduced | inconclusive | not yet run
    why: str


def interval(differences: Sequence[float], tolerance: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the mean of paired differences: Student's t over two or more, ± tolerance around one."""
    centre = mean(differences)
    if len(differences) == 1:
        return centre - tolerance, centre + tolerance
    half = ci_halfwidth(differences, confidence)
    return centre - half, centre + half


def decide_verdict(evidence: Evidence) -> Verdict:
    """The verdict on a claim, and why."""
    found = [c for c in evidence.comparisons if c.differences]
    total = len(evidence.comparisons)
    if not found:
        return Verdict("not yet run", f"0 of {total} comparisons")
    strict = 1 - (1 - CONFIDENCE) / len(found)
    failed = [c for c in found if interval(c.differences, c.tolerance, strict)[1] < 0]
    held = [c for c in found if interval(c.differences, c.tolerance)[0] > 0]
    n = _seeds(found)
    if failed:
        worst = min(failed, key=lambda c: mean(c.differences))
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Verdict("not reproduced", f"fails: {worst.name}{others}, of {total}{n}")
    if len(held) == total:
        return Verdict("reproduced", f"{'holds' if total == 1 else f'all {total} hold'}{n}")
    missing = total - len(found)
    parts = [f"{len(held)} of {total} hold"]
    if still := [c for c in found if c not in held]:
        closest = min(still, key=lambda c: mean(c.differences))
        parts.append(f"{len(still)} open, the weakest {closest.name}: {mean(closest.differences):+.3g}")
    if missing:
        parts.append(f"{missing} not yet run")
    return Verdict("inconclusive", "; ".join(parts) + n)


def _seeds(found: Sequence[Comparison]) -> str:
    if not any(c.tolerance for c in found):
        return ""  # computed
    counts = sorted({len(c.differences) for c in found})
    return f" (n={counts[0]})" if len(counts) == 1 else f" (n={counts[0]} to {counts[-1]})"
