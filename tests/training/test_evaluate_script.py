"""scripts/runs.py and scripts/evaluate.py: list runs, and measure saved networks again."""

import re
import shutil

import pytest
from archives import write
from results import compose_run
from training_runs import stop_after

from lls.training.execute import execute


@pytest.mark.parametrize("text", ["", "a: {", "[1, 2]", "dataset: 3", "dataset: {name: digits}\nmachine: {}", "\0"])
def test_a_folder_without_a_runs_configuration_is_named(text, run_script, tmp_path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    status, _, error = run_script("runs.py", "--output", tmp_path)
    assert status == 2
    assert re.fullmatch(
        rf"error: {folder}/config.yaml is not the configuration of a run \(.*\): remove the folder\n", error
    )


def test_scripts_list_runs_and_measure_them_again(overrides, run_script, tmp_path):
    assert run_script("runs.py", "--output", tmp_path)[1] == f"no runs in {tmp_path}/runs\n"
    done = compose_run("train.epochs=2", *overrides)
    interrupted = compose_run("train.epochs=3", "method=ls", "budget=0.9", *overrides)
    result = execute(done)
    stop_after(interrupted, 1)
    lines = run_script("runs.py", "--output", tmp_path)[1].splitlines()
    assert len(lines) == 2
    assert re.search(rf"{done.id} +done +budget 1 +top-1 +{result['top1']:.2f} %", lines[0])
    assert re.search(rf"{interrupted.id} +1/3 epochs +budget 0.9  train.epochs=3$", lines[1])

    _, out, error = run_script("evaluate.py", "digits-lenet-lls", "--output", tmp_path)
    top1 = f"{result['top1']:.4f}"
    assert re.search(rf"top1 +{top1} +recorded +{top1}", out), error
    copied = tmp_path / "elsewhere"
    shutil.copytree(done.folder, copied)
    assert f"recorded {top1:>10}" in run_script("evaluate.py", copied)[1]
    (copied / "last.pt").write_bytes(b"")
    assert "last.pt is broken" in run_script("evaluate.py", copied)[2]
    assert (copied / "last.pt").exists()
    (copied / "last.pt").unlink()
    assert "has no last.pt: git does not track weights" in run_script("evaluate.py", copied)[2]
    for arguments, message in (
        (("nothing",), "no runs in"),
        (("digits",), "2 runs in"),
        ((done.id, "seed=1"), "are machine.* keys and dataset.geometry"),
        ((done.id, "dataset.geometry=paper"), "no such key: dataset.geometry"),
        ((done.id, "machine.workers=1,2"), "one value"),
        ((done.id, "machine.devise=cpu"), "did you mean 'machine.device'"),
        ((done.id, "machine.precision=fp99"), "one of auto, fp32, tf32, bf16"),
    ):
        status, _, error = run_script("evaluate.py", *arguments, "--output", tmp_path)
        assert status == 2
        assert re.fullmatch(r"error: [^\n]+\n", error)
        assert message in error


def test_a_saved_network_is_measured_on_test_images_that_are_scaled_differently(
    overrides, monkeypatch, run_script, tmp_path
):
    write("fashionmnist", tmp_path / "archives", monkeypatch)
    keys = ["dataset=fashionmnist", "network=lenet", "method=onehot", "train.epochs=1", "train.batch_size=10"]
    run = compose_run(*keys, *overrides, f"machine.data={tmp_path}/archives")
    recorded = execute(run)["nll"]
    for geometry, as_recorded in (("matched", True), ("paper", False)):
        _, out, error = run_script("evaluate.py", run.folder, f"dataset.geometry={geometry}")
        assert f"{run.id}, epoch 1, dataset.geometry={geometry}\n" in out, error
        measured, beside = re.search(r"nll +(\S+) +recorded +(\S+)", out).groups()
        assert float(beside) == pytest.approx(recorded, abs=1e-4)
        assert (abs(float(measured) - recorded) < 1e-4) == as_recorded
    assert compose_run(*keys, *overrides, f"machine.data={tmp_path}/archives").result["nll"] == recorded
