"""What a run records: numbers with units, how it was computed, where it diverged, and what has changed since."""

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from archives import write
from PIL import Image
from results import write_failed, write_result

from lls.config.compose import compose, with_overrides
from lls.data import fingerprint
from lls.errors import Diverged, UserError
from lls.paper.claims import accuracy
from lls.paper.results import results_markdown
from lls.paper.tables import load, plan
from lls.paper.tables.render import render
from lls.runs import provenance
from lls.runs.run import Run, teacher_run
from lls.runs.schema import Failed, Result, Row, check, check_result, check_written
from lls.training.execute import execute
from lls.training.metrics import ece
from lls.training.step import Step

SHORT = ["budget=0.1", "seed=3"]


def run_of(*overrides):
    return Run(compose(overrides))


def rows(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


# -- rows and result -------------------------------------------------------------------------------------------------


def test_a_row_and_a_result_are_as_their_schema_says(overrides):
    run = run_of(*overrides, *SHORT)
    result = execute(run)
    for row in rows(run):
        check_written(row, Row)
        assert row.keys() == Row.__annotations__.keys()  # LLS has a Q: no key is left out
    check_written(result, Result)
    assert json.loads((run.folder / "result.json").read_text()) == run.result == result
    assert result["version"] == 2
    last = rows(run)[-1]
    for key in ("ece", "confidence", "q_diagonal", "q_entropy", "train_top1", "train_cross_entropy", "loss", "top1"):
        assert result[key] == pytest.approx(last[key], abs=1e-6)
    assert (result["precision"], result["compile"], result["graph"]) == ("fp32", False, False)
    assert "earlier" not in result


def test_predictions_give_the_numbers_of_the_result(overrides):
    run = run_of(*overrides, *SHORT, "method=onehot")
    result = execute(run)
    with np.load(run.folder / "predictions.npz") as kept:
        logits, y = torch.from_numpy(kept["logits"]).float(), torch.from_numpy(kept["labels"].astype(np.int64))
        assert (kept["logits"].dtype, kept["labels"].dtype) == (np.float16, np.uint16)
        assert kept["classes"].tolist() == [str(digit) for digit in range(10)]
    assert logits.shape == (360, 10)
    assert 100 * (logits.argmax(1) == y).double().mean().item() == pytest.approx(result["top1"], abs=0.3)
    assert F.cross_entropy(logits, y).item() == pytest.approx(result["nll"], rel=1e-3)
    assert ece(logits.softmax(1), y) == pytest.approx(result["ece"], abs=0.01)
    assert "q_diagonal" not in result
    assert "q_diagonal" not in rows(run)[-1]


def test_training_is_measured_on_the_batches_as_they_were_trained_on():
    """Of one step at the rate 0, the means of two batches; under Mixup weighted as the labels are."""
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    net.forward = lambda x, forward=net.forward: (forward(x), x)
    method = compose(["method=ls"])
    from lls.training.build import build_method

    step = Step(net, build_method(method.method, 3), torch.optim.SGD(net.parameters(), lr=0.0))
    batches = [(torch.randn(8, 4), torch.randint(3, (8,)), torch.randint(3, (8,))) for _ in range(2)]
    for x, y, other in batches:
        step(x, [(y, 0.7), (other, 0.3)])
    measured = step.measures()
    logits = [net(x)[0] for x, *_ in batches]
    cross_entropies = [
        0.7 * F.cross_entropy(z, y) + 0.3 * F.cross_entropy(z, other)
        for z, (_, y, other) in zip(logits, batches, strict=True)
    ]
    right = [
        0.7 * (z.argmax(1) == y).float().mean() + 0.3 * (z.argmax(1) == other).float().mean()
        for z, (_, y, other) in zip(logits, batches, strict=True)
    ]
    assert measured.cross_entropy == pytest.approx(sum(cross_entropies).item() / 2)
    assert measured.top1 == pytest.approx(50 * sum(right).item())
    assert measured.loss != pytest.approx(measured.cross_entropy)  # label smoothing's own loss
    assert measured.largest_logit == pytest.approx(max(z.abs().max().item() for z in logits))
    step(*[batches[0][0], [(batches[0][1], 1.0)]])
    assert step.measures().top1 == pytest.approx(
        100 * (logits[0].argmax(1) == batches[0][1]).float().mean().item()
    )  # and nothing of what was measured before


def test_fashionmnist_is_tested_in_both_geometries(overrides, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    write("fashionmnist", folder, monkeypatch)
    common = [*overrides, f"machine.data={folder}", "dataset=fashionmnist", "network=lenet", "train.batch_size=20"]
    common += ["train.epochs=1", "train.warmup=0", "train.milestones=[]", "method=onehot"]
    matched, paper = (execute(run_of(*common, f"dataset.geometry={name}")) for name in ("matched", "paper"))
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
def test_a_wrong_value_is_refused_by_the_name_of_its_key(key, value, problem, overrides):
    run = run_of(*overrides, *SHORT)
    write_result(run, {"id": run.id, "top1": 90.0, key: value})
    with pytest.raises(UserError, match="correct it, or remove the folder") as error:
        _ = run.result
    assert problem in str(error.value)


@pytest.mark.parametrize("text", ["5", '"x"', "[1]", "NaN"])
def test_what_is_no_object_is_no_result(text, overrides):
    run = run_of(*overrides, *SHORT)
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"holds .* and no JSON object"):
        _ = run.result


def test_a_result_of_version_2_is_whole_and_one_of_version_1_need_not_be():
    with pytest.raises(ValueError, match="adaptive_ece is missing"):
        check_result({"version": 2, "top1": 90.0})
    check_result({"top1": 90.0})
    with pytest.raises(ValueError, match=r"^news is not in Failed"):
        check_written(dict.fromkeys(Failed.__annotations__, 0) | TEXTS | {"news": 1}, Failed)
    check(dict.fromkeys(Failed.__annotations__, 0) | TEXTS | {"news": 1}, Failed)


TEXTS = {"id": "a", "measure": "loss", "commit": "none", "finished": "2026"}


# -- version 1 everywhere --------------------------------------------------------------------------------------------


def test_a_number_that_was_not_recorded_is_said_so(tmp_path):
    table = load("3", [f"machine.output={tmp_path}", "columns=SVHN", "seeds=0,1"])
    for run in table.cells["LS", "SVHN LeNet"].runs:
        write_result(run, {"id": run.id})
    write_result(table.cells["LLS", "SVHN LeNet"].runs[0], {"top1": 89.0})

    def ended(run):
        return run.failed or run.result

    rendered = render(table, ended).md
    assert "| not recorded (2/2) / 89.35 ± 0.09 |" in rendered
    assert "| 89.00 (1/2) / 89.51 ± 0.15 |" in rendered
    assert "not recorded" in results_markdown(table.cells["LS", "SVHN LeNet"].runs)


def test_a_run_of_which_little_was_recorded_is_done_all_the_same(overrides, capsys):
    run = run_of(*overrides, *SHORT)
    write_result(run, {"top1": 90.0})
    execute(run)
    assert "(not recorded on not recorded, commit not recorded; " in capsys.readouterr().out


# -- divergence ------------------------------------------------------------------------------------------------------


def test_a_run_that_diverges_says_where_and_is_not_trained_again(overrides, train_py, capsys):
    run, words = run_of(*overrides, *SHORT, "train.lr=1e6"), [*overrides, *SHORT, "train.lr=1e6"]
    with pytest.raises(Diverged, match=r"loss was (nan|inf) in epoch 1, step \d+, at lr 1e\+06"):
        execute(run)
    failed = run.failed
    assert (failed["epoch"], failed["lr"], failed["measure"]) == (1, 1e6, "loss")
    assert failed["loss"] in ("nan", "inf")
    assert 1 < failed["step"] <= 22
    assert failed["largest_logit"] > 1e3
    assert not (run.folder / "result.json").exists()
    before = (run.folder / "failed.json").read_bytes()
    status, _, error = train_py(*words)
    assert status == 1
    assert "has diverged: loss was" in error
    assert error.strip().endswith("machine.again=true trains it again")
    assert (run.folder / "failed.json").read_bytes() == before
    again = Run(with_overrides(run.cfg, ["machine.again=true"]))
    with pytest.raises(Diverged, match=r"a lower train.lr may help"):
        execute(again)
    assert run.failed["finished"] >= failed["finished"]


def test_any_number_of_an_epoch_that_is_not_finite_is_a_divergence(overrides, monkeypatch):
    run = run_of(*overrides, *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("lls.training.loop.q_measures", lambda q: {"q_diagonal": math.nan, "q_entropy": 1.0})
        with pytest.raises(Diverged, match="q_diagonal was not finite in epoch 1, step 22"):
            execute(run)
    assert (run.failed["measure"], run.failed["epoch"]) == ("q_diagonal", 1)
    execute(Run(with_overrides(run.cfg, ["machine.again=true"])))
    assert run.failed is None
    assert not (run.folder / "failed.json").exists()


def test_a_finished_run_keeps_its_result_where_it_diverges_later(overrides, monkeypatch):
    run = run_of(*overrides, *SHORT)
    result = execute(run)
    (run.folder / "last.pt").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("lls.training.loop.q_measures", lambda q: {"q_diagonal": math.nan, "q_entropy": 1.0})
        with pytest.raises(Diverged):
            execute(run, "last.pt")
    assert run.result == result
    assert not (run.folder / "failed.json").exists()
    execute(run, "last.pt")
    assert run.has("last.pt")


def test_students_of_a_diverged_teacher_are_not_done(tmp_path):
    declared = load("calibration", [f"machine.output={tmp_path}", "columns=SVHN", "rows=TF-KD_self"])
    (student, *_) = declared.cells["TF-KD_self", "SVHN LeNet ECE"].runs
    write_failed(teacher_run(student))
    planned = {p.run.id: p for p in plan.plan([declared], tmp_path)}
    assert (planned[student.id].state, planned[student.id].done) == ("no teacher", False)
    assert planned[teacher_run(student).id].state == "diverged"
    assert "1 diverged, 1 without a teacher" in plan.totals([*planned.values()])[0]


def test_a_diverged_cell_has_no_mean(tmp_path):
    table = load("3", [f"machine.output={tmp_path}", "columns=SVHN"])
    ls, lls = (table.cells[row, "SVHN LeNet"].runs for row in ("LS", "LLS"))
    write_failed(ls[0])
    for run in (*ls[1:], *lls):
        write_result(run, {"top1": 89.0})
    rendered = render(table, lambda run: run.failed or run.result)
    assert "| LS | diverged (1/3) / 89.35 ± 0.09 |" in rendered.md
    assert "LLS − LS" not in rendered.md
    assert "LS,SVHN LeNet,top1,,,0,1,3," in rendered.csv
    assert "| diverged (1/3) |" in results_markdown(ls)


def test_not_converging_counts_what_has_diverged(tmp_path):
    table = load("4", [f"machine.output={tmp_path}"])
    cells = {row: table.cells[row, "CUB-200 R18"].runs[0] for row in ("LLS", "No FCE")}
    write_result(cells["LLS"], {"top1": 78.0})
    write_failed(cells["No FCE"])
    pairs = [["LLS", "No FCE"]]
    counted, left_out = (
        [c for c in accuracy.above(["4"], pairs, tmp_path, 10, counts).comparisons if c.name.startswith("CUB-200 R18")]
        for counts in (True, False)
    )
    assert counted[0].differences == [pytest.approx(78 - 0.5 - 10)]
    assert left_out[0].differences == []


# -- again, and what has changed -------------------------------------------------------------------------------------


def test_again_trains_a_finished_run_from_its_start(overrides):
    run = run_of(*overrides, *SHORT)
    first = execute(run)
    again = execute(Run(with_overrides(run.cfg, ["machine.again=true"])))
    assert again["finished"] >= first["finished"]
    assert again["seconds"] != first["seconds"]
    assert again["nll"] == first["nll"]
    assert len(rows(run)) == 3
    assert "again: false" in (run.folder / "config.yaml").read_text()
    run.remove_outputs()
    assert sorted(path.name for path in run.folder.iterdir()) == [".lock", "config.yaml"]


def test_again_keeps_what_there_is_until_training_begins(overrides, data, tmp_path, monkeypatch):
    run = run_of(*overrides, *SHORT, "dataset=fashionmnist", "network=lenet", f"machine.data={data}")
    write_result(run, {"top1": 90.0})
    (run.folder / "last.pt").write_bytes(b"weights")
    with pytest.raises(UserError, match="no such folder"):
        execute(Run(with_overrides(run.cfg, ["machine.again=true", f"machine.data={tmp_path}/no/data"])))
    monkeypatch.setattr("lls.training.execute.teacher_run", lambda run: run)
    monkeypatch.setattr(
        "lls.training.execute.execute_teacher", lambda *_: (_ for _ in ()).throw(UserError("no such teacher"))
    )
    with pytest.raises(UserError, match="no such teacher"):
        execute(Run(with_overrides(run.cfg, ["machine.again=true"])))
    monkeypatch.undo()

    def refuse_images(*_):
        raise UserError("can't be fetched")

    monkeypatch.setattr("lls.training.loop.make_loaders", refuse_images)
    with pytest.raises(UserError, match="can't be fetched"):
        execute(Run(with_overrides(run.cfg, ["machine.again=true"])))
    assert run.result == {"top1": 90.0}
    assert (run.folder / "last.pt").read_bytes() == b"weights"


def test_a_sweep_that_is_stopped_says_what_it_has_trained_again(overrides, train_py, monkeypatch):
    def stopped(run):
        if run.cfg.seed == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("lls.training.execute.execute", stopped)
    status, _, error = train_py("-m", *overrides, "seed=0,1,2", "machine.again=true")
    assert status == 130
    assert "would train 2 of these runs, which are finished by now, once more" in error


def test_what_changed_since_is_a_line(overrides, monkeypatch, capsys):
    run = run_of(*overrides, *SHORT)
    result = execute(run)
    capsys.readouterr()
    execute(run)
    assert "note:" not in capsys.readouterr().out
    monkeypatch.setattr("lls.training.execute.method_code", lambda name: "0123456789ab")
    execute(run)
    out = capsys.readouterr().out
    assert f"the code of method lls or its loss has changed since ({result['method_code']}, now 0123456789ab)" in out
    assert "machine.again=true trains it again" in out


@pytest.mark.parametrize("size", [32, 72], ids=["decoded", "streamed"])
def test_changed_images_are_a_line(size, overrides, tmp_path, capsys):
    data = tmp_path / "data"
    root = tmp_path / "photos"
    for split, count in (("train", 8), ("test", 2)):
        for number, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (80, 80), (40 * number, 9 * i, 3)).save(root / split / name / f"{i}.png")
    words = [*overrides, "dataset=imagefolder", f"dataset.root={root}", "train.epochs=1", "train.batch_size=4"]
    words += [f"dataset.size={size}", "machine.workers=0", "train.warmup=0", f"machine.data={data}"]
    words += ["network=lenet"] if size == 32 else ["network.width=0.25"]
    run = run_of(*words, "train.milestones=[]")
    result = execute(run)
    assert result["images"].startswith("pixels:" if size == 32 else "files:")
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    again = run_of(*words, "train.milestones=[]", f"dataset.root={moved}")
    assert fingerprint.current(again.cfg.dataset, data, "files:") == fingerprint.current(
        run.cfg.dataset, data, "files:"
    )
    assert fingerprint.current(again.cfg.dataset, data, result["images"]) == (result["images"] if size == 72 else None)
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))  # as a copy may have
    execute(run)
    assert "note:" not in capsys.readouterr().out
    Image.new("RGB", (80, 80), (1, 2, 3)).save(root / "train" / "a" / "more.png")
    execute(run)
    assert f"the images of imagefolder have changed since ({result['images']}, now " in capsys.readouterr().out
    shutil.rmtree(data / "cache", ignore_errors=True)
    assert (fingerprint.current(run.cfg.dataset, data, result["images"]) is None) == (size == 32)
    shutil.rmtree(root)
    assert fingerprint.current(run.cfg.dataset, data, result["images"]) is None


def test_no_fingerprint_is_worth_a_download(tmp_path, monkeypatch):
    monkeypatch.setattr("lls.data.download.prepare.ensure_archives", lambda *_: pytest.fail("downloads"))
    for name in ("tinyimagenet", "cub200", "flowers102", "cifar100"):
        dataset = compose([f"dataset={name}"]).dataset
        assert fingerprint.current(dataset, tmp_path, "files:0") is None


def test_a_flipped_bit_in_the_cache_is_decoded_again(overrides, data, tmp_path, capsys):
    from lls.data.cache import load_images as load_images
    from lls.data.sources import find_source

    cfg = compose([f"machine.data={tmp_path}"])
    source = find_source(cfg.dataset, tmp_path)
    images = load_images(cfg.dataset, tmp_path, source)
    path = fingerprint.cache_path(cfg.dataset, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    again = load_images(cfg.dataset, tmp_path, source)
    assert torch.equal(again.train_x, images.train_x)
    assert torch.equal(again.test_y, images.test_y)
    assert again.content == images.content
    assert "is broken (its pixels are not those that were written)" in capsys.readouterr().out


def test_the_fingerprint_of_code_knows_code_alone(tmp_path, monkeypatch):
    package = tmp_path / "lls"
    for name in ("methods", "losses"):
        shutil.copytree(provenance.PACKAGE / name, package / name)
    monkeypatch.setattr(provenance, "PACKAGE", package)

    def now(name="lls"):
        provenance.method_code.cache_clear()
        return provenance.method_code(name)

    try:
        before, focal = now(), now("focal")
        path = package / "methods" / "lls.py"
        text = path.read_text()
        path.write_text(text.replace('"""Learnable', '"""Another docstring. Learnable').replace("# Table 4", "#  T 4"))
        assert now() == before
        path.write_text(text.replace("scale: float = 0.5", "scale: float = 0.6"))
        assert now() != before
        path.write_text(text)
        loss = package / "losses" / "symmetric_kl.py"
        loss.write_text(loss.read_text().replace("(1 - alpha) / alpha", "(1 - alpha) / (alpha + 1e-9)"))
        assert now() != before  # the loss that it imports
        assert now("focal") == focal
        focal_file, flsd = package / "methods" / "focal.py", now("flsd")
        focal_file.write_text(focal_file.read_text().replace("expm1(log_p)", "expm1(log_p * 1)"))
        assert now("flsd") != flsd  # the method that it builds on
    finally:
        provenance.method_code.cache_clear()


def test_the_commit_outside_git_is_a_variable(tmp_path, monkeypatch):
    inside = tmp_path / "others" / "lls"
    inside.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # somebody else's repository around it
    monkeypatch.setattr(provenance, "PACKAGE", inside)
    monkeypatch.delenv("LLS_COMMIT", raising=False)
    assert provenance.commit() is None
    monkeypatch.setenv("LLS_COMMIT", "abc123")
    assert provenance.commit() == "abc123"


def test_a_run_that_goes_on_elsewhere_says_how_it_began(overrides, monkeypatch):
    from lls.training import loop as train

    counted, state_of = [], train.collect_state

    def stop(*arguments):
        counted.append(1)
        if len(counted) == 2:
            raise KeyboardInterrupt
        return state_of(*arguments)

    run = run_of(*overrides, *SHORT)
    monkeypatch.setattr(train, "collect_state", stop)
    with pytest.raises(KeyboardInterrupt):
        execute(run)
    monkeypatch.setattr(train, "collect_state", state_of)
    result = execute(Run(with_overrides(run.cfg, ["machine.precision=bf16"])))
    assert result["precision"] == "bf16"
    assert [(part["epochs"], part["precision"]) for part in result["earlier"]] == [(1, "fp32")]


@pytest.mark.parametrize(
    ("words", "kernel"),
    [(["method=lls"], "triton"), (["method.terms=no_rce"], "torch"), (["method=onehot"], "torch")],
)
def test_the_loss_kernel_is_the_one_that_was_used(words, kernel, overrides, monkeypatch):
    monkeypatch.setattr("lls.methods.lls.loss_kernel", lambda logits: "triton")
    assert execute(run_of(*overrides, *SHORT, *words))["loss_kernel"] == kernel


# -- saved weights, the queue ----------------------------------------------------------------------------------------


def test_evaluate_records_what_a_result_lacks(overrides, monkeypatch, capsys):
    import runpy

    run = run_of(*overrides, *SHORT)
    result = execute(run)
    old = {key: value for key, value in result.items() if key not in ("version", "confidence", "method_code")}
    old |= {"ece": 0.123}  # what was recorded stays
    write_result(run, old)
    (run.folder / "predictions.npz").unlink()
    script = str(provenance.PACKAGE.parent / "scripts" / "evaluate.py")
    monkeypatch.setattr(sys, "argv", ["evaluate.py", str(run.folder), "--record", *overrides])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 0
    assert "added confidence" in capsys.readouterr().out
    now = run.result
    assert {key: now[key] for key in old} == old
    assert (now["version"], now["reevaluated"]["keys"]) == (2, ["confidence"])
    assert now["confidence"] == pytest.approx(result["confidence"])
    assert "method_code" not in now  # which weights can't tell
    assert (run.folder / "predictions.npz").exists()
    write_result(run, old | {"top1": result["top1"] - 5})
    with pytest.raises(SystemExit):
        runpy.run_path(script, run_name="__main__")
    assert "nothing is written" in capsys.readouterr().err
    (run.folder / "predictions.npz").unlink()
    partial = {"top1": result["top1"], "ece": 0.123}
    write_result(run, partial)
    with pytest.raises(SystemExit):
        runpy.run_path(script, run_name="__main__")
    assert "is missing, and the saved weights do not tell it: nothing is written" in capsys.readouterr().err
    assert run.result == partial
    assert not (run.folder / "predictions.npz").exists()


def test_every_line_of_the_queue_is_a_run_at_the_full_protocol():
    queue = (provenance.PACKAGE.parent / "outputs" / "queue.txt").read_text().splitlines()
    runs = [run_of(*line.split()) for line in queue if line and not line.startswith("#")]
    assert len({run.id for run in runs}) == len(runs)
    assert {run.cfg.budget for run in runs} == {1}
    places = {run.id: place for place, run in enumerate(runs)}
    for run in runs:
        if teacher := teacher_run(run):
            assert places[teacher.id] < places[run.id]
