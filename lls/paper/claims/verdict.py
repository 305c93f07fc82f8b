"""The rule that decides a claim.

A comparison is a list of paired differences, one per seed. Its 95 % interval is Student's. The comparison

- holds if the interval lies above zero,
- fails if the interval lies below zero,
- is open otherwise.

With a single seed there is no interval. The difference then has to exceed a tolerance, which is far larger than any
spread between seeds that we have measured:

    accuracy        5 points      the paper's largest ± is 0.43 (Table 3), ours 0.9 (1-hot, FashionMNIST / LeNet)
    entries of Q    0.15          three times the largest spread of an entry of Q on FashionMNIST / LeNet
    distances       0.05          coefficients of variation, ratios and cosine distances: ours spread by about 0.02

A value that is computed without a run has no spread and no tolerance.

The verdict on a claim is

- reproduced if all its comparisons hold,
- not reproduced if at least one fails,
- not yet run if no comparison has its runs,
- inconclusive otherwise.

To find failures, the intervals are widened by Bonferroni's correction: of the 112 comparisons of Tables 1 to 3, a few
lie below zero at 95 % by chance alone.
"""

from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from lls.paper.rules import ci_halfwidth

ACCURACY, ENTRIES, DISTANCES = 5.0, 0.15, 0.05
CONFIDENCE = 0.95


class Comparison(NamedTuple):
    """A statement that a difference is above zero."""

    name: str
    differences: Sequence[float]  # one per seed; empty if runs are missing
    tolerance: float  # what a single difference has to exceed


class Evidence(NamedTuple):
    """The comparisons of a claim, and a summary of what was measured ('' if nothing)."""

    comparisons: list[Comparison]
    measured: str


class Verdict(NamedTuple):
    """The verdict on a claim, and its reason."""

    label: str  # reproduced | not reproduced | inconclusive | not yet run
    reason: str


def interval(differences: Sequence[float], tolerance: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the mean: Student's t for two or more differences, ± tolerance around a single one."""
    centre = mean(differences)
    if len(differences) == 1:
        return centre - tolerance, centre + tolerance
    half = ci_halfwidth(differences, confidence)
    return centre - half, centre + half


def decide_verdict(evidence: Evidence) -> Verdict:
    """Decide a claim by its comparisons."""
    tested = [c for c in evidence.comparisons if c.differences]
    total = len(evidence.comparisons)
    if not tested:
        return Verdict("not yet run", f"0 of {total} comparisons")
    corrected = 1 - (1 - CONFIDENCE) / len(tested)
    failed = [c for c in tested if interval(c.differences, c.tolerance, corrected)[1] < 0]
    held = [c for c in tested if interval(c.differences, c.tolerance)[0] > 0]
    n = _seed_counts(tested)
    if failed:
        worst = min(failed, key=lambda c: mean(c.differences))
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Verdict("not reproduced", f"fails: {worst.name}{others}, of {total}{n}")
    if len(held) == total:
        return Verdict("reproduced", f"{'holds' if total == 1 else f'all {total} hold'}{n}")
    missing = total - len(tested)
    parts = [f"{len(held)} of {total} hold"]
    if undecided := [c for c in tested if c not in held]:
        weakest = min(undecided, key=lambda c: mean(c.differences))
        parts.append(f"{len(undecided)} open, the weakest {weakest.name}: {mean(weakest.differences):+.3g}")
    if missing:
        parts.append(f"{missing} not yet run")
    return Verdict("inconclusive", "; ".join(parts) + n)


def _seed_counts(tested: Sequence[Comparison]) -> str:
    """Return the number of seeds as ' (n=3)' or ' (n=1 to 3)'; '' for values computed without a run."""
    if not any(c.tolerance for c in tested):
        return ""
    counts = sorted({len(c.differences) for c in tested})
    return f" (n={counts[0]})" if len(counts) == 1 else f" (n={counts[0]} to {counts[-1]})"
