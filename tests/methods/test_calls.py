"""The call of a method: shapes, types, weights, ignored and soft labels, as in torch.nn.functional.cross_entropy."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from loss_cases import METHODS, case, gradient, make_method
from torch.utils.checkpoint import checkpoint

from lls import LLS, LS, OneHot

K = 7
EXACT = {"rtol": 1e-12, "atol": 1e-14}
every_method = pytest.mark.parametrize("name", METHODS)


def call(method, z, y):
    """Call a method. Its teacher returns the images, which are other logits here."""
    return method(z, y, x=z.detach().flip(0))


def close(actual, expected):
    torch.testing.assert_close(actual, expected, **EXACT)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 3])
def test_one_hot_is_cross_entropy(reduction, weighted, ignored):
    z, y = case(K)
    y[::3] = ignored
    keys = {"reduction": reduction, "ignore_index": ignored, "weight": torch.rand(K).double() if weighted else None}
    loss, expected = OneHot(K, **keys)(z, y), F.cross_entropy(z, y, **keys)
    close(loss, expected)
    close(gradient(loss.sum(), z), gradient(expected.sum(), z))


@every_method
def test_a_loss_per_sample_has_the_mean_and_the_sum_of_the_other_reductions(name):
    z, y = case(K)
    losses = call(make_method(name, K, reduction="none"), z, y)
    assert losses.shape == (16,)
    close(losses.mean(), call(make_method(name, K), z, y))
    close(losses.sum(), call(make_method(name, K, reduction="sum"), z, y))
    close(gradient(losses.mean(), z), gradient(call(make_method(name, K), z, y), z))
    one_by_one = [make_method(name, K)(z[i : i + 1], y[i : i + 1], x=z[15 - i : 16 - i].detach()) for i in range(16)]
    close(losses, torch.stack(one_by_one))


@every_method
def test_ignored_samples_do_not_count(name):
    z, y = case(K)
    other = z.detach().flip(0)
    counted = torch.arange(16) % 4 != 1
    expected = make_method(name, K)(z[counted], y[counted], x=other[counted])
    method = make_method(name, K, ignore_index=255)
    loss = method(z, y.where(counted, 255), x=other)
    close(loss, expected)
    to_z = gradient(loss, z)
    close(to_z, gradient(expected, z))
    assert not to_z[~counted].any()
    assert method(z, torch.full((16,), 255), x=other).isnan()


@every_method
def test_class_weights_are_in_the_numerator_and_in_the_denominator(name):
    z, y = case(K)
    y[0] = -100
    weight = torch.arange(1.0, K + 1).double()
    losses = call(make_method(name, K, reduction="none"), z, y)
    of_sample = weight[y.clamp_min(0)] * (y >= 0)
    close(call(make_method(name, K, weight=weight), z, y), (of_sample * losses).sum() / of_sample.sum())
    close(call(make_method(name, K, weight=weight, reduction="none"), z, y), of_sample * losses)


@every_method
def test_soft_labels_give_the_weighted_sum_of_the_losses_of_hard_labels(name):
    """As for Mixup of two labels with shares 0.3 and 0.7, and for one-hot labels."""
    z, a = case(K)
    b = (a + torch.arange(16) % K) % K  # sometimes the same class
    soft = 0.3 * F.one_hot(a, K).double() + 0.7 * F.one_hot(b, K).double()
    losses = [call(make_method(name, K, reduction="none"), z, y) for y in (a, b)]
    close(call(make_method(name, K, reduction="none"), z, soft), 0.3 * losses[0] + 0.7 * losses[1])
    close(call(make_method(name, K), z, soft), 0.3 * losses[0].mean() + 0.7 * losses[1].mean())
    close(call(make_method(name, K), z, F.one_hot(a, K).double()), losses[0].mean())
    weight = torch.rand(K).double()
    weighted = (0.3 * weight[a] * losses[0] + 0.7 * weight[b] * losses[1]).mean()
    close(call(make_method(name, K, weight=weight), z, soft), weighted)


def test_weighted_soft_labels_are_reduced_as_by_cross_entropy():
    z, _ = case(K)
    soft, weight = torch.rand(16, K).double(), torch.rand(K).double()
    close(OneHot(K, weight=weight)(z, soft), F.cross_entropy(z, soft, weight=weight))


@every_method
def test_images_have_a_loss_per_pixel(name):
    z = torch.randn(2, K, 3, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randint(K, (2, 3, 4))
    y[0, 1, 2] = -100
    losses = make_method(name, K, reduction="none")(z, y, x=z.detach())
    flat, flat_y = z.movedim(1, -1).reshape(-1, K), y.flatten()
    expected = make_method(name, K, reduction="none")(flat, flat_y, x=flat.detach())
    assert losses.shape == y.shape
    close(losses.flatten(), expected)
    mean = make_method(name, K)(z, y, x=z.detach())
    close(mean, expected.sum() / 23)
    soft = F.one_hot(y.clamp_min(0), K).movedim(-1, 1).double()
    assert make_method(name, K, reduction="none")(z, soft, x=z.detach()).shape == y.shape


@every_method
def test_one_sample_without_a_batch(name):
    z, y = case(K, b=1)
    loss = make_method(name, K)(z[0], y[0], x=z.detach()[0])
    close(loss, make_method(name, K)(z, y, x=z.detach()))


@every_method
def test_labels_of_any_integer_type(name):
    z, y = case(K)
    expected = call(make_method(name, K), z, y)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        assert torch.equal(call(make_method(name, K), z, y.to(dtype)), expected)


def test_ignored_samples_of_an_infinite_weight_do_not_count():
    """Of a class that the data lack, weighted by its inverse frequency. Ignored labels are replaced by class 0."""
    z, y = case(K)
    y = y.clamp_min(1).where(torch.arange(16) > 2, -100)
    weight = torch.tensor([math.inf, *torch.rand(K - 1)]).double()
    close(OneHot(K, weight=weight)(z, y), F.cross_entropy(z, y, weight=weight))


def test_soft_labels_of_logits_whose_sum_overflows():
    z = torch.full((2, K), 1e38)
    close(OneHot(K)(z, torch.eye(K)[:2]), torch.tensor(math.log(K)))


def test_soft_labels_get_no_gradient():
    z, _ = case(K)
    soft = torch.rand(16, K, dtype=torch.float64, requires_grad=True)
    LS(K)(z, soft).backward()
    assert soft.grad is None


@every_method
@pytest.mark.parametrize(("reduction", "expected"), [("mean", math.nan), ("sum", 0.0)])
def test_an_empty_batch(name, reduction, expected):
    z, y = torch.zeros(0, K, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    loss = make_method(name, K, reduction=reduction)(z, y, x=z.detach())
    assert loss.item() == pytest.approx(expected, nan_ok=True)
    loss.backward()
    assert make_method(name, K, reduction="none")(z, y, x=z.detach()).shape == (0,)


@pytest.mark.parametrize("name", ["ols", "lls_topn method.n=3"])
def test_ignored_samples_are_not_accumulated(name):
    z, y = case(K, 64)
    counted = torch.arange(64) % 2 == 0
    methods = [make_method(name, K) for _ in range(2)]
    for method in methods:
        method.train()
        method.gathering = True  # of lls_topn
    methods[0](z, y.where(counted, -100))
    methods[1](z[counted], y[counted])
    first, second = (method.state_dict() for method in methods)
    extra = [state.pop("_extra_state", {}) for state in (first, second)]
    for key in first:
        close(first[key], second[key])
    for key in extra[0]:
        assert torch.equal(extra[0][key], extra[1][key])


# -- inside the tools of PyTorch ---------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_lower_the_precision(name, dtype):
    z, y = torch.randn(8, K), torch.randint(K, (8,))
    method = make_method(name, K).float()
    with torch.autocast("cpu", dtype):
        loss = call(method, z.to(dtype), y)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, call(method, z.to(dtype).float(), y))


@every_method
def test_copies_pickles_and_checkpointed_activations_give_the_same_loss(name, tmp_path):
    z, y = case(K)
    method = make_method(name, K, weight=torch.rand(K))
    expected = call(method, z, y)
    to_z = gradient(expected, z)
    copies = [copy.deepcopy(method)]
    if not hasattr(method, "teacher"):  # a lambda here, which cannot be pickled
        copies.append(pickle.loads(pickle.dumps(method)))
    loaded = make_method(name, K, weight=torch.rand(K))
    loaded.load_state_dict(method.state_dict())
    for other in (*copies, loaded):
        assert torch.equal(call(other, z, y), expected)
    loss = checkpoint(lambda logits: call(method, logits, y), z, use_reentrant=False)
    assert torch.equal(loss, expected)
    assert torch.equal(gradient(loss, z), to_z)


def test_a_gradient_scaler_trains_q():
    torch.manual_seed(0)
    loss, scaler = LLS(K), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    z, y = torch.randn(8, K, requires_grad=True), torch.randint(K, (8,))
    optimizer = torch.optim.SGD([z, loss.q], lr=0.1)
    with torch.autocast("cpu", torch.float16):
        value = loss(z.half(), y)
    (expected,) = torch.autograd.grad(value, loss.q, retain_graph=True)
    scaler.scale(value).backward()
    scaler.step(optimizer)
    torch.testing.assert_close(loss.q.detach(), -0.1 * expected)
