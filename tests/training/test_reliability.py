"""reliability.csv: the bins of the ECE, in a run's folder."""

import csv
import math

import pytest
import torch
from results import compose_run

from lls.training.execute import execute
from lls.training.metrics import ece
from lls.training.reliability import ece_of_bins, load_reliability, reliability, save_reliability


def logits_of(confidence):
    """Logits of two classes: the probability of class 0 is `confidence`."""
    p = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()], 1)


def test_a_bin_has_the_number_mean_confidence_and_accuracy_of_its_images():
    bins = reliability(logits_of([0.61, 0.63, 0.95, 0.99]), torch.tensor([0, 1, 0, 0]))
    assert [(b.lower, b.upper) for b in bins] == [(m / 15, (m + 1) / 15) for m in range(15)]
    assert [b.count for b in bins] == [0] * 9 + [2, 0, 0, 0, 0, 2]
    assert bins[9][3:] == (pytest.approx(0.62), 0.5)
    assert bins[14][3:] == (pytest.approx(0.97), 1)
    assert math.isnan(bins[0].accuracy)
    assert ece_of_bins(bins) == pytest.approx((2 * 0.12 + 2 * 0.03) / 4)


def test_the_bins_give_the_ece():
    generator = torch.Generator().manual_seed(0)
    logits, y = 3 * torch.randn(500, 7, generator=generator), torch.randint(7, (500,), generator=generator)
    assert ece_of_bins(reliability(logits, y)) == pytest.approx(ece(logits.double().softmax(1), y), rel=1e-12)


def test_a_file_that_is_read_again_has_the_same_bins(tmp_path):
    bins = reliability(logits_of([0.61, 0.63, 0.95]), torch.tensor([0, 1, 0]))
    save_reliability(tmp_path / "reliability.csv", bins)
    assert str(load_reliability(tmp_path / "reliability.csv")) == str(bins)  # as text, because nan is not equal to nan
    with open(tmp_path / "reliability.csv", newline="") as file:
        first, *_ = csv.DictReader(file)
    assert first == {"lower": "0.0", "upper": str(1 / 15), "count": "0", "confidence": "", "accuracy": ""}


def test_a_run_writes_bins_whose_ece_is_that_of_its_result(overrides, run_script, tmp_path):
    run = compose_run("train.epochs=2", *overrides)
    result = execute(run)
    path = run.folder / "reliability.csv"
    bins = load_reliability(path)
    assert ece_of_bins(bins) == pytest.approx(result["ece"], rel=1e-12)
    assert sum(b.count * b.accuracy for b in bins if b.count) == pytest.approx(result["top1"] / 100 * 360)

    content = path.read_text()
    path.unlink()
    assert run_script("evaluate.py", run.folder, "--record")[0] == 0
    assert path.read_text() == content
    path.write_text("recorded")
    assert run_script("evaluate.py", run.folder, "--record")[0] == 0
    assert path.read_text() == "recorded"
