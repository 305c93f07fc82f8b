"""A step, recorded or not, and checkpoints written meanwhile."""

import copy
import re
import sysconfig
import threading
from types import SimpleNamespace

import pytest
import torch

import lls.device
from lls.config.compose import compose
from lls.device import ComputeSettings, has_triton, resolve_compute, set_precision
from lls.networks.models import lenet
from lls.training import cuda_graph
from lls.training.build import build_method, build_step
from lls.training.checkpoint import Saver, _on_cpu
from lls.training.cuda_graph import CUDAGraphStep, _CapturedGraph
from lls.training.step import Step

B, K = 16, 10
PARTS = ("net", "method", "optimizer")


class Graph:
    """Stands in for torch.cuda.CUDAGraph: replaying does what was done while it was recorded, on the same tensors."""

    recording = None

    def __init__(self):
        self.work = None

    def replay(self):
        self.work()


@pytest.fixture
def fake_cuda(monkeypatch):
    """CUDA's part of a recording, on the CPU: what is recorded is not done until it is replayed. It lists what is
    called when one fails."""

    class record:
        def __init__(self, graph, *_, **__):
            self.graph = graph

        def __enter__(self):
            Graph.recording = self.graph

        def __exit__(self, kind, *_):
            Graph.recording = None
            if kind is not None:  # as PyTorch's, whose recording can't be ended then
                raise RuntimeError("operation failed due to a previous error during capture")

    class Stream:
        def __init__(self, *_):
            pass

        def wait_stream(self, other):
            pass

    class stream:
        def __init__(self, _):
            pass

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
    generator = SimpleNamespace(clone_state=lambda: None, graphsafe_set_state=lambda _: None)
    monkeypatch.setattr(torch.cuda, "default_generators", {None: generator})
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    given_back = []
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *_, name=name: given_back.append(name))
    plain = CUDAGraphStep._play

    def play(self, tape):
        if not self.method.cuda_graph_safe:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        Graph.recording.work = lambda: plain(self, tape)

    monkeypatch.setattr(CUDAGraphStep, "_play", play)
    return given_back


def batches(n, mixed=()):
    g = torch.Generator().manual_seed(1)
    for i in range(n):
        x, y = torch.randn(B, 1, 32, 32, generator=g), torch.randint(K, (B,), generator=g)
        yield x, ([(y, 0.25 + 0.01 * i), (y.flip(0), 0.75 - 0.01 * i)] if i in mixed else [(y, 1.0)])


def teacher():
    """As of lls/training/teacher.py: it remembers what it said of the batch that it saw last."""
    seen = [None, None]

    def logits(x):
        if seen[0] is not x:
            seen[:] = x, 3 * x.flatten(1)[:, :K]
        return seen[1]

    return logits


def method_of(overrides):
    cfg = compose(overrides.split()).method
    method = build_method(cfg, K)
    if "teacher" in cfg:
        method.set_teacher(torch.eye(K) if "q" in cfg else teacher())
    return method


def trained(kind, overrides="method=lls", mixed=(), n=9, end=5):
    torch.manual_seed(0)
    net, method = lenet(K, 1, 32), method_of(overrides)
    groups = [{"params": list(net.parameters())}, *method.param_groups(5e-4)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    step, losses = kind(net, method, optimizer, clip_norm=1.0), []
    for i, (x, labels) in enumerate(batches(n, mixed)):
        if i in (0, end):
            step.set_lr(0.05 / (1 + i))
        step(x, labels)
        losses.append(step.measures().loss)
        if i == end:
            method.end_epoch()
    return step, losses, [p.detach().clone() for p in (*net.parameters(), *method.parameters())]


@pytest.mark.parametrize("mixed", [(), (1, 4, 5, 6, 7, 8)], ids=["hard", "mixed"])
@pytest.mark.parametrize("method", ["lls", "ols", "zipf", "kd", "lls_topn method.n=4"])
def test_a_recorded_step_is_the_step(method, mixed, fake_cuda):
    """Rates, weights and batches that change reach the recording; a method that is not static is not recorded."""
    _, want, weights = trained(Step, f"method={method}", mixed)
    step, losses, recorded = trained(CUDAGraphStep, f"method={method}", mixed)
    torch.testing.assert_close(losses, want, rtol=1e-5, atol=0)
    for ours, exact in zip(recorded, weights, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)
    assert step.works
    played = [captured.graph is not None for captured in step.graphs.values()]
    assert any(played) == ("topn" not in method)  # which gathers for an epoch, and has too few steps after it


def test_a_recording_that_fails_costs_a_line(fake_cuda, monkeypatch, capsys):
    """And no memory, which PyTorch would go on holding."""
    from lls.methods.lls import LLS

    _, want, _ = trained(Step)
    asked = []
    monkeypatch.setattr(LLS, "cuda_graph_safe", property(lambda self: asked.append(1) or len(asked) != 5))
    step, losses, _ = trained(CUDAGraphStep)
    assert losses == pytest.approx(want, rel=1e-5)
    assert not step.works
    said = capsys.readouterr().out
    assert re.fullmatch(r"no CUDA graph of this run.* \(operation not permitted when stream is capturing\)\n", said)
    assert fake_cuda == ["_cuda_endAllocateToPool", "_cuda_releasePool"]


def test_a_recording_that_did_end_is_let_go(fake_cuda, monkeypatch):
    """Its memory is given back by the graph's own end, which nothing may put off."""
    from lls.methods.lls import LLS

    def refuses(*_):
        raise RuntimeError("not currently recording to mempool_id")

    asked, before = [], len(cuda_graph._failed_captures)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", refuses)
    monkeypatch.setattr(LLS, "cuda_graph_safe", property(lambda self: asked.append(1) or len(asked) != 5))
    trained(CUDAGraphStep)
    assert not fake_cuda
    assert len(cuda_graph._failed_captures) == before


@pytest.mark.parametrize(
    ("first", "then"), [(CUDAGraphStep, Step), (Step, CUDAGraphStep), (CUDAGraphStep, CUDAGraphStep)]
)
def test_a_checkpoint_goes_on_in_either_way(first, then, fake_cuda, tmp_path):
    """The recorded step's rate is a tensor, on the GPU, and is part of the optimizer's state."""

    def begin(kind):
        torch.manual_seed(0)
        net, method = lenet(K, 1, 32), method_of("method=lls")
        groups = [{"params": list(net.parameters())}, *method.param_groups(5e-4)]
        return kind(net, method, torch.optim.SGD(groups, lr=0.1, momentum=0.9, fused=True))

    def go_on(step, part):
        for number, (x, labels) in list(enumerate(batches(12)))[part]:
            step.set_lr(0.05 / (1 + number))
            step(x, labels)
        return step

    whole, stopped, resumed = go_on(begin(Step), slice(12)), go_on(begin(first), slice(6)), begin(then)
    torch.save(_on_cpu({name: getattr(stopped, name).state_dict() for name in PARTS}), tmp_path / "state.pt")
    for name, state in torch.load(tmp_path / "state.pt", weights_only=True).items():
        getattr(resumed, name).load_state_dict(state)
    go_on(resumed, slice(6, 12))
    for ours, exact in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)


def test_a_teacher_never_takes_a_recorded_batch_for_the_last_one():
    x, labels = next(batches(1))
    tape = _CapturedGraph(x, labels)
    tape.load(x, labels)
    (first, _), (second, _) = tape.inputs(), tape.inputs()
    assert first is not second
    assert torch.equal(first, x)


def test_ways(monkeypatch):
    cpu, cfg = torch.device("cpu"), compose([]).machine
    assert resolve_compute(cfg, cpu, 10**9) == ("fp32", False, False)
    chosen = compose(["machine.precision=bf16", "machine.compile=true", "machine.graph=true"]).machine
    assert resolve_compute(chosen, cpu) == ("bf16", True, False)
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr("lls.device.has_triton", lambda on: True)
    for capability, precision in (((9, 0), "bf16"), ((7, 5), "fp32")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on, c=capability: c)
        assert resolve_compute(cfg, gpu, 117_000) == (precision, True, True)
        assert resolve_compute(cfg, gpu, 1000) == (precision, False, True)
    tf32 = compose(["machine.graph=false", "machine.precision=tf32"]).machine
    assert resolve_compute(tf32, gpu) == ("fp32", False, False)  # Turing and CPUs have no TF32
    assert resolve_compute(tf32, cpu) == ("fp32", False, False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: (8, 0))
    assert resolve_compute(tf32, gpu) == ("tf32", False, False)


class Slow:
    """States that take their time to be written."""

    def __init__(self):
        self.seen, self.go = [], threading.Event()

    def save(self, state):
        assert self.go.wait(5)
        self.seen.append(copy.deepcopy(state))
        if len(self.seen) == 3:
            raise OSError("disk full")


def test_states_are_written_as_they_were_while_training_goes_on():
    run, weights = Slow(), torch.zeros(3)
    with Saver(run.save, torch.device("cuda")) as saver:
        for number in (1, 2):
            weights += 1
            saver.save({"network": {"w": weights}, "rows": [{"epoch": number}]})
            weights += 10  # the next step, before it is written
            assert len(run.seen) < number
            run.go.set()
            saver.thread.join()
            run.go.clear()
        run.go.set()
        saver.save({"network": {"w": weights}})
        with pytest.raises(OSError, match="disk full"):
            saver.wait()
    assert [state["network"]["w"][0].item() for state in run.seen] == [1, 12, 22]
    assert [state["rows"][0]["epoch"] for state in run.seen[:2]] == [1, 2]


def test_what_ended_the_training_is_told_and_not_what_ended_its_checkpoint():

    def broken(state):
        raise RuntimeError("unexpected")

    def stopped():
        with Saver(broken, torch.device("cuda")) as saver:
            saver.save({})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_kernels_are_built_where_they_can_be(monkeypatch, tmp_path):
    device, buildable = torch.device("cuda"), has_triton.__wrapped__
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("lls.device.find_spec", lambda name: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: (9, 0))
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setenv("CC", "cc")
    assert buildable(device)
    assert not buildable(torch.device("cpu"))
    for place, name, value in (
        (torch.version, "cuda", None),
        (torch.cuda, "get_device_capability", lambda on: (6, 1)),
        (sysconfig, "get_path", lambda *_: str(tmp_path / "nowhere")),
        (lls.device, "find_spec", lambda name: None),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, value)
            assert not buildable(device)


def test_on_a_cpu_states_are_written_at_once():
    run = Slow()
    run.go.set()
    with Saver(run.save, torch.device("cpu")) as saver:
        saver.save({"rows": []})
        assert run.seen == [{"rows": []}]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "method",
    [
        *("onehot", "ls", "lls", "ols", "focal", "flsd", "tfkd_reg", "tfkd_self", "zipf", "lspp", "kd", "lls_st"),
        *("lls method.terms=no_rce", "lls_topn", "lls_topn method.n=4"),
    ],
)
def test_a_recorded_step_is_the_step_on_a_gpu(method):
    cfg = compose([*f"method={method}".split(), "machine.precision=fp32"])

    def run(graph):
        torch.manual_seed(0)
        device = torch.device("cuda")
        set_precision("fp32", device)
        step = build_step(
            cfg, lenet(K, 1, 32), method_of(f"method={method}"), ComputeSettings("fp32", False, graph), device
        )
        losses = []
        for i, (x, labels) in enumerate(batches(20, mixed=range(1, 20, 2))):  # two graphs in turn, which share memory
            step.set_lr(0.05 / (1 + i))
            step(x.to(device), [(y.to(device), w) for y, w in labels])
            losses.append(step.measures().loss)
            if i == 5:
                step.method.end_epoch()
        return step, losses

    (_, want), (step, losses) = run(False), run(True)
    assert losses == pytest.approx(want, rel=1e-3)
    assert step.works
    assert [captured.graph is not None for captured in step.graphs.values()] == [True, True]


@pytest.mark.gpu
def test_a_recorded_step_draws_what_the_step_draws():
    """Dropout's numbers: new ones at every replay, and as many, so that a checkpoint's random state serves both."""
    device = torch.device("cuda")

    def run(kind):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, K), torch.nn.Dropout(0.5)).to(device)
        net.register_forward_hook(lambda net, x, logits: (logits, None))
        step, losses = kind(net, method_of("method=onehot"), torch.optim.SGD(net.parameters(), lr=0.0, fused=True)), []
        x, labels = next(batches(1))
        for _ in range(8):
            step.set_lr(0.0)
            step(x.to(device), [(y.to(device), w) for y, w in labels])
            losses.append(step.measures().loss)
        return losses, torch.cuda.get_rng_state(device)

    (want, state), (losses, recorded) = run(Step), run(CUDAGraphStep)
    assert losses == pytest.approx(want, rel=1e-4)
    assert len(set(losses)) == len(losses)
    assert torch.equal(state, recorded)


@pytest.mark.gpu
def test_a_recording_that_waits_for_the_gpu_costs_a_line(capsys):
    """PyTorch's stream is the one it was before, and the run goes on, dropout included."""
    from lls.methods.onehot import OneHot

    class Waits(OneHot):
        def loss(self, batch):
            return super().loss(batch) + 0 * float(batch.logits.sum())

    device = torch.device("cuda")
    net = lenet(K, 1, 32).to(device)
    net.neck.append(torch.nn.Dropout(0.1))
    step, before = CUDAGraphStep(net, Waits(K), torch.optim.SGD(net.parameters(), lr=0.1)), torch.cuda.current_stream()
    for x, labels in batches(8):
        step(x.to(device), [(y.to(device), w) for y, w in labels])
    assert not step.works
    assert torch.cuda.current_stream() == before
    assert 0 < step.measures().loss < 3
    assert capsys.readouterr().out.startswith("no CUDA graph of this run")

    torch.cuda.empty_cache()  # which PyTorch refuses while something is recorded
    after = CUDAGraphStep(lenet(K, 1, 32).to(device), method_of("method=ls"), torch.optim.SGD(net.parameters(), lr=0.1))
    for x, labels in batches(8):
        after(x.to(device), [(y.to(device), w) for y, w in labels])
    assert after.works
    assert all(captured.graph is not None for captured in after.graphs.values())
