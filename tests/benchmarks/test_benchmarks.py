"""The benchmarks measure what they name, and record the ratios."""

import itertools
import json
import os
import signal
import time
from functools import partial

import numpy as np
import pytest
import torch
from paths import ROOT
from PIL import Image

from benchmarks import images, losses, runs, startup
from benchmarks.loops import COMPETITORS, Case, build, random_images
from benchmarks.other_loops import torchvision_dataset
from benchmarks.record import Goal, Record, markdown
from benchmarks.rounds import Spread
from benchmarks.subprocess_benchmark import SubprocessBenchmark
from lls.config.compose import compose
from lls.data.download import published
from lls.training.build import build_method


def test_other_loops_get_the_same_images():
    """torchvision's classes return the given images, in the size of their files."""
    for name, size in (("fashionmnist", 28), ("cifar10", 32)):
        cfg = compose([f"dataset={name}"])
        x, y = random_images(cfg, 4)
        image, label = torchvision_dataset(cfg.dataset, x, y, None)[2]
        assert isinstance(image, Image.Image)
        assert image.size == (size, size)
        assert label == y[2]
        border = (32 - size) // 2
        assert np.array_equal(
            np.asarray(image).reshape(size, size, -1), x[2, border : 32 - border, border : 32 - border]
        )


def test_all_loops_train():
    case = Case("lenet", "fashionmnist", 2, 2)
    results = {name: build(case, name, workers=0)() for name in COMPETITORS}
    assert results["batches"] == 2
    assert results["torchvision"] / 2 == pytest.approx(2.3, abs=0.1)  # log 10, the loss of an untrained network
    assert results["timm"] == pytest.approx(2.3, abs=0.1)


def test_competitors_are_timed_in_separate_processes():
    """The work is of Python's standard library, so that the processes start without torch."""
    with (
        SubprocessBenchmark(partial, next, itertools.count(6)) as first,
        SubprocessBenchmark(partial, next, itertools.count(8)) as second,
    ):
        assert [first(), first(), second()] == [6, 7, 8]
    assert not first.process.is_alive()
    with SubprocessBenchmark(partial, next, "x") as third, pytest.raises(RuntimeError, match="TypeError"):
        third()
    with SubprocessBenchmark(partial, os._exit, 3) as fourth, pytest.raises(RuntimeError, match="status 3"):
        fourth()
    with SubprocessBenchmark(partial, next, itertools.count(6)) as fifth:
        fifth()
        os.kill(fifth.process.pid, signal.SIGSTOP)
        fifth.pipe.send(None)  # the stopped process never reads it
        fifth.process.kill()
        with pytest.raises(RuntimeError, match="status -9"):
            fifth()


def test_the_pseudo_code_gives_the_same_loss():
    method, pseudo_code = build_method(compose(["method=lls"]).method, 7), losses.PseudoCode(7)
    logits, y = torch.randn(5, 7), torch.randint(7, (5,))
    with torch.no_grad():
        method.q.normal_()
        pseudo_code.qmatrix.copy_(method.q)
    torch.testing.assert_close(method(logits, y), pseudo_code(logits, y))


def test_losses_and_memory():
    times = losses.compare(10, 1, repeats=2)
    assert {"onehot", "ls", "lls", "lls without update", "pseudo-code"} < set(times.seconds)
    dense, sparse = losses.memory(1000)
    assert dense == 3 * 4 * 1000**2
    assert sparse < dense / 4


def test_minutes_of_a_run_of_the_paper():
    time = runs.measure(runs.PaperRun("fashionmnist", "lenet"), 2)
    assert time.training == pytest.approx((time.startup + time.step / 1000 * 468 * 200) / 60)
    assert time.startup > time.step / 1000
    for run in runs.RUNS:
        data = compose([f"dataset={run.dataset}", f"network={run.network}"]).dataset
        assert published.images(data.name, data.get("classes"))


def fail_in_one_process(run, steps, ready):
    """A `measure` that fails in the first process at the barrier. The other process reaches the barrier again."""
    if ready() == 0:
        raise ValueError("no")
    ready()


def test_concurrent_runs_do_not_wait_for_one_that_failed():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="ValueError: no"):
        runs.measure_concurrent(runs.RUNS[0], 1, 2, fail_in_one_process)
    assert time.monotonic() - start < 120 < runs.BARRIER_TIMEOUT_SECONDS


def test_large_images(tmp_path):
    measures = images.compare(tmp_path, 64, 1, 1)
    assert len(measures.times.seconds) == 5
    assert all(megabytes > 0 for megabytes in measures.megabytes.values())


def test_ratios_are_recorded_and_compared(tmp_path):
    path = tmp_path / "bench" / "cpu.json"
    first = Record(path, commit="abc", device="cpu", threads=2)
    first.add("a", Spread(0.9, 1.0, 1.1), Goal(0.97, at_least=True))
    first.add("b", Spread(1, 2, 3), Goal(1.5))
    first.add("c", Spread(1, 1, 1))
    assert first.missed() == ["b"]
    first.write()
    ratios = json.loads(path.read_text())["ratios"]
    assert ratios["a"]["median"] == 1.0
    assert ratios["a"]["met"]
    assert not ratios["b"]["met"]
    assert {entry["commit"] for entry in ratios.values()} == {"abc"}

    second = Record(path, commit="def", device="cpu", threads=2)
    second.add("a", Spread(0.7, 0.8, 0.9), Goal(0.97, at_least=True))
    (line,) = second.lines()
    assert "at least 0.97: NO" in line
    assert "-20.0% since" in line
    assert "(abc)" in line
    assert "within" not in line
    second.write()
    ratios = json.loads(path.read_text())["ratios"]
    assert (ratios["a"]["commit"], ratios["b"]["commit"]) == ("def", "abc")


def test_tracked_reports_match_the_tracked_ratios():
    for path in (ROOT / "outputs" / "bench").glob("*.json"):
        assert path.with_suffix(".md").read_text() == markdown(json.loads(path.read_text()))


def test_start_up_ends_with_the_first_training_step(tmp_path):
    startup.run_python(["-c", startup.FIRST_STEP, f"machine.output={tmp_path}", "machine.wandb=disabled"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "config.yaml").exists()
    assert not (folder / "last.pt").exists()
