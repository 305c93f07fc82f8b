"""The measures of a finished run, compared with their definitions and with values that are known in advance."""

import math

import pytest
import torch

from lls.data.superclasses import CIFAR100, superclasses
from lls.training.evaluate import evaluate
from lls.training.metrics import (
    confusion_matrix,
    fit_temperature,
    group_accuracy,
    matrix_measures,
    measures,
    predict_classes,
)


def predictions(n=4000, k=10, scale=2.0, seed=0):
    """Logits, and labels drawn from their softmax: calibrated, except for chance."""
    g = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(n, k, generator=g, dtype=torch.float64)
    return z, torch.multinomial(z.softmax(-1), 1, generator=g).squeeze(1)


def test_measures_of_calibrated_predictions():
    z, y = predictions(n=20000)
    result = measures(z, y)
    assert result["ece"] < 0.02
    assert result["adaptive_ece"] < 0.02
    assert result["temperature"] == pytest.approx(1, abs=0.05)
    p = z.softmax(-1)
    assert result["top1"] == pytest.approx(100 * (p.argmax(-1) == y).double().mean().item())
    assert result["nll"] == pytest.approx(-p.log().gather(1, y[:, None]).mean().item())
    assert result["brier"] == pytest.approx(
        sum((p[:, j] - (y == j).double()).square().mean().item() for j in range(10))
    )
    fifth = p.topk(5).values[:, -1:]
    assert result["top5"] == pytest.approx(100 * (p.gather(1, y[:, None]) >= fifth).double().mean().item())


@pytest.mark.parametrize("t", [0.5, 3.0])
def test_temperature_scaling_undoes_a_temperature(t):
    z, y = predictions(n=20000)
    assert fit_temperature(t * z, y) == pytest.approx(t, rel=0.05)
    result = measures(t * z, y)
    assert result["ece_tempered"] < 0.02 < result["ece_untempered"]


def test_temperature_is_fitted_and_reported_on_different_halves():
    z, y = predictions(n=1000)
    same, other = measures(3 * z, y, seed=0), measures(3 * z, y, seed=1)
    assert same == measures(3 * z, y, seed=0)
    assert same["temperature"] != other["temperature"]
    assert same["ece"] == other["ece"]


def test_measures_of_few_classes_and_perfect_predictions():
    result = measures(torch.tensor([[50.0, 0], [0, 50.0], [50.0, 0], [0, 50.0]]), torch.tensor([0, 1, 0, 1]))
    assert (result["top1"], result["top5"]) == (100, 100)
    assert result["ece"] < 1e-6
    assert all(math.isfinite(value) for value in result.values())


def test_confusion_matrix_has_true_classes_as_rows():
    logits = torch.eye(3)[[0, 1, 1, 2, 0]]
    assert confusion_matrix(logits, torch.tensor([0, 1, 2, 2, 2])).tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


# Rows with a NaN in the first, in another or in each class. Only the fourth row, of class 2, is a prediction.
WITH_NAN = torch.tensor([[math.nan, 0, 1], [0, 1, math.nan], [math.nan] * 3, [0, 1, 2]])


@pytest.mark.parametrize("label", [0, 1, 2])
def test_logits_with_nan_are_no_class_and_wrong_whatever_the_label(label):
    y = torch.tensor([label, label, label, 2])
    assert predict_classes(WITH_NAN).tolist() == [-1, -1, -1, 2]
    measured = measures(WITH_NAN, y)
    assert (measured["top1"], measured["top5"]) == (25, 25)
    assert all(math.isnan(measured[key]) for key in ("nll", "confidence", "ece", "adaptive_ece", "brier"))
    assert group_accuracy(WITH_NAN, y, torch.tensor([0, 0, 0])) == 25
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    confusion[2, 2] = 1
    assert torch.equal(confusion_matrix(WITH_NAN, y), confusion)


def test_an_epoch_counts_logits_with_nan_as_wrong():
    net = torch.nn.Identity()
    net.forward = lambda x: (x, x)
    y = torch.tensor([0, 2, 0, 2])
    measured = evaluate(net, [(WITH_NAN[:2], y[:2]), (WITH_NAN[2:], y[2:])])
    assert measured["top1"] == 25
    assert all(math.isnan(measured[key]) for key in ("nll", "ece", "confidence"))


def test_the_first_of_equal_logits_is_the_predicted_class():
    logits = torch.tensor([[1.0, 2, 2], [0, 0, 0], [-math.inf, -math.inf, math.inf]])
    assert predict_classes(logits).tolist() == [1, 0, 2]


def test_the_temperature_of_logits_with_nan_is_nan():
    assert math.isnan(fit_temperature(WITH_NAN.double(), torch.tensor([0, 0, 0, 2])))


def test_measures_of_a_learned_matrix():
    confusion = torch.tensor([[90, 8, 2, 0], [5, 90, 4, 1], [0, 0, 100, 0], [1, 2, 3, 94]])
    similar = matrix_measures((confusion + 1.0).log(), confusion)
    assert similar["q_confusion"] == pytest.approx(1)
    assert matrix_measures(-(confusion + 1.0).log(), confusion)["q_confusion"] == pytest.approx(-1)
    uniform = matrix_measures(torch.zeros(4, 4), confusion)
    assert uniform == {"q_diagonal": 0.25, "q_entropy": pytest.approx(math.log(4))}  # A constant row has no ranks.
    zero_diagonal = matrix_measures(torch.zeros(4, 4).fill_diagonal_(-torch.inf), confusion)
    assert zero_diagonal["q_diagonal"] == 0
    assert zero_diagonal["q_entropy"] == pytest.approx(math.log(3))


def test_cifar_100_has_twenty_superclasses():
    names = sorted(name for group in CIFAR100.values() for name in group.split())
    assert (len(CIFAR100), len(names), len(set(names))) == (20, 100, 100)
    groups = superclasses("cifar100", names)
    assert groups.bincount().tolist() == [5] * 20
    assert superclasses("cifar10", names[:10]) is None
    assert superclasses("cifar100", ["my", "own"]) is None
    logits = torch.eye(100)[[names.index(n) for n in ("maple_tree", "boy", "worm")]]
    y = torch.tensor([names.index(n) for n in ("oak_tree", "boy", "snake")])
    assert group_accuracy(logits, y, groups) == pytest.approx(200 / 3)
