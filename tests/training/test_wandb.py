"""W&B mirrors the rows of a run. If W&B fails, the run goes on."""

import json
import subprocess
import sys

import pytest
from results import compose_run, read_rows

from lls.training.execute import execute


def wandb_folder(run):
    (folder,) = (run.folder / "wandb").glob("offline-run-*")
    return folder


def read_wandb(run, *options):
    """Return what W&B's reader finds in a run's folder: the records or, with "--summary", the summary."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(wandb_folder(run)), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_two_runs_in_one_process_are_two_wandb_runs_with_separate_rows(wandb_home, overrides):
    runs = [compose_run(*overrides, "machine.wandb=offline", "train.epochs=2", f"seed={seed}") for seed in (0, 1)]
    for run in runs:
        execute(run)
    for run, other in (runs, runs[::-1]):
        records, summary = read_wandb(run), json.loads(read_wandb(run, "--summary"))
        assert other.id not in records
        assert summary["run_id"] == run.id
        assert summary["config"]["seed"] == run.cfg.seed
        assert summary["config"]["method"]["alpha"] == 0.1
        for text in ("digits-lenet", "train", *(str(row["loss"])[:12] for row in read_rows(run))):
            assert text in records
        assert list(wandb_folder(run).glob("files/media/images/q_*.png"))


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
    assert json.loads(read_wandb(run, "--summary"))["run_id"] == run.id


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
