"""machine.again=true: a run that is done is trained again."""

import pytest
from PIL import Image
from results import SHORT_RUN, compose_run, read_rows, write_failed, write_result

from lls.config.compose import with_overrides
from lls.errors import UserError
from lls.runs.run import Run, teacher_run
from lls.training.execute import execute


def again(run, *overrides):
    """Return the run with machine.again=true."""
    return Run(with_overrides(run.cfg, ["machine.again=true", *overrides]))


def test_again_trains_a_finished_run_from_the_start(overrides):
    run = compose_run(*overrides, *SHORT_RUN)
    first = execute(run)
    second = execute(again(run))
    assert second["finished"] >= first["finished"]
    assert second["seconds"] != first["seconds"]
    assert second["nll"] == first["nll"]
    assert len(read_rows(run)) == 3
    assert "again: false" in (run.folder / "config.yaml").read_text()
    run.remove_outputs()
    assert sorted(path.name for path in run.folder.iterdir()) == [".lock", "config.yaml"]


def finished(*words):
    """Return a run that has a result and weights."""
    run = compose_run(*words)
    write_result(run, {"top1": 90.0})
    (run.folder / "last.pt").write_bytes(b"weights")
    return run


def assert_again_fails_and_keeps_the_files(run, message, *overrides):
    with pytest.raises(UserError, match=message):
        execute(again(run, *overrides))
    assert run.result == {"top1": 90.0}
    assert (run.folder / "last.pt").read_bytes() == b"weights"


def test_again_keeps_the_files_until_training_starts(overrides, data, tmp_path):
    missing = finished(*overrides, *SHORT_RUN, "dataset=fashionmnist", "network=lenet", f"machine.data={data}")
    assert_again_fails_and_keeps_the_files(missing, "no such folder", f"machine.data={tmp_path}/no/data")

    student = finished(*overrides, *SHORT_RUN, "method=kd")
    write_failed(teacher_run(student))
    assert_again_fails_and_keeps_the_files(student, r"method\.teacher: \S+ has diverged")

    photos = tmp_path / "photos"
    for path in (photos / split / name / "1.png" for split in ("train", "test") for name in "ab"):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(path)
    (photos / "train" / "a" / "1.png").write_bytes(b"no image")
    broken = finished(*overrides, "dataset=imagefolder", f"dataset.root={photos}", "network=lenet")
    assert_again_fails_and_keeps_the_files(broken, "1.png")


def test_a_stopped_sweep_names_the_number_of_runs_that_it_has_trained_again(overrides, train_py, monkeypatch):
    def stop_at_seed_2(run):
        if run.cfg.seed == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("lls.training.execute.execute", stop_at_seed_2)
    status, _, error = train_py("-m", *overrides, "seed=0,1,2", "machine.again=true")
    assert status == 130
    assert "would train 2 runs once more that are done now" in error


def test_a_run_that_is_resumed_on_another_machine_records_both(overrides, monkeypatch):
    from lls.training import loop

    calls, collect_state = [], loop.collect_state

    def stop_in_epoch_2(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return collect_state(*arguments)

    run = compose_run(*overrides, *SHORT_RUN)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "collect_state", stop_in_epoch_2)
        with pytest.raises(KeyboardInterrupt):
            execute(run)
    result = execute(Run(with_overrides(run.cfg, ["machine.precision=bf16"])))
    assert result["precision"] == "bf16"
    assert [(part["epochs"], part["precision"]) for part in result["earlier"]] == [(1, "fp32")]
