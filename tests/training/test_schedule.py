"""The learning rate of each epoch, and how a budget scales the schedule."""

import pytest

from lls.config.compose import compose
from lls.training.schedule import make_schedule, scale_epochs


def learning_rates(*overrides):
    cfg = compose(overrides)
    schedule = make_schedule(cfg.train, cfg.budget)
    return [schedule.lr(epoch) for epoch in range(schedule.epochs)]


def test_cifar_has_ten_epochs_of_warm_up_and_two_milestones():
    """Counted from 1, the 150th and the 225th epoch are the first at a tenth of the learning rate before."""
    lr = learning_rates("dataset=cifar100")
    assert len(lr) == 300
    assert lr[:10] == pytest.approx([0.01 * e for e in range(1, 11)])
    assert lr[148:150] == pytest.approx([0.1, 0.01])
    assert lr[223:225] == pytest.approx([0.01, 0.001])
    assert lr[299] == pytest.approx(0.001)


def test_fashionmnist_has_five_epochs_of_warm_up_and_two_milestones():
    lr = learning_rates("dataset=fashionmnist")
    assert lr[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert [e + 1 for e in range(1, 200) if lr[e] < 0.5 * lr[e - 1]] == [100, 150]


def test_the_rate_is_a_pure_function_of_the_epoch():
    schedule = make_schedule(compose(["dataset=cifar10"]).train, 1.0)
    assert [schedule.lr(e) for e in (299, 0, 150)] == pytest.approx([0.001, 0.01, 0.01])


@pytest.mark.parametrize(
    ("epochs", "budget", "scaled"),
    [
        *((300, 1.0, 300), (300, 0.05, 15), (150, 0.05, 8), (225, 0.05, 11), (10, 0.05, 1)),  # 7.5 -> 8, 0.5 -> 1
        *((150, 0.35, 53), (5, 0.05, 1), (0, 1.0, 1), (200, 0.001, 1), (90, 0.015, 1), (100, 0.005, 1)),
    ],
)
def test_budget_rounds_half_up_to_at_least_one(epochs, budget, scaled):
    assert scale_epochs(epochs, budget) == scaled


def test_budget_scales_epochs_warm_up_and_milestones():
    cfg = compose(["dataset=cifar100"])
    assert make_schedule(cfg.train, 0.05)[:4] == (15, 0.1, 1, (8, 11))
    assert make_schedule(cfg.train, 0.1)[:4] == (30, 0.1, 1, (15, 23))


def test_however_small_the_budget_the_first_epoch_is_at_the_full_rate():
    cfg = compose(["dataset=digits"])
    assert make_schedule(cfg.train, 0.05)[::3] == (2, (2, 2))
    assert make_schedule(cfg.train, 0.001).lr(0) == cfg.train.lr
    early = compose(["dataset=digits", "train.milestones=[1]"])
    assert make_schedule(early.train, 0.05).milestones == (1,)
