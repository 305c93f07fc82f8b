"""W&B mirrors the rows of a run. If W&B fails, the run goes on."""

import json
import sys
from types import SimpleNamespace

import pytest
from results import compose_run, read_rows
from wandb_logs import read_wandb, wandb_folder

from lls.training.execute import execute
from lls.training.wandb_files import log_files


def test_two_runs_in_one_process_are_two_wandb_runs_with_separate_rows(wandb_home, overrides):
    runs = [compose_run(*overrides, "machine.wandb=offline", "train.epochs=2", f"seed={seed}") for seed in (0, 1)]
    for run in runs:
        execute(run)
    for run, other in (runs, runs[::-1]):
        folder = wandb_folder(run.folder)
        records, summary = read_wandb(folder), json.loads(read_wandb(folder, "--summary"))
        assert other.id not in records
        assert summary["run_id"] == run.id
        assert summary["config"]["seed"] == run.cfg.seed
        assert summary["config"]["method"]["alpha"] == 0.1
        for text in ("digits-lenet", "train", *(str(row["loss"])[:12] for row in read_rows(run))):
            assert text in records
        assert list(folder.glob("files/media/images/q_*.png"))


def test_a_run_without_wandb_does_not_import_it(overrides, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # An import would fail.
    assert execute(compose_run(*overrides, "train.epochs=1"))["epochs"] == 1


def test_online_without_a_key_is_offline_with_one_line(wandb_home, overrides, capsys):
    run = compose_run(*overrides, "machine.wandb=online", "train.epochs=1")
    assert execute(run)["epochs"] == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "W&B" in line]
    assert len(lines) == 1
    assert "W&B is offline" in lines[0]
    assert "no API key" in lines[0]
    assert json.loads(read_wandb(wandb_folder(run.folder), "--summary"))["run_id"] == run.id


def test_without_the_package_a_run_goes_on(overrides, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = compose_run(*overrides, "machine.wandb=offline", "train.epochs=1")
    execute(run)
    assert run.result["epochs"] == 1
    assert capsys.readouterr().out.count("W&B is not used, for this run (") == 1


def test_a_run_goes_on_if_wandb_does_not_start(wandb_home, overrides, monkeypatch, capsys):
    def fail(**_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("wandb.init", fail)
    assert execute(compose_run(*overrides, "machine.wandb=offline", "train.epochs=1"))["epochs"] == 1
    assert "W&B is not used, for this run (out of order)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["log", "finish"])
def test_a_run_goes_on_if_wandb_fails_during_it(name, wandb_home, overrides, monkeypatch, capsys):
    import wandb

    def fail(*_, **__):
        raise ConnectionResetError("the service is gone")

    run = compose_run(*overrides, "machine.wandb=offline", "train.epochs=2")
    with monkeypatch.context() as patched:
        patched.setattr(wandb.Run, name, fail)
        assert execute(run)["epochs"] == 2
    wandb.teardown()
    assert len(read_rows(run)) == 2
    assert capsys.readouterr().out.count("W&B gets no more of this run (the service is gone)") == 1


def logged_files(folder):
    """Return what `log_files` logs, by key."""
    logged = {}
    log_files(SimpleNamespace(log=logged.update), folder)
    return logged


def test_the_reliability_curve_leaves_out_bins_without_images(tmp_path):
    (tmp_path / "reliability.csv").write_text("lower,upper,count,confidence,accuracy\n0,0.5,0,,\n0.5,1.0,7,0.8,0.9\n")
    table = logged_files(tmp_path)["reliability"].table
    assert table.data == [[0.8, "accuracy", 0.9], [0.8, "perfect calibration", 0.8]]


def test_a_large_confusion_matrix_is_logged_without_zeros(tmp_path):
    """W&B would cut the table after 10,000 rows."""
    classes = [f"class {i}" for i in range(101)]
    lines = [",".join(["true", *classes]), *(f"{name},{','.join(['0'] * i + ['3'] + ['0'] * (100 - i))}"
             for i, name in enumerate(classes))]  # fmt: skip
    (tmp_path / "confusion.csv").write_text("\n".join(lines))
    table = logged_files(tmp_path)["confusion"].table
    assert table.data == [[name, name, 3] for name in classes]


def test_a_run_without_these_files_logs_none(tmp_path):
    assert not logged_files(tmp_path)
