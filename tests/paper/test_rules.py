"""The rule that decides a claim, and the statistics behind it, against SciPy's own tests."""

import math

import numpy as np
import pytest
from scipy import stats

from lls.paper.rules import (
    Comparison,
    Spread,
    ci_halfwidth,
    computed,
    decide,
    limits,
    over_columns,
    over_seeds,
    over_values,
    pool,
    prediction_halfwidth,
    seeds_needed,
    signed_rank_p,
)


def seeded(values):
    return dict(enumerate(values))


def test_pooled_spread_is_that_of_an_analysis_of_variance():
    """Groups of 3, 2 and 1: squares 2 + 0.5 + 0 over 2 + 1 + 0 degrees of freedom."""
    assert pool([[1.0, 2.0, 3.0], [5.0, 6.0], [9.0]]) == Spread(pytest.approx(2.5 / 3), 3)
    assert pool([[1.0], [], [2.0]]) is None


def test_prediction_interval():
    """Two earlier runs and a spread of 0.3 with 8 degrees of freedom: 2.306 · 0.3 · sqrt(1.5)."""
    assert prediction_halfwidth(2, Spread(0.09, 8)) == pytest.approx(2.306004 * 0.3 * math.sqrt(1.5), rel=1e-6)


def test_interval_of_the_mean():
    assert ci_halfwidth([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # 4.302653: t(0.975, 2)


def test_limits_over_seeds_are_those_of_a_one_sample_t_test():
    values = [0.3, 0.1, 0.5, 0.2]
    test = stats.ttest_1samp(values, 0, alternative="greater")
    low, _ = limits(over_values("", values))
    assert low == pytest.approx(test.confidence_interval(0.95).low, rel=1e-9)
    _, high = limits(over_values("", values))
    assert high == pytest.approx(stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high)


@pytest.mark.parametrize("pooled", [True, False])
def test_one_column_is_a_two_sample_t_test(pooled):
    """Pooled rows: Student's test. Rows with a spread of their own: Welch's."""
    a, b = [80.1, 80.4, 80.2], [79.0, 81.5, 79.9]
    columns = [{"A": seeded(a), "B": seeded(b)}]
    comparison = over_columns("", columns, {"A": 1, "B": -1}, pooled=["A", "B"] if pooled else [])
    test = stats.ttest_ind(a, b, equal_var=pooled)
    assert comparison.mean / comparison.standard_error == pytest.approx(test.statistic)
    assert comparison.dof == pytest.approx(test.df)


def test_columns_with_one_seed_use_the_spread_of_the_others():
    """Three columns, one of them with three seeds: s² = 1, and Var = s² · 2 · (1/3 + 1 + 1) / 9."""
    columns = [
        {"A": seeded([4.0, 5.0, 6.0]), "B": seeded([1.0, 2.0, 3.0])},
        {"A": {0: 7.0}, "B": {0: 6.0}},
        {"A": {0: 8.0}, "B": {0: 6.0}},
        {"A": {0: 8.0}},  # has no rival: it does not count
    ]
    comparison = over_columns("", columns, {"A": 1, "B": -1}, pooled=["A", "B"])
    assert comparison.columns == (3.0, 1.0, 2.0)
    assert (comparison.mean, comparison.dof) == (2.0, 4)
    assert comparison.standard_error == pytest.approx(math.sqrt(2 * (1 / 3 + 2) / 9))


def test_only_common_seeds_count_for_the_mean_and_all_seeds_for_the_spread():
    columns = [{"A": {0: 1.0, 1: 3.0}, "B": {1: 1.0, 2: 1.0}}]
    comparison = over_columns("", columns, {"A": 1, "B": -1}, pooled=["A", "B"])
    assert (comparison.mean, comparison.dof) == (2.0, 2)
    assert comparison.standard_error == pytest.approx(math.sqrt(2 * 1.0))  # s² = (2 + 0) / 2, one common seed


def test_a_row_that_does_not_converge_leaves_the_spread_of_the_others_alone():
    rng = np.random.default_rng(0)
    columns = [
        {"A": seeded(80 + rng.normal(0, 0.1, 3)), "B": seeded(79 + rng.normal(0, 0.1, 3)), "Wild": seeded([20, 40, 60])}
    ]
    close = over_columns("", columns, {"A": 1, "B": -1}, pooled=["A", "B"])
    wild = over_columns("", columns, {"A": 1, "Wild": -1}, pooled=["A", "B"])
    assert close.standard_error < 0.2
    assert wild.standard_error == pytest.approx(20 / 3**0.5, rel=0.01)
    assert wild.dof == pytest.approx(2, rel=0.01)


def test_one_seed_has_limits_over_classes_only():
    assert over_seeds("", [[1.0, 2.0, 3.0]]).unit == "classes"
    assert over_seeds("", [[1.0, 2.0], [3.0, 4.0]]).mean == 2.5
    assert over_seeds("", [[1.0, 2.0], [3.0, 4.0]]).dof == 1
    assert over_seeds("", [[1.0]]).standard_error is None


def comparisons(*values, margin=0.0):
    return [over_values(f"c{i}", of_seeds, margin) for i, of_seeds in enumerate(values)]


@pytest.mark.parametrize(
    ("given", "label", "reason"),
    [
        (comparisons([1.0, 1.1, 0.9]), "reproduced", "c0: +1 (limits +0.831 and +1.17)"),
        (
            comparisons([1.0, 1.1, 0.9], [2.0, 2.1, 1.9]),
            "reproduced",
            "both comparisons are clearly above zero; the closest: c0",
        ),
        (
            comparisons([-1.0, -1.1, -0.9], [2.0, 2.1, 1.9]),
            "not reproduced",
            "1 of 2 comparisons is clearly below zero: c0: -1",
        ),
        (comparisons([1.0, -1.1, 0.2]), "inconclusive", "more than 100 seeds"),
        (comparisons([1.0, -0.1, 0.2]), "inconclusive", "about 9 seeds would decide"),
        (comparisons([1.0, 1.1, 0.9], []), "inconclusive", "1 of 2 comparisons has results; it is clearly above zero"),
        (
            comparisons([1.0, -0.1, 0.2], []),
            "inconclusive",
            "has results; it is not clearly above zero; c0: +0.367 (limits",
        ),
        (
            comparisons([1.0], [0.5], []),
            "inconclusive",
            "2 of 3 comparisons have results; neither is clearly above zero",
        ),
        (
            comparisons([1.0], [0.5], [2.0]),
            "inconclusive",
            "none of the 3 comparisons is clearly above zero; the lowest: c1",
        ),
        (comparisons([1.0, -0.1, 0.2], [0.3]), "inconclusive", "c1: +0.3 (one seed, or no spread between seeds)"),
        (comparisons([], []), "not yet run", "no results for its 2 comparisons"),
        (comparisons([30.0]), "inconclusive", "one seed, or no spread"),
        (comparisons([-30.0]), "inconclusive", "one seed, or no spread"),
        ([computed("exact", 0.1)], "reproduced", "exact: +0.1"),
        ([computed("exact", -0.1)], "not reproduced", "exact: -0.1"),
        ([computed("exact", -0.4, margin=-0.5)], "reproduced", "exact: +0.1"),  # non-inferiority
    ],
)
def test_verdict(given, label, reason):
    verdict = decide(given)
    assert verdict.label == label
    assert reason in verdict.reason


def test_a_failure_among_many_is_corrected():
    """The upper limit of c0 is below zero, but its p of 0.02 is above 0.05/10, Holm's level for the smallest of ten."""
    low = over_values("low", [-1.0, -1.2, -0.3])
    assert limits(low)[1] < 0
    assert decide([low]).label == "not reproduced"
    assert decide([low, *comparisons(*[[3.0, 3.1, 2.9]] * 9)]).label == "inconclusive"
    assert decide([low, *comparisons(*[[]] * 9)]).label == "inconclusive"  # comparisons that are not run count as well


def test_all_comparisons_have_to_hold():
    assert decide(comparisons([1.0, 1.1, 0.9], [0.5, -0.4, 0.1])).label == "inconclusive"


@pytest.mark.parametrize(("confidence", "factor", "label"), [(0.95, 1, "reproduced"), (0.95, 2, "inconclusive")])
def test_margins_are_varied(confidence, factor, label):
    assert decide(comparisons([1.2, 1.4, 1.1], margin=0.6), confidence=confidence, margin_factor=factor).label == label


@pytest.mark.parametrize(("factor", "label"), [(1.0, "inconclusive"), (2.0, "reproduced"), (0.5, "not reproduced")])
def test_a_margin_of_a_share_is_varied_by_its_distance_to_one(factor, label):
    """0.9 becomes 0.8 and 0.95."""
    comparison = over_values("", [0.90, 0.89, 0.91], 0.9, bound=1.0)
    assert decide([comparison], margin_factor=factor).label == label


def test_confidence_is_varied():
    labels = [decide(comparisons([1.2, 0.3, 1.1]), confidence=confidence).label for confidence in (0.90, 0.95, 0.99)]
    assert labels == ["reproduced", "reproduced", "inconclusive"]


def test_number_of_seeds_that_would_decide():
    """By hand: mean 0.1, variance of a difference 0.08, four columns. n = 5: t = 0.1 / sqrt(0.08 / 20) = 1.58 is below
    t(0.95, 32) = 1.69; n = 6: 1.73 is above t(0.95, 40) = 1.68."""
    comparison = Comparison("", 0.1, 0.08, 16, parts=((0.02, 8),))
    assert seeds_needed([comparison]) == 6
    assert seeds_needed([comparison._replace(mean=0.0)]) is None
    assert seeds_needed([comparison._replace(mean=-0.1)]) == 6  # that it fails
    with pytest.raises(ValueError, match="no spread"):
        seeds_needed([comparison, over_values("", [1.0])])


def test_seeds_that_have_run_would_not_decide_an_open_claim():
    """One row has a large spread of its own, so that the degrees of freedom are Welch's, not those of all cells."""
    rng = np.random.default_rng(0)
    calm, wild = (rng.normal(mean, spread, (4, 3)) for mean, spread in ((80, 0.2), (60, 25)))
    columns = [{"A": seeded(a), "B": seeded(b)} for a, b in zip(calm, wild, strict=True)]
    comparison = over_columns("", columns, {"A": 1, "B": -1})
    for confidence in (0.9, 0.99, 0.999, 0.9999):
        needed, holds = seeds_needed([comparison], confidence), limits(comparison, confidence)[0] > 0
        assert holds == (needed <= 3)


@pytest.mark.parametrize("values", [[math.nan, 1.0], [math.inf, 1.0], []])
def test_what_is_not_a_number_gives_no_verdict(values):
    assert decide([over_values("", values)]).label == "not yet run"


def test_equal_values_are_no_certainty():
    assert decide([over_values("", [0.002, 0.002])]).label == "inconclusive"
    columns = [{"A": seeded([80.0, 80.0]), "B": seeded([79.0, 79.0])}]
    assert decide([over_columns("", columns, {"A": 1, "B": -1}, pooled=["A", "B"])]).label == "inconclusive"


@pytest.mark.parametrize("n", [1, 4, 10])
def test_signed_rank_is_at_least_two_to_the_minus_n(n):
    assert signed_rank_p([0.1 * (i + 1) for i in range(n)]) == pytest.approx(2.0**-n)


def test_signed_rank_of_equal_columns():
    assert signed_rank_p([0.0, 0.0]) is None
    assert signed_rank_p([0.0, 0.1]) == pytest.approx(0.5)


def test_seeds_are_not_counted_where_another_comparison_is_over_classes():
    over_classes = over_seeds("", [[1.0, 1.1, 0.9]])
    assert "seeds" in decide(comparisons([1.0, -0.1, 0.2])).reason
    assert "seeds" not in decide([over_classes, *comparisons([1.0, -0.1, 0.2])]).reason
