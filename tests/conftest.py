"""Fixtures for all tests. No test needs an internet connection. Tests marked `gpu` are skipped if there is no GPU."""

import os
import runpy
import sys
from functools import partial

import pytest
from paths import ROOT

# The networks in the tests are so small that a second thread gains less than it costs the other test processes.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_xdist_auto_num_workers():
    """Return the number of processes of `-n auto`: one more than cores, because some tests wait for other processes."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), 3) + 1


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Return a data folder that all tests of the process share, so that digits is decoded once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def overrides(data, tmp_path):
    """Return overrides for a run that writes only to the folder of the test and to the shared data folder."""
    return [f"machine.data={data}", f"machine.output={tmp_path}", "machine.wandb=disabled", "machine.device=cpu"]


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Return a function that runs a script in this process: run_script("runs.py", *arguments) -> (status, out, err)."""

    def run(name, *arguments):
        path = ROOT / name if name == "train.py" else ROOT / "scripts" / name
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def train_py(run_script):
    """Return a function that runs train.py in this process: train_py("seed=1", ...) -> (status, out, err)."""
    return partial(run_script, "train.py")


@pytest.fixture
def wandb_home(monkeypatch, tmp_path):
    """A home folder without W&B's key, settings and caches."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
