"""result.json and metrics.jsonl: their keys and units, and the numbers that training writes."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from archives import write
from results import SHORT_RUN, compose_run, read_rows, write_result

from lls.errors import UserError
from lls.runs.schema import Failed, Result, Row, check_result
from lls.runs.validation import check, check_written
from lls.training.execute import execute
from lls.training.metrics import ece

TEXTS = {"id": "a", "measure": "loss", "commit": "none", "finished": "2026"}


def test_rows_and_result_match_their_schema(overrides):
    run = compose_run(*overrides, *SHORT_RUN)
    result = execute(run)
    for row in read_rows(run):
        check_written(row, Row)
        assert row.keys() == Row.__annotations__.keys()  # LLS has a Q, so no key is missing
    check_written(result, Result)
    assert json.loads((run.folder / "result.json").read_text()) == run.result == result
    assert result["version"] == 2
    last = read_rows(run)[-1]
    for key in ("ece", "confidence", "q_diagonal", "q_entropy", "train_top1", "train_cross_entropy", "loss", "top1"):
        assert result[key] == pytest.approx(last[key], abs=1e-6)
    assert (result["precision"], result["compile"], result["graph"]) == ("fp32", False, False)
    assert "earlier" not in result


def test_predictions_give_the_numbers_of_the_result(overrides):
    run = compose_run(*overrides, *SHORT_RUN, "method=onehot")
    result = execute(run)
    with np.load(run.folder / "predictions.npz") as saved:
        logits, y = torch.from_numpy(saved["logits"]).float(), torch.from_numpy(saved["labels"].astype(np.int64))
        assert (saved["logits"].dtype, saved["labels"].dtype) == (np.float16, np.uint16)
        assert saved["classes"].tolist() == [str(digit) for digit in range(10)]
    assert logits.shape == (360, 10)
    assert 100 * (logits.argmax(1) == y).double().mean().item() == pytest.approx(result["top1"], abs=0.3)
    assert F.cross_entropy(logits, y).item() == pytest.approx(result["nll"], rel=1e-3)
    assert ece(logits.softmax(1), y) == pytest.approx(result["ece"], abs=0.01)
    assert "q_diagonal" not in result
    assert "q_diagonal" not in read_rows(run)[-1]


def test_fashionmnist_is_measured_in_both_geometries(overrides, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    write("fashionmnist", folder, monkeypatch)
    common = [*overrides, f"machine.data={folder}", "dataset=fashionmnist", "network=lenet", "train.batch_size=20"]
    common += ["train.epochs=1", "train.warmup=0", "train.milestones=[]", "method=onehot"]
    matched, paper = (execute(compose_run(*common, f"dataset.geometry={name}")) for name in ("matched", "paper"))
    for name in ("top1", "nll", "ece"):
        assert matched[f"{name}_paper_geometry"] == pytest.approx(paper[name], abs=1e-6)
        assert paper[f"{name}_matched_geometry"] == pytest.approx(matched[name], abs=1e-6)
    assert matched["nll"] != paper["nll"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("top1", "91", "top1 is '91', must be a finite number (%)"),
        ("top1", -5, "top1 is -5, must be from 0 to 100 (%)"),
        ("nll", math.nan, "nll is nan, must be a finite number (nats)"),
        ("epochs", 2.5, "epochs is 2.5, must be a whole number (a count)"),
        ("graph", 1, "graph is 1, must be true or false"),
        ("device", None, "device is None, must be text"),
        ("parameters", True, "parameters is True, must be a whole number (a count)"),
        ("version", 3, "version is 3: this code reads versions up to 2"),
        ("earlier", [{"epochs": 1}], "earlier.compile is missing"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_key(key, value, problem, overrides):
    run = compose_run(*overrides, *SHORT_RUN)
    write_result(run, {"id": run.id, "top1": 90.0, key: value})
    with pytest.raises(UserError, match="correct it, or remove the folder") as error:
        _ = run.result
    assert problem in str(error.value)


@pytest.mark.parametrize("text", ["5", '"x"', "[1]", "NaN"])
def test_a_result_that_is_no_json_object_is_refused(text, overrides):
    run = compose_run(*overrides, *SHORT_RUN)
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"holds .* and no JSON object"):
        _ = run.result


def test_a_result_of_version_1_may_lack_keys_and_one_of_version_2_may_not():
    with pytest.raises(ValueError, match="adaptive_ece is missing"):
        check_result({"version": 2, "top1": 90.0})
    check_result({"top1": 90.0})
    with pytest.raises(ValueError, match=r"^news is not in Failed"):
        check_written(dict.fromkeys(Failed.__annotations__, 0) | TEXTS | {"news": 1}, Failed)
    check(dict.fromkeys(Failed.__annotations__, 0) | TEXTS | {"news": 1}, Failed)


def test_a_run_whose_result_lacks_numbers_is_done(overrides, capsys):
    run = compose_run(*overrides, *SHORT_RUN)
    write_result(run, {"top1": 90.0})
    execute(run)
    assert "(not recorded on not recorded, commit not recorded; " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "kernel"),
    [(["method=lls"], "triton"), (["method.terms=no_rce"], "torch"), (["method=onehot"], "torch")],
)
def test_the_result_names_the_loss_kernel_that_was_used(words, kernel, overrides, monkeypatch):
    monkeypatch.setattr("lls.methods.lls.loss_kernel", lambda logits: "triton")
    assert execute(compose_run(*overrides, *SHORT_RUN, *words))["loss_kernel"] == kernel
