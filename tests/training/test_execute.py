"""Whole runs on digits: their results and files, runs that are finished or diverged, and how they are computed."""

import re
import threading
import time

import pytest
import torch
from filelock import FileLock
from PIL import Image
from results import compose_run, read_rows
from torch.overrides import TorchFunctionMode
from training_runs import stop_after, without_times

from lls.data.in_memory import TrainBatches
from lls.errors import UserError
from lls.qmatrix import load_q
from lls.runs.run import Run
from lls.training.execute import execute


@pytest.mark.parametrize(("method", "epochs", "least"), [("lls", 30, 97), ("onehot", 4, 20)])
def test_a_run_on_digits_reaches_its_accuracy_and_writes_its_files(method, epochs, least, overrides, capsys):
    shorter = [] if epochs == 30 else [f"train.epochs={epochs}", "train.milestones=[2,3]"]
    run = compose_run(f"method={method}", *shorter, *overrides)
    result = execute(run)
    rows = read_rows(run)
    assert result["top1"] >= least
    assert result == run.result
    assert result["top1_best"] == max(row["top1"] for row in rows) >= result["top1"]
    assert result["parameters"] == 61_706 + (100 if method == "lls" else 0)
    assert result["epochs"] == len(rows) == epochs
    assert {"torch", "python", "numpy"} <= set(result["versions"])
    assert {"nll", "loss", "seconds", "images_per_second", "budget", "device", "precision", "commit", "ece"} <= set(
        result
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + epochs + 2
    pattern = r"  lr 0.0005  loss [\d.]+  top-1 \d\d.\d\d %  nll [\d.]+  [\d,]+ images/s  00:00 left"
    assert re.fullmatch(f"epoch {epochs}/{epochs}{pattern}", lines[epochs])

    state = torch.load(run.folder / "last.pt", weights_only=True)
    assert "optimizer" not in state
    assert (run.folder / "q.safetensors").exists() == (run.folder / "q.png").exists() == (method == "lls")
    if method == "lls":
        q = load_q(run.folder / "q.safetensors")
        assert torch.equal(q.logits, state["method"]["q"])
        assert q.classes == [str(d) for d in range(10)]
        assert q.about.items() >= {"dataset": "digits", "network": "lenet", "method": "lls", "alpha": "0.1"}.items()
        assert q.about["run"] == run.id
        assert q.logits.softmax(-1).diagonal().mean() < 0.1  # Learned: it starts from the uniform distribution.
        assert min(Image.open(run.folder / "q.png").size) > 400

    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    assert execute(run) == result
    assert {path: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before
    output = capsys.readouterr().out
    assert output.startswith(f"already done: top-1 {result['top1']:.2f} %")
    assert str(run.folder) in output


def test_a_run_with_a_broken_result_is_trained_again(overrides, capsys):
    run = compose_run("train.epochs=1", *overrides)
    result = execute(run)
    (run.folder / "result.json").write_text('{"top1": ')
    again = execute(run)
    assert without_times(again) == without_times(result)
    assert "result.json is broken" in capsys.readouterr().out


def test_one_process_at_a_time_trains_a_run(overrides):
    run = compose_run("train.epochs=1", *overrides)
    with run.lock, pytest.raises(UserError, match="is being trained by another process"):
        execute(compose_run("train.epochs=1", *overrides))
    locked = threading.Event()

    def hold_lock():  # as Run.busy does, but for longer
        with FileLock(run.folder / ".lock"):
            locked.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold_lock)
    run.folder.mkdir(parents=True, exist_ok=True)
    thread.start()
    locked.wait()
    assert execute(run)["epochs"] == 1
    thread.join()


def test_a_run_that_another_process_finishes_meanwhile_is_not_trained_again(overrides, capsys):
    result = execute(compose_run("train.epochs=1", *overrides))
    first_reads = iter([None])

    class FinishedMeanwhile(Run):
        """A run whose result is not there when `execute` first reads it."""

        @property
        def result(self):
            return next(first_reads, result)

        def write_config(self):
            pytest.fail("trained again")

    run = FinishedMeanwhile(compose_run("train.epochs=1", *overrides).cfg)
    capsys.readouterr()
    assert execute(run) == result
    assert capsys.readouterr().out.startswith("already done")
    assert next(first_reads, result) is result  # The first read found no result.


@pytest.mark.parametrize("batch_size", [64, 1437])  # With 1437 the loss is finite, and the test loss is not.
def test_numbers_that_are_not_finite_end_the_run_and_not_the_sweep(batch_size, overrides, train_py):
    line = ["-m", f"train.batch_size={batch_size}", "train.epochs=2", "seed=5", "train.lr=1e38,0.01", *overrides]
    status, out, error = train_py(*line)
    assert status == 1
    assert re.fullmatch(
        r"error: \S+: (loss|nll) was (nan|inf|not finite) in epoch \d, step \d+.*; a lower train.lr may help\n",
        error,
    )
    assert out.count("done: top-1") == 1
    status, out, again = train_py(*line)
    assert status == 1
    assert "has diverged: " in again


class _CountReads(TorchFunctionMode):
    """Counts the calls that read numbers of a tensor, for which the host waits for the device."""

    names = ("item", "__float__", "__int__", "__bool__", "cpu", "tolist", "numpy", "nonzero")

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.reads += function.__name__ in self.names
        return function(*args, **(kwargs or {}))


def test_the_number_of_synchronisations_does_not_depend_on_the_number_of_steps(overrides):
    """An epoch reads its measures from the device twice and its loss once, however many steps it has."""
    reads = []
    for batch_size in (32, 256):
        with _CountReads() as counter:
            stop_after(compose_run("train.epochs=2", f"train.batch_size={batch_size}", *overrides), 2)
        reads.append(counter.reads)
    assert reads[0] == reads[1] > 0


def test_bf16_learns_and_is_recorded(overrides):
    result = execute(compose_run("machine.precision=bf16", "train.epochs=8", "train.milestones=[]", *overrides))
    assert result["precision"] == "bf16"
    assert result["top1"] > 85


# -- on a GPU ----------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp32", "tf32", "bf16"])
@pytest.mark.parametrize(("graph", "compile"), [(True, False), (False, False), (True, True)])
def test_a_run_on_digits_reaches_its_accuracy_on_a_gpu(precision, graph, compile, overrides, capsys):
    keys = [f"machine.precision={precision}", f"machine.graph={graph}", f"machine.compile={compile}"]
    result = execute(compose_run(*overrides, "machine.device=cuda", *keys))
    assert result["top1"] >= 97
    assert result["graph"] == graph
    assert "no CUDA graph" not in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.parametrize("network", ["resnet18", "mobilenetv2"])
def test_networks_with_normalisation_and_mixup_on_a_gpu(network, overrides, capsys):
    """Captured and compiled, as the paper's runs are. Two runs in one process, each interrupted and resumed."""
    keys = [f"network={network}", "network.width=0.25", "augment=mixup", "machine.compile=true", "train.epochs=6"]
    for seed in (0, 1):
        run = compose_run(*overrides, "machine.device=cuda", *keys, f"seed={seed}")
        stop_after(run, 2, RuntimeError("stopped"))
        result = execute(run)
        assert result["top1"] > 50
    assert "no CUDA graph" not in capsys.readouterr().out


@pytest.mark.gpu
def test_no_synchronisation_inside_an_epoch_on_a_gpu(overrides, monkeypatch):
    """CUDA raises where the host waits for it: nowhere between the first batch of an epoch and its last step."""
    epoch = TrainBatches.epoch

    def watched_epoch(self, number):
        try:
            for batch in epoch(self, number):
                torch.cuda.set_sync_debug_mode("error")  # From the first batch on, making the other batches included.
                yield batch
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(TrainBatches, "epoch", watched_epoch)
    for method in ("onehot", "ls", "lls", "ols", "focal", "flsd", "tfkd_reg", "lspp"):
        execute(compose_run(*overrides, "machine.device=cuda", "train.epochs=2", f"method={method}"))
