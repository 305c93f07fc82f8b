"""The confidence interval of tables and claims."""

from collections.abc import Sequence
from statistics import stdev


def ci_halfwidth(values: Sequence[float], confidence: float = 0.95) -> float:
    """Return half the width of the confidence interval of the mean of two or more values (Student's t)."""
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
