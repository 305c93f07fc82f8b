"""The benchmark measures what it says: fair turns, the loops and losses that it names, ratios that are kept."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import images, loops, losses, rounds, runs, startup
from benchmarks.apart import SubprocessBenchmark
from benchmarks.record import Goal, Record, markdown
from benchmarks.rounds import Spread, alternate
from lls.config.compose import compose
from lls.data.download import published
from lls.training.build import build_method

ROOT = Path(__file__).resolve().parent.parent


def test_turns_alternate_and_ratios_are_of_neighbours(monkeypatch):
    monkeypatch.setattr(rounds, "_load", lambda: None)
    done, now = [], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def takes(name, seconds):
        def work():
            done.append(name)
            now[0] += seconds * (1 + len(done))  # a machine that becomes slower and slower

        return work

    times = alternate({"a": takes("a", 1), "b": takes("b", 2)}, 4)
    assert done == list("abbaabbaab")
    assert [len(values) for values in times.seconds.values()] == [4, 4]
    assert times.ratio("b", "a").median == pytest.approx(2, rel=0.2)
    assert times.of("b").high > times.of("b").low
    assert times.disturbed() == ""


@pytest.mark.parametrize(
    ("noisy", "repeated", "kept"), [([0, 2], 1, 0), ([], 0, 0), (range(1, 100), 6, 3)], ids=["one", "none", "all"]
)
def test_disturbed_rounds_are_repeated(noisy, repeated, kept, monkeypatch):
    """The round that warms up is number 0; when all are disturbed, three times as many have to do."""
    number = iter(range(1000))
    monkeypatch.setattr(rounds, "_load", lambda: next(number) // 2)
    monkeypatch.setattr(rounds, "background_load", lambda before, after: float(before in noisy))
    times = alternate({"a": lambda: None}, 3)
    assert (len(times.seconds["a"]), times.repeated, times.kept) == (3, repeated, kept)


@pytest.mark.skipif(rounds._load() is None, reason="only Linux says what others do")
def test_own_work_is_not_foreign():
    before, end = rounds._load(), time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = rounds._load()
    assert 0.2 <= after.own - before.own <= after.busy - before.busy + 0.05
    assert after.wall - before.wall >= 0.3


def test_foreign_is_what_is_not_ones_own():
    before, after = rounds._Load(wall=10, busy=100, own=50), rounds._Load(wall=12, busy=105, own=53)
    assert rounds.background_load(before, after) == 1.0
    assert rounds.background_load(None, None) == 0.0


def test_our_rivals_see_the_same_images():
    """torchvision's classes hand out the images that they were given, at the size that they would have read."""
    for name, size in (("fashionmnist", 28), ("cifar10", 32)):
        cfg = compose([f"dataset={name}"])
        x, y = loops.pixels(cfg, 4)
        image, label = loops.torchvision_set(cfg.dataset, x, y, None)[2]
        assert isinstance(image, Image.Image)
        assert image.size == (size, size)
        assert label == y[2]
        border = (32 - size) // 2
        assert np.array_equal(
            np.asarray(image).reshape(size, size, -1), x[2, border : 32 - border, border : 32 - border]
        )


def test_all_loops_train(monkeypatch):
    monkeypatch.setattr(loops, "WORKERS", 0)
    monkeypatch.setattr(loops, "keep_memory", lambda on: None)  # of this process and all later tests
    done = {way: loops.build(loops.Case("lenet", "fashionmnist", 2, 2), way)() for way in loops.COMPETITORS}
    assert done["batches"] == 2
    assert done["torchvision"] / 2 == pytest.approx(2.3, abs=0.1)  # log 10, before anything is learned
    assert done["timm"] == pytest.approx(2.3, abs=0.1)


def test_ways_are_timed_in_processes_of_their_own():
    """Of nothing but Python's own, so that they start without torch."""
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
        fifth.pipe.send(None)  # which it never reads
        fifth.process.kill()
        with pytest.raises(RuntimeError, match="status -9"):
            fifth()


def test_the_pseudo_code_is_the_loss():
    ours, theirs = build_method(compose(["method=lls"]).method, 7), losses.PseudoCode(7)
    logits, y = torch.randn(5, 7), torch.randint(7, (5,))
    with torch.no_grad():
        ours.q.normal_()
        theirs.qmatrix.copy_(ours.q)
    torch.testing.assert_close(ours(logits, y), theirs(logits, y))


def test_losses_and_memory(monkeypatch):
    times = losses.compare(10, 1)
    assert {"onehot", "ls", "lls", "lls without update", "pseudo-code"} < set(times.seconds)
    dense, sparse = losses.memory(1000)
    assert dense == 3 * 4 * 1000**2
    assert sparse < dense / 4


def test_a_run_of_the_paper_in_minutes(monkeypatch):
    found = runs.measure(runs.Paper("fashionmnist", "lenet"), 2)
    assert found.training == pytest.approx((found.begin + found.step / 1000 * 468 * 200) / 60)
    assert found.begin > found.step / 1000
    for run in runs.RUNS:
        data = compose([f"dataset={run.dataset}", f"network={run.network}"]).dataset
        assert published.images(data.name, data.get("classes"))


def test_of_several_at_once_none_waits_for_one_that_failed(tmp_path):
    """In a process of its own, whose own processes find such a `measure` in benchmarks.runs."""
    (tmp_path / "script.py").write_text(
        "from benchmarks import runs\n\n"
        "def measure(run, steps, ready):\n"
        "    if ready() == 0:\n        raise ValueError('no')\n"
        "    ready()\n\n"
        "runs.measure = measure\n"
        "if __name__ == '__main__':\n    runs.at_once(runs.RUNS[0], 1, 2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert "ValueError: no" in done.stderr.decode().splitlines()[-1]


def test_large_images(tmp_path):
    found = images.compare(tmp_path, 64, 1, 1)
    assert len(found.times.seconds) == 5
    assert all(megabytes > 0 for megabytes in found.megabytes.values())


def test_ratios_are_kept_and_compared(tmp_path):
    path = tmp_path / "bench" / "cpu.json"
    first = Record(path, commit="abc", device="cpu", threads=2)
    first.add("a", Spread(0.9, 1.0, 1.1), Goal(0.97, at_least=True))
    first.add("b", Spread(1, 2, 3), Goal(1.5))
    first.add("c", Spread(1, 1, 1))
    assert first.missed() == ["b"]
    first.write()
    kept = json.loads(path.read_text())["ratios"]
    assert kept["a"]["median"] == 1.0
    assert kept["a"]["met"]
    assert not kept["b"]["met"]
    assert {entry["commit"] for entry in kept.values()} == {"abc"}

    second = Record(path, commit="def", device="cpu", threads=2)
    second.add("a", Spread(0.7, 0.8, 0.9), Goal(0.97, at_least=True))
    (line,) = second.lines()
    assert "at least 0.97: NO" in line
    assert "-20.0% since" in line
    assert "(abc)" in line
    assert "within" not in line
    second.write()
    kept = json.loads(path.read_text())["ratios"]
    assert (kept["a"]["commit"], kept["b"]["commit"]) == ("def", "abc")


def test_the_tracked_reports_say_what_the_tracked_ratios_are():
    for path in (Path(__file__).parent.parent / "outputs" / "bench").glob("*.json"):
        assert path.with_suffix(".md").read_text() == markdown(json.loads(path.read_text()))


def test_start_up_ends_with_the_first_training_step(tmp_path):
    startup._run(["-c", startup.FIRST_STEP, f"machine.output={tmp_path}", "machine.wandb=disabled"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "config.yaml").exists()
    assert not (folder / "last.pt").exists()
