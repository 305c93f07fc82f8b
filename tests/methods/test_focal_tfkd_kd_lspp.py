"""Focal losses, TF-KD, KD and LS++ against their formulas. Values of the official code are in test_golden.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from loss_cases import case, gradient

from lls.losses.divergences import entropy
from lls.methods.flsd import FLSD
from lls.methods.focal import Focal
from lls.methods.kd import KD
from lls.methods.ls import LS
from lls.methods.lspp import LSPP
from lls.methods.onehot import OneHot
from lls.methods.tfkd_reg import TFKDReg
from lls.methods.tfkd_self import TFKDSelf


def test_focal_with_gamma_zero_is_cross_entropy():
    z, y = case()
    torch.testing.assert_close(Focal(7, gamma=0.0)(z, y), F.cross_entropy(z, y))
    torch.testing.assert_close(gradient(Focal(7, gamma=0.0)(z, y), z), gradient(F.cross_entropy(z, y), z))


def test_focal_gradient_in_closed_form():
    z, y = case()
    p = z.detach().softmax(-1).gather(1, y[:, None])
    w = (1 - p) ** 3 - 3 * p * (1 - p) ** 2 * p.log()
    expected = (z.detach().softmax(-1) - F.one_hot(y, 7)) * w / len(y)
    torch.testing.assert_close(gradient(Focal(7)(z, y), z), expected, rtol=1e-9, atol=1e-12)


def test_focal_with_gamma_below_one_has_a_finite_gradient_at_probability_one():
    z = torch.tensor([[200.0, 0.0]], requires_grad=True)
    assert torch.isfinite(gradient(Focal(2, gamma=0.5)(z, torch.tensor([0])), z)).all()


@pytest.mark.parametrize(("p", "gamma"), [(0.19, 5.0), (0.2, 3.0), (0.5, 3.0), (0.9, 3.0)])
def test_flsd_has_gamma_five_below_a_fifth_and_three_above(p, gamma):
    log_p = torch.tensor([p], dtype=torch.float32).log()
    assert FLSD(3).exponent(log_p).item() == gamma or abs(log_p.exp().item() - 0.2) < 1e-7


@pytest.mark.parametrize(("k", "t", "a", "m"), [(100, 20.0, 0.1, 100.0), (100, 40.0, 0.95, 1.0), (10, 20.0, 0.1, None)])
def test_tfkd_reg_is_scaled_label_smoothing(k, t, a, m):
    """Its gradient is w times that of label smoothing with another alpha. With the official setting of ResNet-18 on
    CIFAR-100, w = 1 and alpha is 0.09995."""
    z, y = case(k)
    u_off, u_on = 0.01 / (k - 1), 0.99
    q_off = math.exp(u_off / t) / (math.exp(u_on / t) + (k - 1) * math.exp(u_off / t))
    weight = a * (k if m is None else m) / k
    w = (1 - a) + weight
    alpha = k * weight * q_off / w
    actual = gradient(TFKDReg(k, t, a, m)(z, y), z)
    torch.testing.assert_close(actual, w * gradient(LS(k, alpha)(z, y), z), rtol=1e-9, atol=1e-12)
    if (k, t, a, m) == (100, 20.0, 0.1, 100.0):
        assert w == pytest.approx(1)
        assert alpha == pytest.approx(0.1, abs=6e-5)


def test_tfkd_reg_of_the_paper_divides_the_students_logits_by_the_temperature():
    z, y = case()
    q = torch.full((16, 7), 0.01 / 6, dtype=torch.float64).scatter(1, y[:, None], 0.99).div(20).softmax(-1)
    log_p = (z / 20).log_softmax(-1)
    expected = 0.9 * F.cross_entropy(z, y) + 0.1 * (q * (q.log() - log_p)).sum(-1).mean()
    torch.testing.assert_close(TFKDReg(7, form="paper")(z, y), expected)


@pytest.mark.parametrize("make", [lambda t: KD(7, t), lambda t: TFKDSelf(7, t, a=1.0, temperature=6.0)])
def test_a_student_equal_to_its_teacher_has_no_gradient(make):
    z, y = case()
    assert gradient(make(lambda x: z.detach())(z, y), z).abs().max() < 1e-15


def test_a_teacher_is_not_a_submodule_of_the_method():
    net = torch.nn.Linear(7, 7)
    method = KD(7, lambda x: net(x))
    assert not list(method.parameters())
    assert not method.state_dict()
    method.train()
    method.eval()
    assert net.training


def test_lspp_gives_the_true_class_exactly_one_minus_alpha():
    z, y = case()
    method = LSPP(7, alpha=0.3).double()
    q = method.q_logits().softmax(-1)
    assert not q.diagonal().any()
    assert torch.allclose(q.sum(-1), torch.ones(7, dtype=torch.float64))
    loss = method(z, y)
    p = z.detach().softmax(-1)
    t = 0.7 * F.one_hot(y, 7).double() + 0.3 * q[y]
    expected = 0.5 * (-(p * (t + 1e-6).log()).sum(-1) - (t * (p + 1e-6).log()).sum(-1)).mean()
    torch.testing.assert_close(loss, expected)


def test_entropy_of_a_uniform_distribution():
    assert entropy(torch.full((5,), math.log(1 / 5))).item() == pytest.approx(math.log(5))
    assert OneHot(5)(torch.zeros(1, 5), torch.tensor([0])).item() == pytest.approx(math.log(5))
