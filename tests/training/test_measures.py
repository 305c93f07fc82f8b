"""The measures of a finished run, against their definitions written out and against what is known of them."""

import math

import pytest
import torch

from lls.data.superclasses import CIFAR100, superclasses
from lls.training.metrics import (
    adaptive_ece,
    confusion_matrix,
    ece,
    fit_temperature,
    group_accuracy,
    matrix_measures,
    measures,
)


def predictions(n=4000, k=10, scale=2.0, seed=0):
    """Logits and labels drawn from their own softmax: calibrated by construction, but for chance."""
    g = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(n, k, generator=g, dtype=torch.float64)
    return z, torch.multinomial(z.softmax(-1), 1, generator=g).squeeze(1)


def binned(p, y, bins):
    """Σ share |accuracy - confidence| over given bins of image indices."""
    confidence, predicted = p.max(-1)
    right = (predicted == y).double()
    return sum(len(b) / len(y) * abs(right[b].mean() - confidence[b].mean()) for b in bins if len(b)).item()


def test_ece_is_that_of_fifteen_bins_of_equal_width():
    from torchmetrics.functional.classification import multiclass_calibration_error  # takes seconds to import

    z, y = predictions()
    p = z.softmax(-1)
    place = (p.amax(-1) * 15).ceil().clamp(1, 15) - 1
    assert ece(p, y) == pytest.approx(binned(p, y, [(place == i).nonzero()[:, 0] for i in range(15)]), abs=1e-7)
    assert ece(p, y) == multiclass_calibration_error(p, y, num_classes=10, n_bins=15, norm="l1").item()


def test_adaptive_ece_is_that_of_fifteen_bins_of_equal_numbers():
    z, y = predictions(n=1000)
    p = z.softmax(-1)
    bins = p.amax(-1).argsort(stable=True).tensor_split(15)
    assert {len(b) for b in bins} == {66, 67}
    assert adaptive_ece(p, y) == pytest.approx(binned(p, y, bins), abs=1e-12)


def test_of_predictions_that_are_calibrated():
    z, y = predictions(n=20000)
    got = measures(z, y)
    assert got["ece"] < 0.02
    assert got["adaptive_ece"] < 0.02
    assert got["temperature"] == pytest.approx(1, abs=0.05)
    p = z.softmax(-1)
    assert got["top1"] == pytest.approx(100 * (p.argmax(-1) == y).double().mean().item())
    assert got["nll"] == pytest.approx(-p.log().gather(1, y[:, None]).mean().item())
    assert got["brier"] == pytest.approx(sum((p[:, j] - (y == j).double()).square().mean().item() for j in range(10)))
    fifth = p.topk(5).values[:, -1:]
    assert got["top5"] == pytest.approx(100 * (p.gather(1, y[:, None]) >= fifth).double().mean().item())


@pytest.mark.parametrize("t", [0.5, 3.0])
def test_temperature_scaling_undoes_a_temperature(t):
    z, y = predictions(n=20000)
    assert fit_temperature(t * z, y) == pytest.approx(t, rel=0.05)
    got = measures(t * z, y)
    assert got["ece_tempered"] < 0.02 < got["ece_untempered"]


def test_temperature_is_fitted_and_reported_on_different_halves():
    z, y = predictions(n=1000)
    same, other = measures(3 * z, y, seed=0), measures(3 * z, y, seed=1)
    assert same == measures(3 * z, y, seed=0)
    assert same["temperature"] != other["temperature"]
    assert same["ece"] == other["ece"]


def test_few_classes_and_perfect_predictions():
    got = measures(torch.tensor([[50.0, 0], [0, 50.0], [50.0, 0], [0, 50.0]]), torch.tensor([0, 1, 0, 1]))
    assert (got["top1"], got["top5"]) == (100, 100)
    assert got["ece"] < 1e-6
    assert all(math.isfinite(value) for value in got.values())


def test_confusion_matrix():
    logits = torch.eye(3)[[0, 1, 1, 2, 0]]
    assert confusion_matrix(logits, torch.tensor([0, 1, 2, 2, 2])).tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_measures_of_a_matrix():
    confusion = torch.tensor([[90, 8, 2, 0], [5, 90, 4, 1], [0, 0, 100, 0], [1, 2, 3, 94]])
    alike = matrix_measures((confusion + 1.0).log(), confusion)
    assert alike["q_confusion"] == pytest.approx(1)
    assert matrix_measures(-(confusion + 1.0).log(), confusion)["q_confusion"] == pytest.approx(-1)
    uniform = matrix_measures(torch.zeros(4, 4), confusion)
    assert uniform == {"q_diagonal": 0.25, "q_entropy": pytest.approx(math.log(4))}  # a constant row has no ranks
    never = matrix_measures(torch.zeros(4, 4).fill_diagonal_(-torch.inf), confusion)
    assert never["q_diagonal"] == 0
    assert never["q_entropy"] == pytest.approx(math.log(3))


def test_superclasses_of_cifar_100():
    names = sorted(name for group in CIFAR100.values() for name in group.split())
    assert (len(CIFAR100), len(names), len(set(names))) == (20, 100, 100)
    groups = superclasses("cifar100", names)
    assert groups.bincount().tolist() == [5] * 20
    assert superclasses("cifar10", names[:10]) is None
    assert superclasses("cifar100", ["my", "own"]) is None
    logits = torch.eye(100)[[names.index(n) for n in ("maple_tree", "boy", "worm")]]
    y = torch.tensor([names.index(n) for n in ("oak_tree", "boy", "snake")])
    assert group_accuracy(logits, y, groups) == pytest.approx(200 / 3)
