"""Fixtures for the tests of claims, runs that no training has produced, and a stand-in for the package wandb."""

import sys
from types import SimpleNamespace

import pytest
import torch
from claims import run_in
from results import write_failed, write_result

from lls.paper.claims.evidence import Results
from lls.qmatrix import QMatrix, save_q


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


@pytest.fixture
def finish(tmp_path):
    """Write the files of a finished run: finish(overrides, q=softmax_q, top1=80.0) -> run."""

    def write(overrides, q=None, classes="abc", **keys):
        run = run_in(tmp_path, overrides)
        run.folder.mkdir(parents=True, exist_ok=True)
        if q is not None:
            save_q(run.folder / "q.safetensors", QMatrix(torch.tensor(q).log(), list(classes), {}))
        write_result(run, {"finished": "then", **keys})
        return run

    return write


@pytest.fixture
def diverge(tmp_path):
    """Write the file of a diverged run: diverge(overrides)."""
    return lambda overrides: write_failed(run_in(tmp_path, overrides))


@pytest.fixture
def fake_wandb(wandb_home, monkeypatch):
    """A stand-in for the package wandb, which would need the service: fake_wandb(init=...) sets its functions."""

    def install(**functions):
        defaults = dict.fromkeys(("Settings", "setup", "teardown"), lambda *_, **__: None)
        monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(**defaults | functions))

    return install
