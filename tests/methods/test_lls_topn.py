"""LLS with a few candidates per class."""

import pytest
import torch
from loss_cases import case, gradient

from lls.methods.base import Batch
from lls.methods.lls import LLS
from lls.methods.lls_topn import LLSTopN
from lls.methods.ls import LS


def trained_topn(k=9, n=4, seed=0, alpha=0.1, **keys):
    """Return a method with candidates chosen from one batch of confusions, and a random Q."""
    method = LLSTopN(k, n=n, alpha=alpha, **keys).double()
    z, y = case(k, 64, seed)
    method(z, y)
    method.end_epoch()
    with torch.no_grad():
        method.q.normal_(generator=torch.Generator().manual_seed(seed))
    return method


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("terms", ["lls", "no_rce", "reverse_kl", "fce_only"])
def test_topn_equals_lls_at_the_same_soft_labels(alpha, terms):
    """Loss and gradient to the logits are those of LLS at the dense Q. At N = K everything is LLS."""
    for n in (1, 4, 9):
        method = trained_topn(n=n, alpha=alpha, terms=terms)
        dense = LLS(9, alpha=alpha, terms=terms).double()
        q = method.q_logits()
        torch.testing.assert_close(q.softmax(-1).sum(-1), torch.ones(9, dtype=torch.float64))
        with torch.no_grad():
            dense.q.copy_(q)
        z, y = case(9, seed=5)
        torch.testing.assert_close(method(z, y), dense(z, y), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradient(method(z, y), z), gradient(dense(z, y), z), rtol=1e-9, atol=1e-12)


def test_topn_at_n_equal_k_has_the_gradients_of_lls_from_the_first_step():
    method, dense = LLSTopN(7, n=7).double(), LLS(7).double()
    z, y = case()
    method(z, y).backward()
    dense(z, y).backward()
    back = torch.zeros_like(dense.q).scatter(1, method.candidates.long(), method.q.grad)
    torch.testing.assert_close(back, dense.q.grad, rtol=1e-9, atol=1e-12)


def test_topn_is_label_smoothing_and_does_not_train_q_until_it_has_candidates():
    method, ls = LLSTopN(9, n=3, terms="fce_only", scale=1.0).double(), LS(9, 0.1)
    z, y = case(9)
    loss = method(z, y)
    torch.testing.assert_close(loss, ls(z, y))
    loss.backward()
    assert method.q.grad is None
    method.end_epoch()
    method(z, y).backward()
    assert method.q.grad.abs().sum() > 0


def test_topn_candidates_are_the_most_confused_classes():
    """With a buffer so small that it is merged at many steps, the candidates are still those of the full sums."""
    k, n = 12, 4
    method = LLSTopN(k, n=n, gather=2).double()
    total = torch.zeros(k, k, dtype=torch.float64)
    likes = 3 * torch.randn(k, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    largest = 0
    for epoch in range(2):
        for batch in range(20):
            g = torch.Generator().manual_seed(100 * epoch + batch)
            y = torch.randint(k - 1, (32,), generator=g)  # no sample of the last class
            z = likes[y] + 0.1 * torch.randn(32, k, generator=g, dtype=torch.float64)
            method(z, y)
            largest = max(largest, method.pairs.num_pairs)
            total.index_add_(0, y, z.softmax(-1))
        assert method.gathering
        method.end_epoch()
    assert not method.gathering
    assert largest <= 2 * k * n
    total.fill_diagonal_(-1)
    for c in range(k - 1):
        assert method.candidates[c, 0] == c
        assert set(method.candidates[c, 1:].tolist()) == set(total[c].topk(n - 1).indices.tolist())
    assert sorted(method.candidates[k - 1].tolist()) == [0, 1, 2, k - 1]


def test_topn_resumes_while_it_gathers():
    z, y = case(9, 64)
    uninterrupted, stopped, resumed = (LLSTopN(9, n=3, gather=2).double() for _ in range(3))
    for method in (uninterrupted, stopped):
        method(z, y)
        method.end_epoch()
    resumed.load_state_dict(stopped.state_dict())
    other = case(9, 64, seed=1)
    for method in (uninterrupted, resumed):
        method(*other)
        method.end_epoch()
    assert torch.equal(uninterrupted.candidates, resumed.candidates)
    assert not resumed.gathering


def test_topn_for_21841_classes_needs_less_than_a_hundredth_of_the_memory():
    k, n = 21_841, 32
    method = LLSTopN(k, n=n)
    size = sum(t.numel() * t.element_size() for t in (*method.parameters(), *method.buffers()))
    trained = size + 2 * method.q.numel() * 4  # the gradient and the momentum of Q
    assert trained < 0.01 * 3 * 4 * k**2


@pytest.mark.parametrize("spread", [1, 30, 1000])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize(("k", "n"), [(9, 3), (50, 8), (9, 8), (9, 1)])
def test_topn_closed_form_equals_its_four_terms(k, n, alpha, spread):
    g = torch.Generator().manual_seed(k + n)
    method = LLSTopN(k, n=n, alpha=alpha).double()
    method.gathering = False
    with torch.no_grad():
        method.q.normal_(generator=g).mul_(spread)
    z = (spread * torch.randn(6, k, generator=g, dtype=torch.float64) + 5).requires_grad_()
    y = torch.randint(k, (6,), generator=g)
    terms = method.terms(Batch(z, y))
    expected, actual = 0.5 * sum(term.mean() for term in terms), method(z, y)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    inputs = (z, method.q)
    for closed, exact in zip(torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(closed, exact, rtol=1e-9, atol=1e-9)
