"""Float32 losses keep their digits where a naive formula would lose them."""

import pytest
import torch
import torch.nn.functional as F
from loss_cases import make_method
from torch.func import vmap

from lls.losses.sparse_kl import log_target
from lls.losses.symmetric_kl import symmetric_kl


def near_target(k, distance):
    """Logits whose softmax is the target but for noise of `distance`, Q and labels, all float32."""
    g = torch.Generator().manual_seed(0)
    q, y = torch.randn(k, k, generator=g), torch.randint(k, (64,), generator=g)
    t = 0.9 * F.one_hot(y, k) + 0.1 * q.double()[y].softmax(-1)
    return (t.log() + distance * torch.randn(64, k, generator=g)).float(), q, y


@pytest.mark.parametrize("distance", [0, 1e-7, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("k", [10, 100, 1000])
def test_the_loss_is_exact_and_not_negative_where_prediction_and_target_are_close(k, distance):
    """Its square root, a distance, is right to 5e-7. A sum of four entropies would be wrong by about 1e-7, and often
    negative."""
    z, q, y = near_target(k, distance)
    exact = symmetric_kl(z.double(), q.double(), y, reduction="none").float()
    composite = vmap(lambda z, y: symmetric_kl(z[None], q, y[None]))(z, y)
    substitute = make_method("lls_st method.objective=symmetric_kl", k, reduction="none").float()
    substitute.q.copy_(q)
    for losses in (symmetric_kl(z, q, y, reduction="none"), composite, substitute(z, y)):
        assert (losses >= 0).all()
        torch.testing.assert_close(losses.sqrt(), exact.sqrt(), rtol=1e-4, atol=5e-7)
    dense = make_method("lls_topn method.n=1000", k).float()
    dense.q.data = q.gather(1, dense.candidates.long())
    assert (dense(z, y) >= 0).all()
    torch.testing.assert_close(dense(z, y).sqrt(), exact.mean().sqrt(), rtol=1e-4, atol=5e-6)
    for reduction in ("mean", "sum"):
        loss, expected = symmetric_kl(z, q, y, reduction=reduction), getattr(exact, reduction)()
        torch.testing.assert_close(loss.sqrt(), expected.sqrt(), rtol=1e-4, atol=5e-6)


def test_the_loss_of_many_equal_distributions_is_not_negative():
    for seed in range(200):
        g = torch.Generator().manual_seed(seed)
        q, y = 3 * torch.randn(5, 5, generator=g), torch.randint(5, (8,), generator=g)
        t = 0.9 * F.one_hot(y, 5) + 0.1 * q[y].softmax(-1)
        assert (symmetric_kl(t.log(), q, y, reduction="none") >= 0).all()
        assert symmetric_kl(t.log(), q, y) >= 0
        assert (vmap(lambda z, y, q=q: symmetric_kl(z[None], q, y[None]))(t.log(), y) >= 0).all()


@pytest.mark.parametrize("distance", [0, 1e-5, 1e-2, 1, 10])
@pytest.mark.parametrize(("k", "n"), [(50, 4), (1000, 32), (10_000, 32)])
def test_the_loss_with_candidates_is_exact_at_every_distance_from_the_target(k, n, distance):
    """Its root is right to 2e-5, the rounding of a softmax over 10,000 classes; also for confident predictions."""
    g = torch.Generator().manual_seed(0)
    method = make_method(f"lls_topn method.n={n}", k, reduction="none").float()
    y = torch.randint(k, (32,), generator=g)
    rows, candidates = method.q.detach().double()[y], method.candidates[y].long()
    z = (log_target(rows, candidates, k, 0.1) + distance * torch.randn(32, k, generator=g)).float()
    losses = method(z, y)
    exact = method.double()(z.double(), y)
    assert (losses >= 0).all()
    torch.testing.assert_close(losses.double().sqrt(), exact.sqrt(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("k", [50, 1000])
@pytest.mark.parametrize("terms", ["lls", "no_rce"])
def test_an_offset_of_all_logits_costs_no_digits(k, terms):
    """Of the network and of Q, with the values that float32 leaves of them."""
    g = torch.Generator().manual_seed(0)
    method = make_method(f"lls_topn method.terms={terms}", k)
    y = torch.randint(k, (64,), generator=g)
    z, q = torch.randn(64, k, generator=g) + 1e4, torch.randn(*method.q.shape, generator=g) + 1e4
    method.q.data = q.double()
    exact = method(z.double(), y)
    soft_labels = method.q_logits().float()
    method.float()
    assert method(z, y).item() == pytest.approx(exact.item(), rel=3e-7)
    torch.testing.assert_close(method.q_logits(), soft_labels, rtol=1e-6, atol=1e-6)
