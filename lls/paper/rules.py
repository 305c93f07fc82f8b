"""The statistics of tables and claims: pooled spreads, intervals, and the rule that decides a claim.

A claim is a list of estimates. Each estimate states that a mean exceeds its margin. The verdict on the claim is

- reproduced if the one-sided 95 % lower limit of every estimate lies above its margin,
- not reproduced if the upper limit of some estimate lies below its margin, after Holm's correction,
- not yet run if no estimate has its runs,
- inconclusive otherwise.

The first rule needs no correction: it asks for all estimates at once, which is an intersection-union test.

    Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006 (means and ranks over columns)
    Berger, Multiparameter Hypothesis Testing and Acceptance Sampling, Technometrics 24, 1982 (intersection-union)
    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979
    Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics Bulletin 2, 1946
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
MOST_SEEDS = 100  # `seeds_needed` looks no further


class Spread(NamedTuple):
    """The variance of a value between seeds, pooled over cells, and its degrees of freedom."""

    variance: float
    dof: float


class Estimate(NamedTuple):
    """The statement that a mean exceeds `margin`, and what is known about the mean."""

    name: str
    mean: float | None  # None: nothing has been run
    standard_error: float | None = 0.0  # None: there is a single seed, so nothing is known about the spread
    dof: float = math.inf
    margin: float = 0.0  # ours, where the paper has no number; the sensitivity of a verdict varies it
    columns: tuple[float, ...] = ()  # the difference in each column
    one_seed_variance: float = 0.0  # of the mean, if every column had one seed
    cells: int = 1  # whose spread is pooled
    unit: str = "seeds"  # of the values behind the mean: seeds, classes or rounds


class Verdict(NamedTuple):
    """The verdict on a claim, and its reason."""

    label: str  # reproduced | not reproduced | inconclusive | not yet run
    reason: str


def ci_halfwidth(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """Return half the width of the two-sided confidence interval of the mean of two or more values (Student's t)."""
    return float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * stdev(values) / len(values) ** 0.5


def pool(cells: Iterable[Iterable[float]]) -> Spread | None:
    """Pool the variance between seeds over cells, each a series of values. None if no cell has two seeds."""
    squares, dof = 0.0, 0
    for values in map(list, cells):
        if len(values) > 1:
            mean = fmean(values)
            squares += sum((value - mean) ** 2 for value in values)
            dof += len(values) - 1
    return Spread(squares / dof, dof) if dof else None


def prediction_halfwidth(n: int, spread: Spread, confidence: float = CONFIDENCE) -> float:
    """Return half the width of the prediction interval of one more run: t·s·sqrt(1 + 1/n) around the mean of n runs."""
    return float(stdtrit(spread.dof, (1 + confidence) / 2)) * math.sqrt(spread.variance * (1 + 1 / n))


def computed(name: str, value: float, margin: float = 0.0) -> Estimate:
    """Return the estimate of a value that is computed, and has no spread."""
    return Estimate(name, value, margin=margin)


def over_values(name: str, values: Sequence[float], margin: float = 0.0, unit: str = "seeds") -> Estimate:
    """Estimate the mean of values, one per seed, class or round (`unit`). One value has no spread."""
    if not values:
        return Estimate(name, None, margin=margin, unit=unit)
    spread, n = pool([values]), len(values)
    if spread is None:
        return Estimate(name, values[0], None, margin=margin, unit=unit)
    error = math.sqrt(spread.variance / n)
    return Estimate(name, fmean(values), error, n - 1, margin, (), spread.variance, unit=unit)


def over_seeds(name: str, values: Sequence[Sequence[float]], margin: float = 0.0) -> Estimate:
    """Estimate a mean over classes. values: for each seed, the values of the classes.

    The limits are over the seeds. With one seed they are over the classes, and do not cover other seeds."""
    if len(values) == 1 and len(values[0]) > 1:
        return over_values(name, values[0], margin, "classes")
    return over_values(name, [fmean(of_classes) for of_classes in values], margin)


def over_columns(
    name: str,
    columns: Sequence[Mapping[str, Mapping[int, float]]],
    weights: Mapping[str, float],
    margin: float = 0.0,
    pooled: Sequence[Sequence[str]] = (),
) -> Estimate:
    """Estimate a weighted sum of rows, such as LLS - LS: its mean over the common seeds, then over the columns.

    columns: for each column, the values by row and seed. Columns that lack one of the rows do not count.
    weights: by row; {"LLS": 1, "LS": -1} is the difference of two rows.
    pooled: groups of rows. The spread between seeds is pooled over the cells of a group. A row of no group has a spread
        of its own.

    The standard error takes rows as independent. With the same seed they share initial weights and the order of images.
    If this makes their values alike, the true error is smaller.
    """
    groups = {row: next((tuple(group) for group in pooled if row in group), (row,)) for row in weights}
    differences, shares = [], dict.fromkeys(groups.values(), 0.0)
    for values in columns:
        seeds = sorted(set.intersection(*(set(values.get(row, {})) for row in weights)))
        if seeds:
            differences.append(fmean(sum(w * values[row][seed] for row, w in weights.items()) for seed in seeds))
            for row, w in weights.items():
                shares[groups[row]] += w**2 / len(seeds)
    m = len(differences)
    if not m:
        return Estimate(name, None, margin=margin)
    cells = {group: [v.get(row, {}).values() for v in columns for row in group] for group in shares}
    spreads = {group: pool(cells[group]) for group in shares}
    if any(spread is None for spread in spreads.values()):
        return Estimate(name, fmean(differences), None, 0, margin, tuple(differences))
    parts = [(shares[group] / m**2 * spread.variance, spread.dof) for group, spread in spreads.items()]
    total = sum(part for part, _ in parts)
    dof = total**2 / sum(part**2 / dof for part, dof in parts) if total else math.inf
    one_seed = sum(w**2 * spreads[groups[row]].variance for row, w in weights.items()) / m
    counted = sum(1 for group in cells.values() for values in group if values)
    return Estimate(name, fmean(differences), math.sqrt(total), dof, margin, tuple(differences), one_seed, counted)


def limits(estimate: Estimate, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the one-sided lower and upper limit of a mean, each at this confidence."""
    half = float(stdtrit(estimate.dof, confidence)) * estimate.standard_error if estimate.standard_error else 0.0
    return estimate.mean - half, estimate.mean + half


def decide(estimates: Sequence[Estimate], confidence: float = CONFIDENCE, margin_factor: float = 1.0) -> Verdict:
    """Decide a claim by its estimates. margin_factor: multiplies all margins."""
    estimates = [e._replace(margin=e.margin * margin_factor) for e in estimates]
    tested = [e for e in estimates if e.mean is not None]
    if not tested:
        return Verdict("not yet run", f"0 of {len(estimates)} comparisons")
    if failed := _failing(estimates, 1 - confidence):
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        of = f", of {len(estimates)}" if len(estimates) > 1 else ""
        return Verdict("not reproduced", f"{_shown(failed[0], confidence)}{more}{of}")
    undecided = [e for e in tested if not _holds(e, confidence)]
    if not undecided and len(tested) == len(estimates):
        closest = _shown(min(tested, key=lambda e: limits(e, confidence)[0] - e.margin), confidence)
        return Verdict("reproduced", closest if len(tested) == 1 else f"all {len(tested)} hold; the closest: {closest}")
    reasons = [f"{len(tested) - len(undecided)} of {len(estimates)} hold"] if len(estimates) > 1 else []
    if undecided:
        reasons.append(_shown(min(undecided, key=lambda e: e.mean - e.margin), confidence))
        reasons.append(_more_seeds(estimates, undecided, confidence))
    if missing := len(estimates) - len(tested):
        reasons.append(f"{missing} of {len(estimates)} not yet run")
    return Verdict("inconclusive", "; ".join(filter(None, reasons)))


def seeds_needed(estimates: Sequence[Estimate], confidence: float = CONFIDENCE) -> int | None:
    """Return how many seeds in every column would decide a claim, if all means and spreads stayed as they are.

    None if more than MOST_SEEDS would be needed, or if the spread is not known."""
    known = [e for e in estimates if e.mean is not None and e.standard_error is not None]
    against = [e for e in known if e.mean < e.margin]
    level = 1 - (1 - confidence) / len(estimates) if against else confidence
    for n in range(2, MOST_SEEDS + 1):
        decided = [_t(e, n) > stdtrit(e.cells * (n - 1), level) for e in (against or known)]
        if any(decided) if against else all(decided):
            return n
    return None


def signed_rank_p(differences: Sequence[float]) -> float | None:
    """Return the exact one-sided p of Wilcoxon's signed-rank test over columns: are the differences above zero?

    With n columns it is at least 2^-n. None if all differences are zero."""
    from scipy.stats import wilcoxon

    different = [d for d in differences if d]
    return float(wilcoxon(different, alternative="greater", method="exact").pvalue) if different else None


def _t(estimate: Estimate, seeds: int) -> float:
    """Return |t| of an estimate with this number of seeds in every column."""
    distance, error = abs(estimate.mean - estimate.margin), math.sqrt(estimate.one_seed_variance / seeds)
    return distance / error if error else math.inf


def _holds(estimate: Estimate, confidence: float) -> bool:
    return estimate.standard_error is not None and limits(estimate, confidence)[0] > estimate.margin


def _failing(estimates: Sequence[Estimate], alpha: float) -> list[Estimate]:
    """Return the estimates that fail, the clearest failure first. Holm: the i-th smallest p is compared with α/(k - i).

    k counts all estimates, also those that have not been run."""
    ordered = sorted((_p_above(e), e.mean - e.margin, i) for i, e in enumerate(estimates) if e.mean is not None)
    failing = []
    for rank, (p, _, i) in enumerate(ordered):
        if p >= alpha / (len(estimates) - rank):
            break
        failing.append(estimates[i])
    return failing


def _p_above(estimate: Estimate) -> float:
    """Return the p of the hypothesis that the mean is at least its margin."""
    distance, error = estimate.mean - estimate.margin, estimate.standard_error
    if error is None:
        return 1.0
    if not error:
        return float(distance >= 0)
    return float(stdtr(estimate.dof, distance / error))


def _shown(estimate: Estimate, confidence: float) -> str:
    """Return an estimate as text: its name, its distance to the margin, and the one-sided limits."""
    distance = f"{estimate.name}: {estimate.mean - estimate.margin:+.3g}"
    if estimate.standard_error is None:
        return f"{distance} (one seed)"
    if not estimate.standard_error:
        return distance
    low, high = (limit - estimate.margin for limit in limits(estimate, confidence))
    return f"{distance} (limits {low:+.3g} and {high:+.3g})"


def _more_seeds(all_estimates: Sequence[Estimate], undecided: Sequence[Estimate], confidence: float) -> str:
    if all(e.standard_error is None for e in undecided):
        return "one seed has no spread"
    if any(e.unit != "seeds" for e in undecided):
        return ""
    n = seeds_needed(all_estimates, confidence)
    return f"about {n} seeds would decide" if n else f"more than {MOST_SEEDS} seeds would be needed"
