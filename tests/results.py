"""Runs for tests: their configurations, the rows they wrote, and results that no training has produced."""

import json

from lls.config.compose import compose
from lls.runs.run import Run

SHORT_RUN = ["budget=0.1", "seed=3"]  # three epochs on digits


def compose_run(*overrides):
    """Return the run that `python train.py *overrides` trains."""
    return Run(compose(overrides))


def read_rows(run):
    """Return the rows of metrics.jsonl."""
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def write_result(run, numbers):
    """Write a result.json of version 1 that holds `numbers` only; the run is done."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "result.json").write_text(json.dumps(numbers))


def write_failed(run, epoch=3):
    """Write a failed.json: the run has diverged."""
    run.folder.mkdir(parents=True, exist_ok=True)
    failed = {"id": run.id, "epoch": epoch, "step": 7, "measure": "loss", "loss": "nan", "largest_logit": 1e9}
    run.fail(failed | {"lr": 0.1, "commit": "abc", "finished": "2026"})
