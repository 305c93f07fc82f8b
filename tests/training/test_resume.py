"""Interrupted runs: after a kill, Ctrl-C, a broken checkpoint or a full disk, a run ends as an uninterrupted one."""

import fcntl
import json
import multiprocessing
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from random import Random

import pytest
import torch
from paths import ROOT
from results import compose_run, read_rows
from training_runs import stop_after, without_times

from lls.errors import UserError
from lls.qmatrix import QMatrix, load_q, save_q
from lls.training.checkpoint import restore
from lls.training.execute import execute

# Children of the server find torch imported, and none of this process's threads. An optimizer imports torch._dynamo.
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["lls.training.loop", "torch._dynamo"])


def outputs(run):
    """Everything that a run writes and that must not depend on interruptions."""
    q_files = [run.folder / name for name in ("q.safetensors", "q_epochs.safetensors")]
    weights = torch.load(run.folder / "last.pt", weights_only=True)
    return (
        [without_times(row) for row in read_rows(run)],
        without_times(json.loads((run.folder / "result.json").read_text())),
        [path.read_bytes() for path in q_files if path.exists()],
        {key: as_lists(value) for part in ("network", "method") for key, value in weights[part].items()},
    )


def as_lists(value):
    return {k: as_lists(v) for k, v in value.items()} if isinstance(value, dict) else value.tolist()


def train_quietly(overrides):
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the process ends with it
    execute(compose_run(*overrides))


def kill_after(row, part, overrides, run):
    """Train in another process, and kill it when `row` rows are written and `part` of another epoch has passed.

    Returns whether it was killed before it was done."""
    process = server.Process(target=train_quietly, args=(overrides,))
    process.start()
    started, epoch_seconds = time.monotonic(), 0.1
    while process.is_alive() and run.epochs_done < row:
        time.sleep(0.002)
    if run.epochs_done:
        epoch_seconds = min(read_rows(run)[-1]["seconds"], time.monotonic() - started)
    process.join(part * epoch_seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("method", ["ls", "lls", "ols", "lls_topn"])
def test_a_run_that_is_killed_five_times_ends_as_if_it_never_was(method, overrides, tmp_path):
    """With Mixup, which draws from the generator whose state is in the checkpoint."""
    keys = [f"method={method}", "train.epochs=9", "train.milestones=[5,7]", "augment=mixup", "dataset.subset=samples"]
    keys += ["method.n=4", "method.gather=4"] if method == "lls_topn" else []
    uninterrupted = compose_run(*keys, *overrides[:1], f"machine.output={tmp_path}/uninterrupted", *overrides[2:])
    execute(uninterrupted)
    run, random = compose_run(*keys, *overrides), Random(method)
    moments = [(row, 2 * random.random()) for row in (0, *sorted(random.sample(range(1, 8), 4)))]
    for row, part in moments:
        assert kill_after(row, part, [*keys, *overrides], run)
    execute(run)
    assert outputs(run) == outputs(uninterrupted)
    assert not list(run.folder.glob(".*.tmp"))


def test_equal_matrices_are_equal_files(tmp_path):
    q = QMatrix(torch.eye(3), ["a", "b", "c"], {"dataset": "d", "alpha": "0.1", "run": "r", "network": "n"})
    for i in range(20):
        save_q(tmp_path / str(i), q)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(20)}) == 1
    again = load_q(tmp_path / "0")
    assert torch.equal(again.logits, q.logits)
    assert again[1:] == q[1:]


def test_a_checkpoint_without_its_row_brings_the_row_back(overrides):
    """Interrupted between an epoch's checkpoint and its row, or with a row half written."""
    run = compose_run("train.epochs=4", *overrides)
    stop_after(run, 3)
    metrics = run.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-300])
    assert run.result is None
    execute(run)
    assert [row["epoch"] for row in read_rows(run)] == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 100, 0.6, 0.999])
def test_a_truncated_checkpoint_is_set_aside_and_the_run_begins_again(size, overrides, capsys):
    run = compose_run("train.epochs=3", *overrides)
    stop_after(run, 2)
    checkpoint = run.folder / "last.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: size if isinstance(size, int) else int(size * len(content))])
    capsys.readouterr()
    execute(run)
    output = capsys.readouterr().out
    assert f"{checkpoint} is broken" in output
    assert [line.split()[1] for line in output.splitlines() if line.startswith("epoch")] == ["1/3", "2/3", "3/3"]
    assert (run.folder / "last.pt.broken").exists()
    assert len(read_rows(run)) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(overrides):
    run = compose_run("train.epochs=3", *overrides)
    stop_after(run, 1)
    (run.folder / ".last.pt.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"no space left on the disk; epoch 1 is saved; free some space and repeat"):
        execute(run)
    assert len(restore(run)["rows"]) == 1
    assert execute(compose_run("train.epochs=3", *overrides))["epochs"] == 3


def test_ctrl_c_on_a_terminal_leaves_a_run_that_the_printed_command_resumes(overrides):
    """The real command in a terminal of its own, with a progress bar."""
    execute(compose_run("train.epochs=1", *overrides))  # fills the cache of digits
    words = [sys.executable, "train.py", "train.epochs=5000", *overrides]
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(words, cwd=ROOT, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.close(end)
    screen, interrupted, started = "", False, time.monotonic()
    while time.monotonic() - started < 60:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                screen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the terminal's other end is closed
                break
        if not interrupted and re.search(r"epoch [3-9]/5000.*top-1", screen):
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(terminal)
    process.kill() if not interrupted else None
    assert process.wait(30) == 130, screen
    assert re.search(r"step \d+/110000, [\d,]+ images/s, [\d:]+ left, loss \d\.\d{4}, top-1 \d+\.\d\d %", screen)
    assert "Traceback" not in screen
    run = compose_run("train.epochs=5000", *overrides)
    epochs_saved = int(re.search(r"stopped after epoch (\d+), which is saved in", screen)[1])
    assert epochs_saved == len(restore(run)["rows"]) >= 2
    assert f"to continue: python train.py train.epochs=5000 {overrides[0]}" in screen
