"""Whole runs on digits: what they reach and leave, and that nothing that interrupts them changes the outcome."""

import fcntl
import json
import multiprocessing
import os
import pty
import re
import runpy
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from random import Random

import pytest
import torch
from archives import write
from filelock import FileLock
from PIL import Image

from lls.config.compose import compose
from lls.data.in_memory import TrainBatches
from lls.errors import UserError
from lls.qmatrix import QMatrix, load_q, save_q
from lls.runs.run import Run
from lls.training import checkpoint
from lls.training.checkpoint import restore, save
from lls.training.execute import execute

ROOT = Path(__file__).resolve().parent.parent
TIMES = {"seconds", "eval_seconds", "images_per_second", "finished"}


def run_of(*overrides):
    return Run(compose(overrides))


def without_times(row):
    return {key: value for key, value in row.items() if key not in TIMES}


def rows(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def outcome(run):
    """Everything a run leaves that must not depend on when it was interrupted."""
    q = run.folder / "q.safetensors"
    weights = torch.load(run.folder / "last.pt", weights_only=True)
    return (
        [without_times(row) for row in rows(run)],
        without_times(json.loads((run.folder / "result.json").read_text())),
        q.read_bytes() if q.exists() else None,
        {key: _plain(value) for part in ("network", "method") for key, value in weights[part].items()},
    )


def _plain(value):
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value.tolist()


@pytest.fixture
def script(monkeypatch, capsys):
    """Run a script in this process: script("runs.py", "--output", ...) -> its exit status, stdout and stderr."""

    def run(name, *arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code
        return subprocess.CompletedProcess(sys.argv, status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(("method", "epochs", "least"), [("lls", 30, 97), ("onehot", 4, 20)])
def test_digits_to_the_end(method, epochs, least, overrides, capsys):
    shorter = [] if epochs == 30 else [f"train.epochs={epochs}", "train.milestones=[2,3]"]
    run = run_of(f"method={method}", *shorter, *overrides)
    result = execute(run)
    assert result["top1"] >= least
    assert result == run.result
    assert result["top1_best"] == max(row["top1"] for row in rows(run)) >= result["top1"]
    assert result["parameters"] == 61_706 + (100 if method == "lls" else 0)
    assert result["epochs"] == len(rows(run)) == epochs
    assert {"torch", "python", "numpy"} <= set(result["versions"])
    assert {"nll", "loss", "seconds", "images_per_second", "budget", "device", "precision", "commit", "ece"} <= set(
        result
    )
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 + epochs + 2
    pattern = r"  lr 0.0005  loss [\d.]+  top-1 \d\d.\d\d %  nll [\d.]+  [\d,]+ images/s  00:00 left"
    assert re.fullmatch(f"epoch {epochs}/{epochs}{pattern}", said[epochs])

    state = torch.load(run.folder / "last.pt", weights_only=True)
    assert "optimizer" not in state
    assert (run.folder / "q.safetensors").exists() == (run.folder / "q.png").exists() == (method == "lls")
    if method == "lls":
        q = load_q(run.folder / "q.safetensors")
        assert torch.equal(q.logits, state["method"]["q"])
        assert q.classes == [str(d) for d in range(10)]
        assert q.about.items() >= {"dataset": "digits", "network": "lenet", "method": "lls", "alpha": "0.1"}.items()
        assert q.about["run"] == run.id
        assert q.logits.softmax(-1).diagonal().mean() < 0.1  # learned: below the uniform it starts from
        assert min(Image.open(run.folder / "q.png").size) > 400

    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    assert execute(run) == result
    assert {path: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before
    said = capsys.readouterr().out
    assert said.startswith(f"already done: top-1 {result['top1']:.2f} %")
    assert str(run.folder) in said


# -- interruptions -----------------------------------------------------------------------------------------------------

server = multiprocessing.get_context("forkserver")  # its children find torch imported, and no thread of its started
server.set_forkserver_preload(
    ["lls.training.loop", "torch._dynamo", "torchmetrics.functional.classification"]
)  # an optimizer imports the second: it takes a second


def child(overrides):
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the process ends with it
    execute(run_of(*overrides))


def killed_at(row, part, overrides, run):
    """Train in a process of its own; SIGKILL when `row` rows are written and a further `part` of an epoch has passed.
    Returns whether it was killed before it was done."""
    process = server.Process(target=child, args=(overrides,))
    process.start()
    seen, epoch = time.monotonic(), 0.1
    while process.is_alive() and run.epochs_done < row:
        time.sleep(0.002)
    if run.epochs_done:
        epoch = min(rows(run)[-1]["seconds"], time.monotonic() - seen)
    process.join(part * epoch)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("method", ["ls", "lls", "ols", "lls_topn"])
def test_killed_at_five_moments_a_run_ends_as_if_it_never_was(method, overrides, data, tmp_path):
    """With Mixup, which draws from the generator whose state a checkpoint keeps."""
    what = [f"method={method}", "train.epochs=9", "train.milestones=[5,7]", "augment=mixup"]
    what += ["method.n=4", "method.gather=4"] if method == "lls_topn" else []
    straight = [*what, *overrides[:1], f"machine.output={tmp_path}/straight", *overrides[2:]]
    run = run_of(*what, *overrides)
    execute(run_of(*straight))
    random = Random(method)
    moments = [(row, 2 * random.random()) for row in (0, *sorted(random.sample(range(1, 8), 4)))]
    for row, part in moments:
        assert killed_at(row, part, [*what, *overrides], run)
    execute(run)
    assert outcome(run) == outcome(run_of(*straight))
    assert not list(run.folder.glob(".*.tmp"))


def stop_after(epoch, monkeypatch, run, how):
    """Train until `how` is raised while the checkpoint after `epoch` is about to be written."""

    def stop(of, state):
        if len(state["rows"]) == epoch:
            raise how
        save(of, state)

    with monkeypatch.context() as patched:
        patched.setattr("lls.training.loop.save", stop)
        with pytest.raises(type(how)):
            execute(run)


def test_a_checkpoint_without_its_row_brings_the_row_back(overrides, monkeypatch):
    """Stopped between an epoch's checkpoint and its row, or with a row half written."""
    run = run_of("train.epochs=4", *overrides)
    stop_after(4, monkeypatch, run, KeyboardInterrupt())
    record = run.folder / "metrics.jsonl"
    record.write_text(record.read_text()[:-300])
    assert run.result is None
    execute(run)
    assert [row["epoch"] for row in rows(run)] == [1, 2, 3, 4]


def test_equal_matrices_are_equal_files(tmp_path):
    q = QMatrix(torch.eye(3), ["a", "b", "c"], {"dataset": "d", "alpha": "0.1", "run": "r", "network": "n"})
    for i in range(20):
        save_q(tmp_path / str(i), q)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(20)}) == 1
    again = load_q(tmp_path / "0")
    assert torch.equal(again.logits, q.logits)
    assert again[1:] == q[1:]


@pytest.mark.parametrize("kept", [0, 100, 0.6, 0.999])
def test_a_truncated_checkpoint_is_set_aside_and_the_run_begins_again(kept, overrides, monkeypatch, capsys):
    run = run_of("train.epochs=3", *overrides)
    stop_after(3, monkeypatch, run, KeyboardInterrupt())
    checkpoint = run.folder / "last.pt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    capsys.readouterr()
    execute(run)
    said = capsys.readouterr().out
    assert f"{checkpoint} is broken" in said
    assert [line.split()[1] for line in said.splitlines() if line.startswith("epoch")] == ["1/3", "2/3", "3/3"]
    assert (run.folder / "last.pt.broken").exists()
    assert len(rows(run)) == 3


def test_a_broken_result_is_no_result(overrides, capsys):
    run = run_of("train.epochs=1", *overrides)
    result = execute(run)
    (run.folder / "result.json").write_text('{"top1": ')
    again = execute(run)
    assert without_times(again) == without_times(result)
    assert "result.json is broken" in capsys.readouterr().out


def test_one_process_a_run(overrides):
    run = run_of("train.epochs=1", *overrides)
    with run.lock, pytest.raises(UserError, match="is being trained by another process"):
        execute(run_of("train.epochs=1", *overrides))
    held = threading.Event()

    def look():  # whether it is busy, slowly
        with FileLock(run.folder / ".lock"):
            held.set()
            time.sleep(0.1)

    looking = threading.Thread(target=look)
    run.folder.mkdir(parents=True, exist_ok=True)
    looking.start()
    held.wait()
    assert execute(run)["epochs"] == 1
    looking.join()


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(overrides, monkeypatch, capsys):
    run = run_of("train.epochs=1", *overrides)
    result = execute(run)
    seen = iter([None, result])
    monkeypatch.setattr(Run, "result", property(lambda _: next(seen)))
    monkeypatch.setattr("lls.training.execute._train", lambda _: pytest.fail("trained again"))
    capsys.readouterr()
    assert execute(run) == result
    assert capsys.readouterr().out.startswith("already done")


@pytest.mark.parametrize("text", ["", "a: {", "[1, 2]", "dataset: 3", "dataset: {name: digits}\nmachine: {}", "\0"])
def test_a_folder_without_a_runs_configuration_is_named(text, script, tmp_path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    shown = script("runs.py", "--output", tmp_path)
    assert shown.returncode == 2
    assert re.fullmatch(
        rf"error: {folder}/config.yaml is no run's configuration \(.*\): remove the folder\n", shown.stderr
    )


@pytest.mark.parametrize("batch_size", [64, 1437])  # in the second the loss is finite, and the test loss is not
def test_numbers_that_are_not_finite_end_the_run_and_not_the_sweep(batch_size, overrides, train_py, tmp_path):
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


def test_ctrl_c_on_a_terminal(overrides, data, tmp_path):
    """The real command in a terminal of its own: a bar; Ctrl-C leaves a run that the command it prints resumes."""
    execute(run_of("train.epochs=1", *overrides))  # fills the cache of digits
    words = [sys.executable, "train.py", "train.epochs=5000", *overrides]
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(words, cwd=ROOT, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.close(end)
    shown, interrupted, started = "", False, time.monotonic()
    while time.monotonic() - started < 60:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the terminal's other end is closed
                break
        if not interrupted and re.search(r"epoch [3-9]/5000.*top-1", shown):
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(terminal)
    process.kill() if not interrupted else None
    assert process.wait(30) == 130, shown
    assert re.search(r"step \d+/110000, [\d,]+ images/s, [\d:]+ left, loss \d\.\d{4}, top-1 \d+\.\d\d %", shown)
    assert "Traceback" not in shown
    run = run_of("train.epochs=5000", *overrides)
    kept = int(re.search(r"stopped after epoch (\d+), which is kept in", shown)[1])
    assert kept == len(restore(run)["rows"]) >= 2
    assert f"to resume it: python train.py train.epochs=5000 {overrides[0]}" in shown


# -- how it is computed ------------------------------------------------------------------------------------------------


def test_no_synchronisation_inside_an_epoch(overrides, monkeypatch):
    """Reading a number off the device is what makes the host wait for it: twice an epoch for the measures, once for
    the loss, however many steps there are."""
    calls = []
    monkeypatch.setattr("lls.training.loop.final_result", lambda *_: {})  # which searches, and reads as it goes
    monkeypatch.setattr(Run, "finish", lambda *_: None)
    for name in ("item", "__float__", "__int__", "__bool__", "cpu", "tolist", "numpy", "nonzero"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, original=original: calls.append(1) or original(self, *a)
        )
    reads = []
    for batch_size in (32, 256):
        calls.clear()
        execute(run_of("train.epochs=2", f"train.batch_size={batch_size}", *overrides))
        reads.append(len(calls))
    assert reads[0] == reads[1]


def test_bf16_learns_too_and_says_so(overrides):
    result = execute(run_of("machine.precision=bf16", "train.epochs=8", "train.milestones=[]", *overrides))
    assert result["precision"] == "bf16"
    assert result["top1"] > 85


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp32", "tf32", "bf16"])
@pytest.mark.parametrize(("graph", "compile"), [(True, False), (False, False), (True, True)])
def test_digits_on_a_gpu(precision, graph, compile, overrides, capsys):
    how = [f"machine.precision={precision}", f"machine.graph={graph}", f"machine.compile={compile}"]
    result = execute(run_of(*overrides, "machine.device=cuda", *how))
    assert result["top1"] >= 97
    assert result["graph"] == graph
    assert "no CUDA graph" not in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.parametrize("network", ["resnet18", "mobilenetv2"])
def test_networks_with_normalisation_and_mixup_on_a_gpu(network, overrides, monkeypatch, capsys):
    """Recorded and compiled, as the paper's runs are; two in one process, each of them stopped and resumed."""
    keys = [f"network={network}", "network.width=0.25", "augment=mixup", "machine.compile=true", "train.epochs=6"]
    for seed in (0, 1):
        run = run_of(*overrides, "machine.device=cuda", *keys, f"seed={seed}")
        stop_after(3, monkeypatch, run, RuntimeError("stopped"))
        result = execute(run)
        assert result["top1"] > 50
    assert "no CUDA graph" not in capsys.readouterr().out


@pytest.mark.gpu
def test_no_synchronisation_inside_an_epoch_on_a_gpu(overrides, monkeypatch):
    """CUDA itself says where the host waits for it: nowhere between the first batch of an epoch and its last step."""
    epoch = TrainBatches.epoch

    def watched(self, number):
        try:
            for batch in epoch(self, number):
                torch.cuda.set_sync_debug_mode("error")  # from the first one on, the making of the others included
                yield batch
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(TrainBatches, "epoch", watched)
    for method in ("onehot", "ls", "lls", "ols", "focal", "flsd", "tfkd_reg", "lspp"):
        execute(run_of(*overrides, "machine.device=cuda", "train.epochs=2", f"method={method}"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is Linux's")
def test_a_full_disk_is_one_line_and_keeps_what_was_saved(overrides, monkeypatch):
    run, write, full = run_of("train.epochs=3", *overrides), checkpoint.write_atomic, []

    def fills(path, fill):
        if path.name == "last.pt" and len(full) == 1:
            fill(Path("/dev/full"))
        full.append(1) if path.name == "last.pt" else None
        write(path, fill)

    monkeypatch.setattr(checkpoint, "write_atomic", fills)
    with pytest.raises(UserError, match=r"no space left on the disk; epoch 1 is kept, and the same command goes on"):
        execute(run)
    monkeypatch.undo()
    assert execute(run_of("train.epochs=3", *overrides))["epochs"] == 3


# -- runs and their scripts --------------------------------------------------------------------------------------------


def test_scripts_list_runs_and_measure_them_again(overrides, monkeypatch, script, tmp_path):
    assert script("runs.py", "--output", tmp_path).stdout == f"no runs in {tmp_path}/runs\n"
    done, begun = run_of("train.epochs=2", *overrides), run_of("train.epochs=3", "method=ls", "budget=0.9", *overrides)
    result = execute(done)
    stop_after(2, monkeypatch, begun, KeyboardInterrupt())
    listed = script("runs.py", "--output", tmp_path).stdout.splitlines()
    assert len(listed) == 2
    assert re.search(rf"{done.id} +done +budget 1 +top-1 +{result['top1']:.2f} %", listed[0])
    assert re.search(rf"{begun.id} +1/3 epochs +budget 0.9  train.epochs=3$", listed[1])

    measured = script("evaluate.py", "digits-lenet-lls", "--output", tmp_path)
    top1 = f"{result['top1']:.4f}"
    assert re.search(rf"top1 +{top1} +recorded +{top1}", measured.stdout), measured.stderr
    moved = tmp_path / "elsewhere"
    shutil.copytree(done.folder, moved)
    assert f"recorded {top1:>10}" in script("evaluate.py", moved).stdout
    (moved / "last.pt").write_bytes(b"")
    failed = script("evaluate.py", moved)
    assert "last.pt is broken" in failed.stderr
    assert (moved / "last.pt").exists()
    (moved / "last.pt").unlink()
    assert "last.pt is not there: git does not track weights" in script("evaluate.py", moved).stderr
    for arguments, said in (
        (("nothing",), "no runs in"),
        (("digits",), "2 runs in"),
        ((done.id, "seed=1"), "are machine.* keys and dataset.geometry"),
        ((done.id, "dataset.geometry=paper"), "no such key: dataset.geometry"),
        ((done.id, "machine.workers=1,2"), "one value"),
        ((done.id, "machine.devise=cpu"), "did you mean 'machine.device'"),
        ((done.id, "machine.precision=fp99"), "one of auto, fp32, tf32, bf16"),
    ):
        failed = script("evaluate.py", *arguments, "--output", tmp_path)
        assert failed.returncode == 2
        assert re.fullmatch(r"error: [^\n]+\n", failed.stderr)
        assert said in failed.stderr


def test_a_saved_network_is_measured_on_test_images_scaled_otherwise(overrides, monkeypatch, script, tmp_path):
    write("fashionmnist", tmp_path / "archives", monkeypatch)
    keys = ["dataset=fashionmnist", "network=lenet", "method=onehot", "train.epochs=1", "train.batch_size=10"]
    run = run_of(*keys, *overrides, f"machine.data={tmp_path}/archives")
    recorded = execute(run)["nll"]
    for geometry, as_recorded in (("matched", True), ("paper", False)):
        told = script("evaluate.py", run.folder, f"dataset.geometry={geometry}")
        assert f"{run.id}, epoch 1, dataset.geometry={geometry}\n" in told.stdout, told.stderr
        measured, beside = re.search(r"nll +(\S+) +recorded +(\S+)", told.stdout).groups()
        assert float(beside) == pytest.approx(recorded, abs=1e-4)
        assert (abs(float(measured) - recorded) < 1e-4) == as_recorded
    assert run_of(*keys, *overrides, f"machine.data={tmp_path}/archives").result["nll"] == recorded
