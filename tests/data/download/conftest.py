"""Shared by the tests of lls/data/download: no network but a local server, and no delay before retries."""

import pytest
from file_server import block_network


@pytest.fixture(autouse=True)
def local_network(monkeypatch):
    block_network(monkeypatch)


@pytest.fixture
def prepare_data(run_script, tmp_path):
    """Run scripts/prepare_data.py on tmp_path/data: prepare_data("cub200") -> (exit status, stdout, stderr)."""
    return lambda *arguments: run_script("prepare_data.py", *arguments, "--data", tmp_path / "data")
