"""What the tests share. No test needs a network or a GPU; those marked `gpu` are skipped where there is none."""

import os
import runpy
import sys
from functools import partial

import pytest
from paths import ROOT

os.environ["OMP_NUM_THREADS"] = (
    "1"  # so small are the tests' networks that a busy neighbour costs more than a core gains
)


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
    """A data folder of the tests' own; digits is decoded into its cache once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def overrides(data, tmp_path):
    """Overrides for a run that leaves nothing outside the test's folder."""
    return [f"machine.data={data}", f"machine.output={tmp_path}", "machine.wandb=disabled", "machine.device=cpu"]


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a script in this process: run_script("runs.py", "--output", ...) -> (exit status, stdout, stderr)."""

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
    """Run train.py's command line in this process: train_py("seed=1", ...) -> (exit status, stdout, stderr)."""
    return partial(run_script, "train.py")
