"""The losses in C: what PyTorch computes in float64, and nothing else where there is no compiler for them."""

import ctypes
import multiprocessing
import os
import platform
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lls import machine, native
from lls.methods.lls_topn import LLSTopN
from lls.sparse_kl import sparse_symmetric_kl
from lls.symmetric_kl import symmetric_kl

compiled = pytest.mark.skipif(native.library() is None, reason="no C compiler")


def normal(*shape: int, spread: float = 1.0) -> Tensor:
    return (spread * torch.randn(*shape)).requires_grad_()


def exact(tensor: Tensor) -> Tensor:
    return tensor.detach().double().requires_grad_()


def assert_equal_with_gradients(loss, of, want, want_of, spread):
    """The loss, and three times it back to `of`."""
    torch.testing.assert_close(loss.double(), want, rtol=3e-6, atol=1e-6)
    ours, theirs = torch.autograd.grad(3 * loss, of), torch.autograd.grad(3 * want, want_of)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6 * spread)


@compiled
@pytest.mark.parametrize("k", [2, 10, 33, 200])
@pytest.mark.parametrize("alpha", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("spread", [0.1, 3.0, 1e3])
def test_the_loss(k, alpha, spread):
    torch.manual_seed(k)
    z, q, y = normal(32, k, spread=spread), normal(k, k, spread=spread), torch.randint(k, (32,))
    loss, of = symmetric_kl(z, q, y, alpha), (exact(z), exact(q))
    assert "Native" in loss.grad_fn.name()
    assert_equal_with_gradients(loss, (z, q), symmetric_kl(*of, y, alpha), of, spread)


@compiled
@pytest.mark.parametrize(("k", "n"), [(9, 1), (9, 8), (50, 8), (3000, 32)])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("spread", [0.1, 3.0, 1e3])
def test_the_loss_with_few_candidates(k, n, alpha, spread):
    torch.manual_seed(k)
    candidates = LLSTopN(k, n=n).candidates
    z, q, y = normal(16, k, spread=spread), normal(k, n + 1, spread=spread), torch.randint(k, (16,))
    loss, of = sparse_symmetric_kl(z, q, candidates[y].long(), y, alpha), (exact(z), exact(q))
    assert "Native" in loss.grad_fn.name()
    assert_equal_with_gradients(loss, (z, q), sparse_symmetric_kl(*of, candidates[y].long(), y, alpha), of, spread)


def losses(z: Tensor, q: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both, of 5 classes."""
    others = (y[:, None] + torch.arange(3)) % 5
    return symmetric_kl(z, q, y), sparse_symmetric_kl(z, q[:, :4], others, y)


@compiled
@pytest.mark.parametrize("alpha", [0.1, 1.0])
@pytest.mark.parametrize("masked", ["z", "q"])
def test_a_class_masked_with_the_least_float(masked, alpha):
    torch.manual_seed(0)
    of, y = {"z": normal(16, 5), "q": normal(5, 5)}, torch.arange(16) % 4
    of[masked].data[:, 4] = torch.finfo(torch.float32).min
    want_of = {name: exact(tensor) for name, tensor in of.items()}
    (ours,) = torch.autograd.grad(symmetric_kl(of["z"], of["q"], y, alpha), of[masked])
    (want,) = torch.autograd.grad(symmetric_kl(want_of["z"], want_of["q"], y, alpha), want_of[masked])
    torch.testing.assert_close(ours.double(), want, rtol=1e-5, atol=1e-6)


@compiled
def test_a_true_class_whose_soft_label_is_0():
    torch.manual_seed(0)
    q = torch.zeros(5, 5).fill_diagonal_(-200).requires_grad_()
    symmetric_kl(normal(5, 5), q, torch.arange(5), 1.0).backward()
    assert torch.isfinite(q.grad).all()


@compiled
@pytest.mark.filterwarnings("ignore:.*lru_cache")
def test_what_pytorch_traces_or_refuses_is_left_to_it():
    z, q, y = normal(4, 5).detach(), normal(5, 5).detach(), torch.tensor([0, 1, 2, 4])
    traced = make_fx(lambda z: torch.stack(losses(z, q, y)))(z)
    graph = torch.compile(lambda z: torch.stack(losses(z, q, y)), backend="eager", fullgraph=True)
    for way in (traced, graph):
        torch.testing.assert_close(way(2 * z), torch.stack(losses(2 * z, q, y)))
    torch.testing.assert_close(symmetric_kl(torch._neg_view(-z), q, y), symmetric_kl(z, q, y))
    others = y[:, None, None].expand(-1, 2, 1)
    with pytest.raises(RuntimeError):
        sparse_symmetric_kl(z, q[:, :3], others, y)
    sparse_symmetric_kl(z, q[:, :3], others[..., 0].to("meta"), y)  # in no memory


@compiled
def test_arguments_in_another_order_of_memory_are_left_alone():
    z, q, y = normal(5, 8).detach(), normal(5, 5).detach(), torch.arange(16)[::2] % 5
    before = z.clone(), q.clone()
    straight = losses(z.T.contiguous(), q, y.contiguous())
    for ours, want in zip(losses(z.T, q.T.contiguous().T, y), straight, strict=True):
        assert torch.equal(ours, want)
    assert torch.equal(z, before[0])
    assert torch.equal(q, before[1])


@compiled
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads):
    torch.manual_seed(0)
    z, q, y = normal(200, 300), normal(300, 300), torch.randint(300, (200,))
    candidates = LLSTopN(300, n=8).candidates[y].long()
    own = torch.get_num_threads()
    found = []
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            for loss, of in (
                (symmetric_kl(z, q, y), (z, q)),
                (sparse_symmetric_kl(z, q[:, :9], candidates, y), (z, q)),
            ):
                found.append([loss, *torch.autograd.grad(loss, of)])
    finally:
        torch.set_num_threads(own)
    for one, other in ((found[0], found[2]), (found[1], found[3])):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@compiled
def test_threads_are_there():
    """PyTorch's, where its OpenMP library is GNU's, as in what it publishes for Linux: found by name, not linked."""
    found = ctypes.CDLL(None)
    assert native.library().lls_threads() == (torch.get_num_threads() if hasattr(found, "GOMP_parallel") else 1)


@compiled
def test_gradients_times_any_scalar():
    z, q = normal(8, 5), normal(5, 5)
    for loss in losses(z, q, torch.arange(8) % 5):
        (once,) = torch.autograd.grad(loss, z, retain_graph=True)
        scalars = (torch.tensor(-2.5), torch._neg_view(torch.tensor(2.5)), torch.tensor(0.0))
        for by in (*scalars, torch._efficientzerotensor(())):
            (found,) = torch.autograd.grad(loss, z, by, retain_graph=True)
            torch.testing.assert_close(found, once * by.resolve_neg().item())
        batched = torch.tensor([1.0, 3.0])
        (found,) = torch.autograd.grad(loss, z, batched, retain_graph=True, is_grads_batched=True)
        torch.testing.assert_close(found, batched[:, None, None] * once)


@compiled
def test_the_same_again():
    z, q = normal(8, 5), normal(5, 5)
    for loss in losses(z, q, torch.arange(8) % 5):
        first = torch.autograd.grad(loss, (z, q), retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(loss, (z, q)), strict=True))


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_out_of_range(label):
    z, q, y = normal(2, 5), normal(5, 5), torch.tensor([0, label])
    with pytest.raises(IndexError):
        symmetric_kl(z, q, y)
    for labels, candidates in ((y, torch.tensor([[0], [1]])), (torch.tensor([0, 1]), y[:, None])):
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            sparse_symmetric_kl(z, q[:, :2], candidates, labels)


@pytest.mark.parametrize("shape", [(4, 4), (5, 4), (6, 5)])
def test_a_q_of_other_classes(shape):
    with pytest.raises((ValueError, RuntimeError)):
        symmetric_kl(normal(2, 5), normal(*shape), torch.tensor([0, 1]))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(number):
    z = normal(8, 5).detach()
    z[3, 2] = number
    assert not any(torch.isfinite(loss) for loss in losses(z, normal(5, 5), torch.arange(8) % 5))


@compiled
def test_compiled_once_whoever_is_first(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library.__wrapped__()
    (made,) = tmp_path.glob("lls/*")
    made.unlink()
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(native.library.__wrapped__) for _ in range(3)]
    assert all(library.result() for library in found)
    assert [*tmp_path.glob("lls/*")] == [made]


@pytest.mark.parametrize(
    ("name", "value"),
    [("CC", "false"), ("CC", "no-such-compiler"), ("CC", 'cc "'), ("LLS_NATIVE", "0"), ("XDG_CACHE_HOME", "{file}")],
)
def test_without_a_compiler_pytorch_does_it(name, value, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(name, value.format(file=tmp_path / "file"))
    assert native.library.__wrapped__() is None
    monkeypatch.setattr(native, "library", lambda: None)
    for loss in losses(normal(8, 5), normal(5, 5), torch.arange(8) % 5):
        assert "Native" not in loss.grad_fn.name()
        loss.backward()


def test_a_user_without_a_home(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(native.Path, "home", home)
    assert native.library.__wrapped__() is None


@compiled
def test_a_library_is_on_the_disk_before_it_has_its_name(monkeypatch, tmp_path):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("sync"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    native.library.__wrapped__()
    assert done == ["sync", "name"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_memory_once_used_is_kept():
    context = multiprocessing.get_context("spawn")  # this process may have trained, and keep its memory
    with context.Pool(1) as pool:
        before, after = pool.apply(_page_faults)
    assert before > 10_000
    assert after < 100


def _page_faults() -> list[int]:
    """Of the last of ten times that 80 MB are used and freed, as is and kept: it takes a few until all have a place."""
    counts = []
    for keep in (lambda on: None, machine.keep_memory):
        keep(torch.device("cpu"))
        for _ in range(10):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.zeros(20 << 20)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return counts
