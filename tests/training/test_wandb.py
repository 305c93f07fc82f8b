"""W&B is a mirror of the rows, and never in the way of a run."""

import json
import subprocess
import sys

import pytest

from lls.config.compose import compose
from lls.runs.run import Run
from lls.training.execute import execute


@pytest.fixture
def home(monkeypatch, tmp_path):
    """No key, no settings and no folder of the user's."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def logged(run):
    """What W&B's own reader finds in a run's folder: its records, and its summary."""
    (folder,) = (run.folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    records = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    summary = subprocess.run([*command, "--summary"], capture_output=True, text=True, check=True).stdout
    return records, json.loads(summary), folder


def test_two_runs_in_one_process_are_two_runs_with_their_own_rows(home, overrides):
    runs = [Run(compose([*overrides, "machine.wandb=offline", "train.epochs=2", f"seed={seed}"])) for seed in (0, 1)]
    for run in runs:
        execute(run)
    for run, other in (runs, runs[::-1]):
        records, summary, folder = logged(run)
        assert other.id not in records
        assert summary["run_id"] == run.id
        assert summary["config"]["seed"] == run.cfg.seed
        assert summary["config"]["method"]["alpha"] == 0.1
        for text in ("digits-lenet", "train", *(str(row["loss"])[:12] for row in rows(run))):
            assert text in records
        assert list(folder.glob("files/media/images/q_*.png"))


def rows(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_disabled_does_not_import_it(overrides, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would fail
    assert execute(Run(compose([*overrides, "train.epochs=1"])))["epochs"] == 1


def test_online_without_a_key_is_offline_with_one_line(home, overrides, capsys):
    run = Run(compose([*overrides, "machine.wandb=online", "train.epochs=1"]))
    assert execute(run)["epochs"] == 1
    said = [line for line in capsys.readouterr().out.splitlines() if "W&B" in line]
    assert len(said) == 1
    assert "W&B is offline" in said[0]
    assert "no API key" in said[0]
    assert logged(run)[1]["run_id"] == run.id


def test_without_the_package_a_run_goes_on(overrides, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = Run(compose([*overrides, "machine.wandb=offline", "train.epochs=1"]))
    execute(run)
    assert run.result["epochs"] == 1
    assert capsys.readouterr().out.count("W&B is not used, for this run (") == 1


def test_trouble_in_wandb_costs_no_run(home, overrides, monkeypatch, capsys):
    def broken(**_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("wandb.init", broken)
    assert execute(Run(compose([*overrides, "machine.wandb=offline", "train.epochs=1"])))["epochs"] == 1
    assert "W&B is not used, for this run (out of order)" in capsys.readouterr().out


@pytest.mark.parametrize("when", ["log", "finish"])
def test_trouble_in_the_middle_of_a_run_costs_no_run(when, home, overrides, monkeypatch, capsys):
    import wandb

    def broken(*_, **__):
        raise ConnectionResetError("the service is gone")

    run = Run(compose([*overrides, "machine.wandb=offline", "train.epochs=2"]))
    with monkeypatch.context() as patched:
        patched.setattr(wandb.Run, when, broken)
        assert execute(run)["epochs"] == 2
    wandb.teardown()
    assert len(rows(run)) == 2
    assert capsys.readouterr().out.count("W&B gets no more of this run (the service is gone)") == 1
