"""scripts/evaluate.py --record: numbers that a result lacks, measured with the saved weights."""

import pytest
from results import SHORT_RUN, compose_run, write_result

from lls.training.execute import execute


def test_record_adds_the_numbers_that_a_result_lacks(overrides, run_script):
    run = compose_run(*overrides, *SHORT_RUN)
    result = execute(run)
    old = {key: value for key, value in result.items() if key not in ("version", "confidence", "method_code")}
    old |= {"ece": 0.123}  # a recorded number is not replaced
    write_result(run, old)
    (run.folder / "predictions.npz").unlink()
    command = ("evaluate.py", run.folder, "--record", *overrides)
    status, out, _ = run_script(*command)
    assert status == 0
    assert "added confidence" in out
    recorded = run.result
    assert {key: recorded[key] for key in old} == old
    assert (recorded["version"], recorded["reevaluated"]["keys"]) == (2, ["confidence"])
    assert recorded["confidence"] == pytest.approx(result["confidence"])
    assert "method_code" not in recorded  # weights do not show the code
    assert (run.folder / "predictions.npz").exists()

    write_result(run, old | {"top1": result["top1"] - 5})
    status, _, error = run_script(*command)
    assert status == 2
    assert "nothing is written" in error

    (run.folder / "predictions.npz").unlink()
    partial = {"top1": result["top1"], "ece": 0.123}
    write_result(run, partial)
    status, _, error = run_script(*command)
    assert status == 2
    assert "is missing, and cannot be measured from the saved weights; nothing is written" in error
    assert run.result == partial
    assert not (run.folder / "predictions.npz").exists()
