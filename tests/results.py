"""Results for tests that need no training: numbers are what a test is about, all others were not recorded."""

import json


def write_result(run, numbers):
    """Leave a result.json of version 1 with `numbers` alone; the run is done."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "result.json").write_text(json.dumps(numbers))


def write_failed(run, epoch=3):
    """Leave a failed.json: the run has diverged."""
    run.folder.mkdir(parents=True, exist_ok=True)
    failed = {"id": run.id, "epoch": epoch, "step": 7, "measure": "loss", "loss": "nan", "largest_logit": 1e9}
    run.fail(failed | {"lr": 0.1, "commit": "abc", "finished": "2026"})
