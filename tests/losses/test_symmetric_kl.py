"""The LLS loss against the paper's closed forms, its claims, and numbers computed elsewhere."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import entropy, kl
from lls.losses.symmetric_kl import symmetric_kl
from lls.methods.base import Batch
from lls.methods.lls import LLS, TERM_WEIGHTS
from lls.methods.ls import LS
from lls.methods.onehot import OneHot

ALPHAS = (0.05, 0.1, 0.5, 0.999, 1.0)


def case(k=7, b=16, alpha=0.1, spread=2.0, seed=0, **keys) -> tuple[LLS, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    method = LLS(k, alpha=alpha, **keys).double()
    with torch.no_grad():
        method.q.copy_(spread * torch.randn(k, k, generator=g, dtype=torch.float64))
    z = spread * torch.randn(b, k, generator=g, dtype=torch.float64)
    return method, z.requires_grad_(), torch.randint(k, (b,), generator=g)


def one_hot(y: Tensor, k: int) -> Tensor:
    """In float64: a number times the int64 that PyTorch's gives would be float32, as in the paper's pseudo-code."""
    return F.one_hot(y, k).double()


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of, allow_unused=True)


def closed_forms(method: LLS, z: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Per-sample gradients to the logits `[B, K]` and to Q_y `[B, K]`, written from the formulas with plain
    probabilities: Eqs. 9, 16 and 18, and the one of the reverse KL to the logits, which the paper leaves out."""
    a, p, q = method.alpha, z.detach().softmax(-1), method.q.detach()[y].softmax(-1)
    t = (1 - a) * one_hot(y, z.shape[1]) + a * q
    ratio, log_ratio = p / t, (p / t).log()
    reverse = (p * log_ratio).sum(-1, keepdim=True)
    return {
        "forward_kl": (p - t, a * q * ((q * log_ratio).sum(-1, keepdim=True) - log_ratio)),
        "reverse_kl": (p * (log_ratio - reverse), a * q * ((q * ratio).sum(-1, keepdim=True) - ratio)),
    }


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("row", ["forward_kl", "reverse_kl"])
def test_gradients_equal_the_papers_formulas(alpha, row):
    method, z, y = case(alpha=alpha, scale=1.0, terms=row)
    to_z, to_q = gradients(method(z, y), z, method.q)
    expected_z, expected_rows = closed_forms(method, z, y)[row]
    expected_q = torch.zeros_like(method.q).index_add_(0, y, expected_rows)
    torch.testing.assert_close(to_z, expected_z / len(y), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(to_q, expected_q / len(y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_loss_is_the_symmetric_kl(alpha):
    method, z, y = case(alpha=alpha, scale=0.5)
    t = (1 - alpha) * one_hot(y, 7) + alpha * method.q[y].softmax(-1)
    expected = (kl(t.log(), z.log_softmax(-1)) + kl(z.log_softmax(-1), t.log())).mean() / 2
    torch.testing.assert_close(method(z, y), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("k", "forward", "reverse"),
    [
        (10, 1.802297057936, 1.851499142342),
        (100, 3.827373144111, 2.234550040418),
        (200, 4.447650566337, 2.265104606268),
    ],
)
def test_values_at_zero_logits_and_zero_q(k, forward, reverse):
    """z = 0, Q = 0, alpha = 0.1: numbers that can be worked out by hand."""
    z, y = torch.zeros(3, k, dtype=torch.float64), torch.tensor([0, 1, k - 1])
    values = {row: LLS(k, terms=row).double()(z, y).item() for row in ("forward_kl", "reverse_kl", "lls")}
    assert values == pytest.approx(
        {"forward_kl": forward / 2, "reverse_kl": reverse / 2, "lls": (forward + reverse) / 2}, abs=1e-12
    )


def test_the_first_target_is_that_of_label_smoothing():
    """Q = 0: H(t, p̂) is the label-smoothing loss, and so is its gradient."""
    _, z, y = case()
    lls, ls = LLS(7, scale=1.0, terms="fce_only").double()(z, y), LS(7, alpha=0.1)(z, y)
    torch.testing.assert_close(lls, ls, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(lls, z), gradients(ls, z), rtol=1e-9, atol=1e-12)


def test_loss_and_gradients_are_zero_if_the_prediction_equals_the_target():
    method, _, y = case()
    z = ((1 - 0.1) * one_hot(y, 7) + 0.1 * method.q.detach()[y].softmax(-1)).log().requires_grad_()
    loss = method(z, y)
    assert abs(loss.item()) < 1e-15
    assert all(g.abs().max() < 1e-15 for g in gradients(loss, z, method.q))


def test_rows_of_absent_classes_have_zero_gradient():
    method, z, _ = case(k=7)
    y = torch.tensor([1, 4] * 8)
    (to_q,) = gradients(method(z, y), method.q)
    assert not to_q[[0, 2, 3, 5, 6]].any()
    assert to_q[[1, 4]].abs().sum() > 0
    assert to_q.sum(-1).abs().max() < 1e-15  # the softmax leaves no gradient along the all-ones direction


@pytest.mark.parametrize("alpha", [1e-4, *ALPHAS])
@pytest.mark.parametrize("k", [2, 10, 200])
@pytest.mark.parametrize("spread", [0.1, 3.0, 1e3])
def test_the_closed_form_is_the_sum_of_the_literal_terms(k, alpha, spread):
    """Value and both gradients, to 1e-9 of what the terms and autograd give; a weight of the loss included."""
    method, z, y = case(k=k, b=32, alpha=alpha, spread=spread)
    closed, literal = 3 * method(z, y), 1.5 * sum(term.mean() for term in method.terms(Batch(z, y)))
    torch.testing.assert_close(closed, literal, rtol=1e-9, atol=1e-12)
    for a, b in zip(gradients(closed, z, method.q), gradients(literal, z, method.q), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12 * spread)


def test_the_closed_form_does_not_change_its_arguments():
    method, z, y = case()
    before = z.detach().clone(), method.q.detach().clone()
    loss = symmetric_kl(z, method.q, y)
    first = torch.autograd.grad(loss, (z, method.q), retain_graph=True)
    gradients_again = torch.autograd.grad(loss, (z, method.q))
    assert all(torch.equal(a, b) for a, b in zip(first, gradients_again, strict=True))
    assert torch.equal(z, before[0])
    assert torch.equal(method.q, before[1])
    with torch.no_grad():
        assert torch.equal(symmetric_kl(z, method.q, y), loss)


@pytest.mark.parametrize("row", TERM_WEIGHTS)
def test_rows_of_table_4_are_linear_in_the_four_terms(row):
    method, z, y = case(terms=row)
    terms = method.terms(Batch(z, y))
    expected = 0.5 * sum(w * t.mean() for w, t in zip(TERM_WEIGHTS[row], terms, strict=True))
    torch.testing.assert_close(method(z, y), expected)
    by_weights, *_ = case(terms=list(TERM_WEIGHTS[row]))
    assert torch.equal(method(z, y), by_weights(z, y))


def test_terms_of_table_4_sum_to_the_loss():
    value = {row: (case(terms=row)[0])(*case()[1:]).item() for row in TERM_WEIGHTS}
    method, z, y = case()
    fce, rce, pred_em, target_em = (0.5 * t.mean().item() for t in method.terms(Batch(z, y)))
    assert value["forward_kl"] + value["reverse_kl"] == pytest.approx(value["lls"], rel=1e-12)
    assert value["symmetric_ce"] + pred_em + target_em == pytest.approx(value["lls"], rel=1e-12)
    for row, term in (("no_fce", fce), ("no_rce", rce), ("no_pred_em", pred_em), ("no_target_em", target_em)):
        assert value[row] == pytest.approx(value["lls"] - term, rel=1e-12)
    assert pred_em == pytest.approx(-0.5 * entropy(z.log_softmax(-1)).mean().item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("row", TERM_WEIGHTS)
def test_loss_and_gradients_are_finite_if_probabilities_underflow(alpha, row, dtype):
    """Logit gaps of 10^4, in the network and in Q, right and wrong."""
    k = 5
    method = LLS(k, alpha=alpha, terms=row).to(dtype)
    with torch.no_grad():
        method.q[0], method.q[1] = torch.tensor([1e4, 0, 0, 0, 0]), torch.tensor([1e4, 0, 0, 0, -1e4])
    z = torch.tensor([[1e4, 0, 0, 0, 0], [0, 1e4, -1e4, 0, 0]] * 2, dtype=dtype, requires_grad=True)
    loss = method(z, torch.tensor([0, 0, 1, 1]))
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in gradients(loss, z, method.q) if g is not None)


def test_adding_a_constant_to_the_logits_changes_nothing():
    method, z, y = case()
    torch.testing.assert_close(method(z + 100.0, y), method(z, y), rtol=1e-11, atol=0)


def test_the_loss_is_float32_for_bf16_logits():
    method, z, y = LLS(7), torch.randn(4, 7), torch.tensor([0, 1, 2, 6])
    low = z.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(low, y)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, method(low.float(), y))


def test_q_weight_decay_can_be_switched_off():
    (on,), (off,) = LLS(3).param_groups(5e-4), LLS(3, q_weight_decay=False).param_groups(5e-4)
    assert (on["weight_decay"], off["weight_decay"]) == (5e-4, 0.0)
    assert OneHot(3).param_groups(5e-4) == []


@pytest.mark.parametrize(
    "keys",
    [{"alpha": 0}, {"alpha": 1.1}, {"alpha": math.nan}, {"scale": 0}, {"scale": math.inf}, {"terms": "nothing"}]
    + [{"terms": t} for t in ([1, 1, 1], [0, 0, 0, 0], [1, 1, 1, math.nan], [1, 1, 1, "x"], 3)],
)
def test_lls_rejects_values_out_of_range(keys):
    with pytest.raises(ValueError, match=f"^{next(iter(keys))}="):
        LLS(3, **keys)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_label_smoothing_rejects_values_out_of_range(alpha):
    with pytest.raises(ValueError, match=r"^alpha="):
        LS(3, alpha=alpha)


def test_label_smoothing_with_alpha_zero_is_one_hot():
    """alpha = 0 is 1-hot; an off-target share of alpha is the uniform one of alpha K/(K-1)."""
    _, z, y = case()
    assert torch.equal(LS(7, alpha=0.0)(z, y), OneHot(7)(z, y))
    off_target = torch.full((16, 7), 0.1 / 6, dtype=torch.float64).scatter(1, y[:, None], 0.9)
    torch.testing.assert_close(LS(7, alpha=0.1 * 7 / 6)(z, y), -(off_target * z.log_softmax(-1)).sum(-1).mean())


def test_a_second_derivative_raises():
    method, z, y = case()
    with pytest.raises(RuntimeError, match="differentiated only once"):
        torch.autograd.grad(method(z, y), z, create_graph=True)
