"""What the tests share. No test needs a network or a GPU; those marked `gpu` are skipped where there is none."""

import os
import runpy
import sys
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = (
    "1"  # so small are the tests' networks that a busy neighbour costs more than a core gains
)

ROOT = Path(__file__).resolve().parent.parent


def pytest_xdist_auto_num_workers():
    """Return the number of processes of `-n auto`: one more than cores, as many tests wait for processes of their own."""
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
def train_py(monkeypatch, capsys):
    """Run train.py's command line in this process: train_py("seed=1", ...) -> (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        out = capsys.readouterr()
        return stopped.value.code, out.out, out.err

    return run
