"""The statistics of tables and claims: pooled spreads, intervals, and the rule that decides a claim.

A claim is a list of comparisons. Each states that a mean exceeds a margin. The verdict on the claim is

- reproduced if the one-sided 95 % lower limit of every mean lies above its margin,
- not reproduced if the upper limit of some mean lies below its margin, after Holm's correction,
- not yet run if no comparison has values,
- inconclusive otherwise.

The first rule needs no correction: it asks for all comparisons at once, which is an intersection-union test.

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


class Comparison(NamedTuple):
    """The statement that a mean exceeds a margin, and what is known about the mean.

    margin: our choice, where the paper has no number. The sensitivity of a verdict is tested by varying it.
    bound: the value that the margin is measured from when it is varied: 0, or 1 for shares and correlations."""

    name: str
    mean: float | None  # None: there are no values
    standard_error: float | None = None  # None: the spread is not known
    dof: float = 0.0
    margin: float = 0.0
    bound: float = 0.0
    columns: tuple[float, ...] = ()  # the difference in each column
    parts: tuple[tuple[float, int], ...] = ()  # by group of rows: variance of the mean at one seed per column, cells
    unit: str = "seeds"  # of the values behind the mean: seeds, classes, rounds or draws

    @property
    def distance(self) -> float:
        """The mean minus the margin."""
        return self.mean - self.margin


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


def computed(name: str, value: float, margin: float = 0.0) -> Comparison:
    """Compare a value that is computed, and has no spread, with a margin."""
    return Comparison(name, value, 0.0, math.inf, margin)


def over_values(
    name: str, values: Sequence[float], margin: float = 0.0, unit: str = "seeds", bound: float = 0.0
) -> Comparison:
    """Compare the mean of values with a margin. unit: the values are one per seed, class, round or draw.

    A single value has no spread, nor have equal values."""
    if not values or not all(map(math.isfinite, values)):
        return Comparison(name, None, margin=margin, bound=bound, unit=unit)
    spread, n = pool([values]), len(values)
    if spread is None or not spread.variance:
        return Comparison(name, fmean(values), margin=margin, bound=bound, unit=unit)
    error, parts = math.sqrt(spread.variance / n), ((spread.variance, 1),)
    return Comparison(name, fmean(values), error, n - 1, margin, bound, (), parts, unit)


def over_seeds(name: str, values: Sequence[Sequence[float]], margin: float = 0.0, bound: float = 0.0) -> Comparison:
    """Compare a mean over classes with a margin. values: for each seed, the values of the classes.

    The limits are over the seeds. With one seed they are over the classes, and do not cover other seeds."""
    if len(values) == 1 and len(values[0]) > 1:
        return over_values(name, values[0], margin, "classes", bound)
    return over_values(name, [fmean(of_classes) for of_classes in values], margin, bound=bound)


def over_columns(
    name: str,
    columns: Sequence[Mapping[str, Mapping[int, float]]],
    weights: Mapping[str, float],
    margin: float = 0.0,
    pooled: Sequence[str] = (),
    bound: float = 0.0,
) -> Comparison:
    """Compare a weighted sum of rows, such as LLS - LS, with a margin: its mean over common seeds, then over columns.

    columns: for each column, the values by row and seed. Columns that lack one of the rows do not count.
    weights: by row; {"LLS": 1, "LS": -1} is the difference of two rows.
    pooled: the rows over whose cells the spread between seeds is pooled. Other rows use the spread of their own cells.

    The standard error takes rows as independent. With the same seed they share initial weights and the order of images.
    If this makes their values alike, the true error is smaller.
    """
    groups = {row: tuple(pooled) if row in pooled else (row,) for row in weights}
    differences, shares = [], dict.fromkeys(groups.values(), 0.0)
    for values in columns:
        seeds = sorted(set.intersection(*(set(values.get(row, {})) for row in weights)))
        if seeds:
            differences.append(fmean(sum(w * values[row][seed] for row, w in weights.items()) for seed in seeds))
            for row, w in weights.items():
                shares[groups[row]] += w**2 / len(seeds)
    if not differences:
        return Comparison(name, None, margin=margin, bound=bound)
    mean, m = fmean(differences), len(differences)
    cells = {group: [c for v in columns for row in group if (c := v.get(row))] for group in shares}
    spreads = {group: pool(cell.values() for cell in cells[group]) for group in shares}
    if None in spreads.values() or not any(spread.variance for spread in spreads.values()):
        return Comparison(name, mean, margin=margin, bound=bound, columns=tuple(differences))
    variances = {group: shares[group] / m**2 * spread.variance for group, spread in spreads.items()}
    dof = satterthwaite([(variances[group], spreads[group].dof) for group in shares])
    at_one_seed = dict.fromkeys(shares, 0.0)
    for row, w in weights.items():
        at_one_seed[groups[row]] += w**2 / m * spreads[groups[row]].variance
    parts = tuple((at_one_seed[group], len(cells[group])) for group in shares)
    error = math.sqrt(sum(variances.values()))
    return Comparison(name, mean, error, dof, margin, bound, tuple(differences), parts)


def satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of variances, each with its own degrees of freedom."""
    return sum(v for v, _ in parts) ** 2 / sum(v**2 / dof for v, dof in parts)


def limits(comparison: Comparison, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the one-sided lower and upper limit of a mean, each at this confidence."""
    error = comparison.standard_error
    half = float(stdtrit(comparison.dof, confidence)) * error if error else 0.0
    return comparison.mean - half, comparison.mean + half


def decide(comparisons: Sequence[Comparison], *, confidence: float = CONFIDENCE, margin_factor: float = 1.0) -> Verdict:
    """Decide a claim by its comparisons. margin_factor: multiplies the distance of each margin to its bound."""
    comparisons = [c._replace(margin=c.bound + (c.margin - c.bound) * margin_factor) for c in comparisons]
    total, tested = len(comparisons), [c for c in comparisons if c.mean is not None]
    if not tested:
        return Verdict("not yet run", f"no results for its {f'{total} comparisons' if total > 1 else 'comparison'}")
    if failed := _failing(comparisons, 1 - confidence):
        clearest = _shown(failed[0], confidence)
        if total > 1:
            selected = "; the clearest" if len(failed) > 1 else ""
            clearest = f"{_subject(len(failed), total, 'comparisons')} clearly below zero{selected}: {clearest}"
        return Verdict("not reproduced", clearest)
    if not all(_holds(c, confidence) for c in comparisons):
        return Verdict("inconclusive", _open_questions(comparisons, confidence))
    closest = _shown(min(comparisons, key=lambda c: limits(c, confidence)[0] - c.margin), confidence)
    if total > 1:
        closest = f"{_subject(total, total, 'comparisons')} clearly above zero; the closest: {closest}"
    return Verdict("reproduced", closest)


def seeds_needed(comparisons: Sequence[Comparison], confidence: float = CONFIDENCE) -> int | None:
    """Return how many seeds in every column would decide a claim, if all means and spreads stayed as they are.

    None if more than MOST_SEEDS would be needed. Raises ValueError if a mean or a spread is not known."""
    if not all(c.parts for c in comparisons):
        raise ValueError("a comparison has no values or no spread")
    against = [c for c in comparisons if c.distance < 0]
    level = 1 - (1 - confidence) / len(comparisons) if against else confidence
    for n in range(2, MOST_SEEDS + 1):
        decided = [_decided_by(n, c, level) for c in (against or comparisons)]
        if any(decided) if against else all(decided):
            return n
    return None


def signed_rank_p(differences: Sequence[float]) -> float | None:
    """Return the exact one-sided p of Wilcoxon's signed-rank test over columns: are the differences above zero?

    With n columns it is at least 2^-n. None if all differences are zero."""
    from scipy.stats import wilcoxon

    different = [d for d in differences if d]
    return float(wilcoxon(different, alternative="greater", method="exact").pvalue) if different else None


def _decided_by(seeds: int, comparison: Comparison, level: float) -> bool:
    variance = sum(v for v, _ in comparison.parts) / seeds
    dof = satterthwaite([(v, cells * (seeds - 1)) for v, cells in comparison.parts])
    return abs(comparison.distance) > float(stdtrit(dof, level)) * math.sqrt(variance)


def _holds(comparison: Comparison, confidence: float) -> bool:
    return comparison.standard_error is not None and limits(comparison, confidence)[0] > comparison.margin


def _failing(comparisons: Sequence[Comparison], alpha: float) -> list[Comparison]:
    """Return the comparisons that fail, the clearest failure first. Holm: the i-th smallest p is below α/(k - i).

    k counts all comparisons, also those without values."""
    ordered = sorted((_p_above(c), c.distance, i) for i, c in enumerate(comparisons) if c.mean is not None)
    failing = []
    for rank, (p, _, i) in enumerate(ordered):
        if p >= alpha / (len(comparisons) - rank):
            break
        failing.append(comparisons[i])
    return failing


def _p_above(comparison: Comparison) -> float:
    """Return the p-value of the hypothesis that the mean is at least its margin."""
    if comparison.standard_error is None:
        return 1.0
    if not comparison.standard_error:
        return float(comparison.distance >= 0)
    return float(stdtr(comparison.dof, comparison.distance / comparison.standard_error))


def _open_questions(comparisons: Sequence[Comparison], confidence: float) -> str:
    """Return the reason of an inconclusive verdict.

    It says how many comparisons have results, how many of these are clearly above zero, which of the others is the
    lowest, and how many seeds would decide."""
    total, tested = len(comparisons), [c for c in comparisons if c.mean is not None]
    undecided, parts = [c for c in tested if not _holds(c, confidence)], []
    above = len(tested) - len(undecided)
    if len(tested) < total:
        parts.append(f"{len(tested)} of {total} comparisons {'have' if len(tested) > 1 else 'has'} results")
    if len(tested) > 1:
        parts.append(f"{_subject(above, len(tested), 'comparisons' * (len(tested) == total))} clearly above zero")
    elif total > 1:
        parts.append(f"it is {'' if above else 'not '}clearly above zero")
    if undecided:
        label = "the lowest: " if len(undecided) > 1 else "not clear: " if above else ""
        parts.append(label + _shown(min(undecided, key=lambda c: c.distance), confidence))
        parts.append(_more_seeds(comparisons, confidence))
    return "; ".join(filter(None, parts))


def _subject(n: int, total: int, noun: str) -> str:
    """Return `none of the 3 comparisons is`, `1 of 3 comparisons is` or `both comparisons are`; the noun may be ''."""
    none, all_of_them = ("neither", "both") if total == 2 else ("none", f"all {total}")
    if not n:
        return f"{none} of the {total} {noun} is" if noun else f"{none} is"
    return " ".join(filter(None, [all_of_them if n == total else f"{n} of {total}", noun, "is" if n == 1 else "are"]))


def _shown(comparison: Comparison, confidence: float) -> str:
    """Return a comparison as text: its name, the distance to the margin, and the one-sided limits of the distance."""
    distance = f"{comparison.name}: {comparison.distance:+.3g}"
    if comparison.standard_error is None:
        return f"{distance} (one seed, or no spread between seeds)"
    if not comparison.standard_error:
        return distance
    low, high = (limit - comparison.margin for limit in limits(comparison, confidence))
    over = "" if comparison.unit == "seeds" else f" over {comparison.unit}"
    return f"{distance} (limits{over} {low:+.3g} and {high:+.3g})"


def _more_seeds(comparisons: Sequence[Comparison], confidence: float) -> str:
    """Return how many seeds would decide, as text; '' if that is not known."""
    if not all(c.unit == "seeds" and c.parts for c in comparisons):
        return ""
    n = seeds_needed(comparisons, confidence)
    where = " in every column" if any(c.columns for c in comparisons) else ""
    return f"about {n} seeds{where} would decide" if n else f"more than {MOST_SEEDS} seeds would be needed"
