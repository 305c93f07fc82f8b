"""A training step that is captured as a CUDA graph: on a CPU with fake CUDA operations, and on a GPU."""

import gc
import re

import pytest
import torch
from fake_cuda import CPUOperations, FakeTorch

from lls.config.compose import compose
from lls.device import ComputeSettings, set_precision
from lls.methods.lls import LLS
from lls.networks.models import lenet
from lls.training.build import build_method, build_step
from lls.training.checkpoint import Saver
from lls.training.cuda_graph import CUDAGraphStep, CUDAOperations
from lls.training.step import Step

B, K = 16, 10
STATEFUL = ("net", "method", "optimizer")


@pytest.fixture
def fake_torch(monkeypatch):
    fake = FakeTorch()
    monkeypatch.setattr("lls.training.cuda_graph.torch", fake)
    return fake


def make_batches(n, mixed=()):
    g = torch.Generator().manual_seed(1)
    for i in range(n):
        x, y = torch.randn(B, 1, 32, 32, generator=g), torch.randint(K, (B,), generator=g)
        yield x, ([(y, 0.25 + 0.01 * i), (y.flip(0), 0.75 - 0.01 * i)] if i in mixed else [(y, 1.0)])


def make_teacher():
    """As lls/training/teacher.py, it keeps the logits of the last batch."""
    last = [None, None]

    def logits(x):
        if last[0] is not x:
            last[:] = x, 3 * x.flatten(1)[:, :K]
        return last[1]

    return logits


def make_method(overrides):
    cfg = compose(overrides.split()).method
    method = build_method(cfg, K)
    if "teacher" in cfg:
        method.set_teacher(torch.eye(K) if "q" in cfg else make_teacher())
    return method


def make_step(kind, overrides="method=lls", method=None, cuda=CPUOperations):
    """A Step, or a CUDAGraphStep on the CPU. method: instead of the one that `overrides` name."""
    torch.manual_seed(0)
    net, method = lenet(K, 1, 32), method or make_method(overrides)
    groups = [{"params": list(net.parameters())}, *method.param_groups(5e-4)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    keys = {"cuda": cuda(torch.device("cpu"))} if kind is CUDAGraphStep else {}
    return kind(net, method, optimizer, clip_norm=1.0, **keys)


def train(step, mixed=(), n=9, end=5):
    """Train on n batches. The epoch ends, and the learning rate changes, after batch `end`."""
    losses = []
    for i, (x, labels) in enumerate(make_batches(n, mixed)):
        if i in (0, end):
            step.set_lr(0.05 / (1 + i))
        step(x, labels)
        losses.append(step.measures().loss)
        if i == end:
            step.method.end_epoch()
    return losses, [p.detach().clone() for p in (*step.net.parameters(), *step.method.parameters())]


@pytest.mark.parametrize("mixed", [(), (1, 4, 5, 6, 7, 8)], ids=["hard", "mixed"])
@pytest.mark.parametrize("method", ["lls", "ols", "zipf", "kd", "lls_topn method.n=4"])
def test_a_captured_step_is_the_step(method, mixed, fake_torch):
    """Learning rates, weights and batches that change reach the graph. A method that is not safe is not captured."""
    expected_losses, expected_weights = train(make_step(Step, f"method={method}"), mixed)
    step = make_step(CUDAGraphStep, f"method={method}")
    losses, weights = train(step, mixed)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=0)
    for actual, expected in zip(weights, expected_weights, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    assert not step.capture_failed
    replayed = [captured.graph is not None for captured in step.graphs.values()]
    assert any(replayed) == step.captured == ("topn" not in method)  # It gathers for an epoch. Then 3 steps are left.


@pytest.fixture
def refusing_method(fake_torch):
    """LLS with an operation in its loss that can't be captured."""

    class RefusingLLS(LLS):
        def loss(self, batch):
            if fake_torch.capturing:
                raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
            return super().loss(batch)

    return RefusingLLS(K)


def test_a_capture_that_fails_costs_a_line(refusing_method, fake_torch, capsys):
    """PyTorch would go on holding the memory of the graph, if nobody released it."""
    expected, _ = train(make_step(Step))
    step = make_step(CUDAGraphStep, method=refusing_method, cuda=CUDAOperations)
    losses, _ = train(step)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert step.capture_failed
    output = capsys.readouterr().out
    assert re.fullmatch(r"no CUDA graph for this run.* \(operation not permitted when stream is capturing\)\n", output)
    assert fake_torch.released == ["end allocation", "release"]
    gc.collect()
    assert [graph() is not None for graph in fake_torch.graphs] == [True]  # PyTorch still queries it.


def test_a_capture_that_fails_and_did_end_keeps_no_graph(refusing_method, fake_torch):
    """The end of the graph releases its memory, and nothing may put off that end."""
    fake_torch.pool_is_captured = False
    train(make_step(CUDAGraphStep, method=refusing_method, cuda=CUDAOperations))
    assert not fake_torch.released
    gc.collect()
    assert [graph() is not None for graph in fake_torch.graphs] == [False]


@pytest.mark.parametrize(
    ("first", "then"), [(CUDAGraphStep, Step), (Step, CUDAGraphStep), (CUDAGraphStep, CUDAGraphStep)]
)
def test_a_checkpoint_resumes_with_and_without_a_graph(first, then, fake_torch, tmp_path):
    """The learning rate of a captured step is a tensor on the GPU, and part of the optimizer's state."""

    def train_part(step, part):
        for i, (x, labels) in list(enumerate(make_batches(12)))[part]:
            step.set_lr(0.05 / (1 + i))
            step(x, labels)
        return step

    uninterrupted, resumed = train_part(make_step(Step), slice(12)), make_step(then)
    stopped = train_part(make_step(first), slice(6))
    with Saver(lambda state: torch.save(state, tmp_path / "state.pt"), torch.device("cuda")) as saver:
        saver.save({name: getattr(stopped, name).state_dict() for name in STATEFUL})
    for name, state in torch.load(tmp_path / "state.pt", weights_only=True).items():
        getattr(resumed, name).load_state_dict(state)
    train_part(resumed, slice(6, 12))
    for actual, expected in zip(resumed.net.parameters(), uninterrupted.net.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_a_teacher_gets_another_tensor_object_for_each_batch(fake_torch):
    """A graph's batches are in the same memory, and a teacher tells batches apart by their objects."""
    method, tensors, images = make_method("method=kd"), [], []

    def teacher(x):
        tensors.append(x)
        images.append(x.clone())
        return x.flatten(1)[:, :K]

    method.set_teacher(teacher)
    train(make_step(CUDAGraphStep, method=method), n=6)
    assert len({id(x) for x in tensors}) == 6
    assert len({x.data_ptr() for x in tensors}) == 1
    for x, (expected, _) in zip(images, make_batches(6), strict=True):
        assert torch.equal(x, expected)


# -- on a GPU ----------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(
    "method",
    [
        *("onehot", "ls", "lls", "ols", "focal", "flsd", "tfkd_reg", "tfkd_self", "zipf", "lspp", "kd", "lls_st"),
        *("lls method.terms=no_rce", "lls_topn", "lls_topn method.n=4"),
    ],
)
def test_a_captured_step_is_the_step_on_a_gpu(method):
    cfg = compose([*f"method={method}".split(), "machine.precision=fp32"])

    def run(graph):
        torch.manual_seed(0)
        device = torch.device("cuda")
        set_precision("fp32", device)
        settings = ComputeSettings("fp32", False, graph)
        step, losses = build_step(cfg, lenet(K, 1, 32), make_method(f"method={method}"), settings, device), []
        # Two graphs in turn, which share memory.
        for i, (x, labels) in enumerate(make_batches(20, mixed=range(1, 20, 2))):
            step.set_lr(0.05 / (1 + i))
            step(x.to(device), [(y.to(device), w) for y, w in labels])
            losses.append(step.measures().loss)
            if i == 5:
                step.method.end_epoch()
        return step, losses

    (_, expected), (step, losses) = run(False), run(True)
    assert losses == pytest.approx(expected, rel=1e-3)
    assert not step.capture_failed
    assert [captured.graph is not None for captured in step.graphs.values()] == [True, True]


@pytest.mark.gpu
def test_a_captured_step_draws_the_random_numbers_of_the_step():
    """Dropout draws new numbers at each replay, and as many, so that a checkpoint's random state serves both."""
    device = torch.device("cuda")

    def run(kind):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, K), torch.nn.Dropout(0.5)).to(device)
        net.register_forward_hook(lambda net, x, logits: (logits, None))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0, fused=True)
        step, losses = kind(net, make_method("method=onehot"), optimizer), []
        x, labels = next(make_batches(1))
        for _ in range(8):
            step.set_lr(0.0)
            step(x.to(device), [(y.to(device), w) for y, w in labels])
            losses.append(step.measures().loss)
        return losses, torch.cuda.get_rng_state(device)

    (expected, expected_state), (losses, state) = run(Step), run(CUDAGraphStep)
    assert losses == pytest.approx(expected, rel=1e-4)
    assert len(set(losses)) == len(losses)
    assert torch.equal(state, expected_state)


@pytest.mark.gpu
def test_a_capture_that_waits_for_the_gpu_costs_a_line(capsys):
    """PyTorch's stream is the one it was before, and the run goes on, dropout included."""
    from lls.methods.onehot import OneHot

    class WaitingOneHot(OneHot):
        def loss(self, batch):
            return super().loss(batch) + 0 * float(batch.logits.sum())

    device = torch.device("cuda")
    net, before = lenet(K, 1, 32).to(device), torch.cuda.current_stream()
    net.neck.append(torch.nn.Dropout(0.1))
    step = CUDAGraphStep(net, WaitingOneHot(K), torch.optim.SGD(net.parameters(), lr=0.1))
    for x, labels in make_batches(8):
        step(x.to(device), [(y.to(device), w) for y, w in labels])
    assert step.capture_failed
    assert torch.cuda.current_stream() == before
    assert 0 < step.measures().loss < 3
    assert capsys.readouterr().out.startswith("no CUDA graph for this run")

    torch.cuda.empty_cache()  # PyTorch refuses this during a capture.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    after = CUDAGraphStep(lenet(K, 1, 32).to(device), make_method("method=ls"), optimizer)
    for x, labels in make_batches(8):
        after(x.to(device), [(y.to(device), w) for y, w in labels])
    assert not after.capture_failed
    assert all(captured.graph is not None for captured in after.graphs.values())
