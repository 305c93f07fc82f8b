"""Claims about rows of tables, gradients, parameters and times: what each compares."""

import json

import pytest
from claims import ANIMALS, OVERCONFIDENT, Q_RUN

from lls.paper.claims import computed, rows
from lls.paper.rules import decide


def test_accuracy_is_paired_by_seed_within_a_column(finish, results):
    for method, augment, top1 in (("onehot", "cutout", 86.0), ("lls", "cutout", 88.0), ("lls", "none", 99.0)):
        finish(ANIMALS | {"method": method, "augment": augment, "seed": 0}, top1=top1)
    evidence = rows.above(results, ["8"], [["Co + LLS", "Co"]], by=0.5)
    (comparison,) = evidence.comparisons
    assert (comparison.mean, comparison.margin, comparison.columns) == (2.0, 0.5, (2.0,))
    assert comparison.standard_error is None
    assert "+2.00" in evidence.measured
    assert len(results.needed) == 12  # two rows, two columns, three seeds


def test_best_counts_the_columns_in_which_a_row_is_highest(finish, results):
    for method, top1 in (("onehot", 85.0), ("lls", 84.0)):
        for dataset, network in (("cifar10", "alexnet"), ("fashionmnist", "alexnet")):
            bonus = 2.0 * (method == "lls" and dataset == "cifar10")
            finish({"dataset": dataset, "network": network, "method": method, "seed": 0}, top1=top1 + bonus)
    evidence = rows.best(results, ["3"], "LLS")
    assert evidence.measured.startswith("best in 1 of 2 columns; LLS above 1-Hot by +0.00")
    assert [c.mean for c in evidence.comparisons] == [0.0, None, None, None]


def test_a_single_column_uses_the_spread_of_all_its_rows(finish, results):
    for seed, lls, ols, ls in ((0, 80.0, 80.2, 79.0), (1, 80.0, 80.2, 80.0), (2, 80.0, 80.2, 81.0)):
        cub = {"dataset": "cub200", "network": "mobilenetv2", "seed": seed}
        for method, top1 in (("lls", lls), ("ols_fine", ols), ("ls", ls)):
            finish(cub | {"method": method}, top1=top1)
    (comparison,) = rows.above(results, ["1"], [["OLS", "LLS"]], columns=["CUB-200 MV2"]).comparisons
    assert comparison.dof == 6
    assert comparison.standard_error == pytest.approx((2 / 6 * 2 / 3) ** 0.5)  # s² = (0 + 0 + 2) / 6
    assert len(results.needed) == 15  # all rows of the column, since its spread is pooled over them


def test_overfitting_and_overconfidence(finish, results):
    better = OVERCONFIDENT | {"nll": 0.3, "confidence": 0.93, "train_top1": 97.0, "ece": 0.03}
    run = {"dataset": "fashionmnist", "network": "alexnet", "seed": 0}
    finish(run | {"method": "onehot"}, **OVERCONFIDENT)
    finish(run | {"method": "lls"}, **better)
    measures = ["accuracy gap", "NLL gap", "ECE", "overconfidence"]
    evidence = rows.lower(results, ["3"], "LLS", "1-Hot", measures)
    assert [c.mean for c in evidence.comparisons] == pytest.approx([2.0, 0.1, 2.0, 4.0])


def test_sharper_targets_have_less_entropy_and_a_larger_diagonal(finish, results):
    run = {"dataset": "cub200", "network": "resnet18", "seed": 0, "method": "lls"}
    finish(run, q_entropy=3.0, q_diagonal=0.1)
    finish(run | {"method.terms": "fce_only"}, q_entropy=1.0, q_diagonal=0.6)
    assert [c.mean for c in rows.sharper(results, ["4"], "FCE only", "LLS").comparisons] == pytest.approx([2.0, 0.5])


def test_level_of_a_measure(finish, results):
    for seed, diagonal in ((0, 0.99), (1, 0.97)):
        finish({"dataset": "svhn", "network": "lenet", "method": "ols", "seed": seed}, q_diagonal=diagonal)
    (comparison,) = rows.share(results, ["3"], "OLS", "Q's diagonal", 0.9).comparisons
    assert (comparison.mean, comparison.margin, comparison.dof) == (pytest.approx(0.98), 0.9, 1)


def test_alpha_outside_is_compared_with_the_mean_inside(finish, results):
    """The variance of the contrast is s² (1/4 + 1/4 + 1) per seed, with s² of the two runs at α = 0.1."""
    for alpha, seed, top1 in ((0.1, 0, 80.0), (0.1, 1, 82.0), (0.2, 0, 82.0), (0.5, 0, 70.0)):
        finish(Q_RUN | {"method.alpha": alpha, "seed": seed}, top1=top1)
    missing, outside = rows.best_alpha(results, [Q_RUN], [0.1, 0.2], [0.05, 0.5]).comparisons
    assert missing.mean is None
    assert (outside.mean, outside.dof) == (11.0, 1)
    assert outside.standard_error == pytest.approx((2 * 1.5) ** 0.5)


@pytest.mark.parametrize(("k", "low", "high"), [(10, 12, 22), (100, 12, 22), (200, 12, 22)])
def test_ratio_of_gradients_at_the_start(k, low, high):
    """The documented ratios: 12 to 22 for the forward KL, 2 to 2.6 for the reverse KL."""
    assert low < computed.ratio("forward KL", k, None) < high
    assert 2 < computed.ratio("reverse KL", k, None) < 2.6


def test_ratio_of_gradients_at_high_confidence():
    assert 1 < computed.ratio("forward KL", 100, 0.85) < 9


def test_parameters(results):
    assert "+0.345 %" in computed.parameters(results, ["resnet18"], "tinyimagenet", 0.3).measured
    assert decide(computed.q_parameters(results, 21000, 441, 1.0).comparisons).label == "reproduced"
    assert decide(computed.q_parameters(results, 21841, 441, 1.0).comparisons).label == "not reproduced"


def test_tfkd_reg_is_label_smoothing(results):
    """The official setting of ResNet-18 on CIFAR-100 is LS(0.09995)."""
    evidence = computed.tfkd_reg_is_ls(results, 100, ["tfkd_reg"], 1e-12)
    assert evidence.measured.startswith("tfkd_reg: 1 · LS(0.0999")
    assert decide(evidence.comparisons).label == "reproduced"


def test_training_time_is_compared_round_by_round(results):
    (results.output / "timing").mkdir()
    steps = {"onehot": [1.0, 2.0, 1.5], "lls": [1.01, 2.02, 1.515], "ols": [1.1, 2.2, 1.65]}
    (results.output / "timing" / "tinyimagenet-resnet18.json").write_text(json.dumps({"seconds_of_a_step": steps}))
    evidence = computed.minutes(results, ["resnet18", "resnet101"], "tinyimagenet", below=2.0)
    assert [c.mean and c.distance for c in evidence.comparisons] == [pytest.approx(1.0), None]
    assert evidence.measured == "resnet18 +1.00 % over 3 rounds"
    slower = computed.minutes(results, ["resnet18"], "tinyimagenet", method="ols", above=5.0).comparisons
    assert decide(slower).label == "reproduced"
