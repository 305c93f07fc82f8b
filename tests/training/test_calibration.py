"""ECE and adaptive ECE, compared with plain loops over exact fractions, with values by hand, and with torchmetrics."""

import math
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch

from lls.training.metrics import adaptive_ece, ece

EDGES = [m / 15 for m in range(1, 16)]  # the upper edges of the bins


class Case(NamedTuple):
    """Predictions: their confidences, and 1 or 0 for a correct or a wrong prediction."""

    confidences: list[float]
    correct: list[int]
    classes: int = 20
    dtype: torch.dtype = torch.float64


def probabilities(case):
    """Return probabilities `[N, K]` and labels `[N]`. The classes that are not predicted share what is left."""
    p, labels = torch.zeros(len(case.confidences), case.classes, dtype=case.dtype), []
    for i, (confidence, correct) in enumerate(zip(case.confidences, case.correct, strict=True)):
        predicted = i % case.classes if confidence > 1 / case.classes else 0
        p[i] = (1 - confidence) / max(case.classes - 1, 1)
        p[i, predicted] = confidence
        labels.append(predicted if correct else (predicted + 1) % case.classes)
    return p, torch.tensor(labels, dtype=torch.int64)


def exact_predictions(p, y):
    """Return a pair for each image: its confidence as a fraction, and whether the first largest class is its label."""
    rows = p.double().tolist()  # converts each type without rounding
    if not rows or any(math.isnan(value) for row in rows for value in row):
        return None
    return [(Fraction(max(row)), row.index(max(row)) == label) for row, label in zip(rows, y.tolist(), strict=True)]


def reference_ece(p, y):
    if (predictions := exact_predictions(p, y)) is None:
        return math.nan
    total = Fraction(0)
    for m in range(1, 16):
        gap = Fraction(0)
        for confidence, correct in predictions:
            if (m - 1) / 15 < confidence <= m / 15:
                gap += correct - confidence
        total += abs(gap)
    return float(total / len(predictions))


def reference_adaptive_ece(p, y):
    if (predictions := exact_predictions(p, y)) is None:
        return math.nan
    waiting = sorted(predictions)
    total = Fraction(0)
    for m in range(15):
        gap = Fraction(0)
        for _ in range(len(predictions) // 15 + (m < len(predictions) % 15)):
            confidence, _ = waiting.pop(0)
            tied = [correct for other, correct in predictions if other == confidence]
            gap += Fraction(sum(tied), len(tied)) - confidence
        total += abs(gap)
    assert not waiting
    return float(total / len(predictions))


def spread(n):
    """Return n different confidences from 0.1 to 0.95."""
    return [0.1 + 0.85 * i / max(n - 1, 1) for i in range(n)]


def tied(first, last):
    """Return 30 confidences, which are two in each adaptive bin, with equal ones at the indices first to last."""
    confidences = spread(30)
    return [confidences[first] if first <= i <= last else confidence for i, confidence in enumerate(confidences)]


below_one, nan = math.nextafter(1, 0), math.nan
CASES = {
    # The image on the edge is wrong, as is the one above it. The one below it is right.
    **{
        f"on the edge {m}/15, with neighbours": Case([m / 15, m / 15 - 0.01, m / 15 + 0.01], [0, 1, 0])
        for m in range(1, 15)
    },
    "on each edge": Case(EDGES, [0, 1] * 7 + [0]),
    "on each edge, float32": Case(EDGES, [0, 1] * 7 + [0], dtype=torch.float32),
    "just above each edge": Case([math.nextafter(edge, 1) for edge in EDGES[:-1]], [1, 0] * 7),
    "just below each edge": Case([math.nextafter(edge, 0) for edge in EDGES], [1, 0] * 7 + [1]),
    "below, on and above 12/15": Case([math.nextafter(0.8, 0), 0.8, math.nextafter(0.8, 1)], [1, 0, 0]),
    "0.2 in float32 is above 3/15": Case([0.2, 0.19, 0.21], [0, 1, 0], dtype=torch.float32),
    "1.0 wrong, 0.95 right": Case([1.0, 0.95], [0, 1]),
    "1.0 wrong, 0.95 right, float32": Case([1.0, 0.95], [0, 1], dtype=torch.float32),
    "1.0 wrong, 0.95 right, two classes": Case([1.0, 0.95], [0, 1], classes=2),
    "1.0 right, 0.95 wrong": Case([1.0, 0.95], [1, 0]),
    "1.0 wrong, just below 1.0 right": Case([1.0, below_one], [0, 1]),
    "1.0 wrong, on 14/15 right": Case([1.0, 14 / 15], [0, 1]),
    "certain and right": Case([1.0] * 20, [1] * 20),
    "certain and wrong": Case([1.0] * 20, [0] * 20),
    "certain, half of them wrong": Case([1.0] * 20, [1, 0] * 10),
    "all equal, right first": Case([0.7] * 20, [1] * 12 + [0] * 8),
    "all equal, wrong first": Case([0.7] * 20, [0] * 8 + [1] * 12),
    "all equal and on an edge": Case([0.6] * 16, [1, 0] * 8),
    "ties across one border of bins": Case(tied(15, 16), [1, 0] * 7 + [1, 1, 0, 0] + [1, 0] * 6),
    "ties across three bins": Case(tied(15, 18), [1, 0] * 7 + [1, 1, 1, 0, 0, 0] + [1, 0] * 5),
    "two groups of ties in one bin": Case([0.5] * 23 + [0.9] * 22, [0] * 20 + [1] * 3 + [1] * 20 + [0] * 2),
    "ties at the smallest confidence": Case([0.1] * 7 + spread(24)[1:], [1, 1, 0, 0, 0, 0, 0] + [1] * 23),
    "ties in float32 alone": Case([0.7, 0.7 + 1e-10] * 8, [1, 0] * 8, dtype=torch.float32),
    "nearly equal, no ties": Case([0.7, 0.7 + 1e-10] * 8, [1, 0] * 8),
    "one image, right": Case([0.3], [1]),
    "one image, wrong": Case([0.3], [0]),
    "14 images": Case(spread(14), [1, 0] * 7),
    "15 images": Case(spread(15), [1, 0] * 7 + [1]),
    "16 images": Case(spread(16), [1, 0] * 8),
    "31 images": Case(spread(31), [1, 1, 0] * 10 + [1]),
    "two classes": Case([0.51, 0.6, 0.99, 0.8, 0.75], [1, 0, 1, 1, 0], classes=2),
    "two classes of equal probability": Case([0.5] * 3, [1, 0, 1], classes=2),
    "ten classes of equal probability": Case([0.1] * 3, [1, 0, 1], classes=10),
    "one class": Case([1.0] * 3, [1] * 3, classes=1),
    "bfloat16": Case(spread(40), [1, 0] * 20, dtype=torch.bfloat16),
    "empty": Case([], []),
    "one NaN": Case([0.3, nan, 0.9], [1, 0, 1]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_errors_equal_their_definition_in_any_order_of_the_images(case):
    p, y = probabilities(case)
    expected = reference_ece(p, y), reference_adaptive_ece(p, y)
    random = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    for order in (torch.arange(len(y)), torch.arange(len(y)).flip(0), random):
        measured = ece(p[order], y[order]), adaptive_ece(p[order], y[order])
        assert measured == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


def test_a_confidence_of_one_is_in_the_last_bin():
    """Of two images in one bin, |(0 - 1) + (1 - 0.95)| / 2. In two bins it would be (1 + 0.05) / 2 = 0.525."""
    assert ece(torch.tensor([[1.0, 0.0], [0.95, 0.05]], dtype=torch.float64), torch.tensor([1, 0])) == 0.475


@pytest.mark.parametrize(
    ("neighbour", "expected"),
    [(0.19, (0.8 - 0.19) / 2), (0.21, (0.2 + 0.79) / 2)],  # in one bin; in two bins
)
def test_a_confidence_on_an_edge_is_in_the_lower_bin(neighbour, expected):
    p, y = probabilities(Case([0.2, neighbour], [0, 1]))
    assert ece(p, y) == pytest.approx(expected, abs=1e-12)


def test_equal_confidences_share_their_accuracy():
    """Sixteen images are two in the first bin and one in each other. Each counts as half right: |0.5 - 0.75|."""
    p, y = probabilities(Case([0.75] * 16, [1] * 8 + [0] * 8))
    assert adaptive_ece(p, y) == 0.25
    assert adaptive_ece(p.flip(0), y.flip(0)) == 0.25


def test_ece_without_images_or_with_nan_is_nan():
    p = torch.tensor([[0.8, 0.1, 0.1], [0.8, nan, 0.2]])
    for measure in (ece, adaptive_ece):
        assert math.isnan(measure(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
        assert math.isnan(measure(p, torch.tensor([0, 0])))
        assert measure(p[:1], torch.tensor([0])) == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [2, 10, 100])
def test_ece_agrees_with_torchmetrics_where_no_confidence_is_on_an_edge(k, dtype):
    from torchmetrics.functional.classification import multiclass_calibration_error  # Its import takes seconds.

    g = torch.Generator().manual_seed(k)
    p = torch.randn(1000, k, generator=g).mul(2).to(dtype).softmax(-1)
    y = torch.randint(k, (1000,), generator=g)
    distance = (p.amax(-1, keepdim=True).double() - torch.tensor(EDGES, dtype=torch.float64)).abs()
    clear = distance.amin(-1) > 1e-6
    assert clear.sum() > 990
    p, y = p[clear], y[clear]
    expected = multiclass_calibration_error(p, y, num_classes=k, n_bins=15, norm="l1").item()
    assert expected > 0.1
    assert ece(p, y) == pytest.approx(expected, abs=1e-6)
