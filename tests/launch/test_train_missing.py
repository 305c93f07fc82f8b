"""Missing runs are trained, and a failure stops only the run itself and its students.

The runs are processes. They are forked from one process that a session of tests starts once."""

import os
import re
import resource
import signal
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from processes import before_checkpoint, comparable_result, count_starts

from lls.config.compose import compose
from lls.errors import UserError
from lls.launch.local import run_locally
from lls.launch.queue import log_path
from lls.launch.start import train_missing
from lls.runs.run import Run, teacher_run
from lls.training.execute import execute


@pytest.fixture
def make_run(overrides):
    return lambda *more: Run(compose(["train.epochs=1", "train.milestones=[]", *overrides, *more]))


def test_missing_runs_are_trained_as_by_train_py(make_run, tmp_path, capsys):
    """Teacher and students of both kinds, each with a log. A second call has nothing to do."""
    runs = [make_run(f"method={method}") for method in ("lls_st", "kd", "lls")]
    assert train_missing(runs, jobs=2) == []
    teachers = [teacher_run(run) for run in runs[:2]]
    assert teachers[0].id == runs[2].id
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == [f"[{i}/4" for i in range(1, 5)]
    for run in (*runs, teachers[1]):
        assert f"{run.id}  top-1 {run.result['top1']:.2f} %" in "".join(lines)
        assert (count_starts(run), run.result["threads"]) == (1, 1)
        assert "epoch 1/1" in log_path(run).read_text()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    direct = make_run("method=kd", f"machine.output={tmp_path}/direct")
    execute(direct)
    torch.set_num_threads(threads)
    assert comparable_result(direct) == comparable_result(runs[1])

    capsys.readouterr()
    assert train_missing(runs) == []
    assert capsys.readouterr().out == ""
    assert count_starts(runs[0]) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"jobs": 0}, "--jobs 0: at least 1"),
        ({"launcher": "pbs"}, "launcher pbs: local or slurm"),
        ({"settings": ["hydra.launcher.partition=gpu"]}, "hydra.launcher.partition=gpu: goes with --launcher slurm"),
    ],
)
def test_mistakes_are_one_line(keys, message, make_run):
    with pytest.raises(UserError) as error:
        train_missing([make_run()], **keys)
    assert str(error.value) == message


def fail_by_seed(texts, *arguments):
    """lls.launch.worker.run_task, except that runs of some seeds fail at the end of their first epoch."""
    seed = OmegaConf.create(texts[0]).seed

    def fail(_):
        if seed == 1:
            print("the last words")
            os._exit(7)
        if seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == 3:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.RLIM_INFINITY))
            torch.zeros(1 << 40)

    before_checkpoint(fail)
    from lls.launch.worker import run_task  # here: it imports all that a run may need

    run_task(texts, *arguments)


def test_a_failure_stops_only_the_run_and_its_students(make_run, monkeypatch, capsys):
    """Each failure is printed with the last lines of its log. Students are not started; other runs are finished."""
    monkeypatch.setattr("lls.launch.start.run_locally", partial(run_locally, target=fail_by_seed))
    good = [make_run("seed=0"), make_run("seed=5"), make_run("method=kd", "seed=5")]
    exits, killed, memory = make_run("method=onehot", "seed=1"), make_run("seed=2"), make_run("seed=3")
    diverged, refused = make_run("train.lr=1e38", "train.epochs=2"), make_run("method.terms=nonsense")
    no_teacher = make_run("method=kd", "method.teacher.overrides=['train.lrr=1']")
    student = make_run("method=tfkd_self", "seed=1")
    students_student = make_run("method=kd", "seed=1", "method.teacher.method=tfkd_self")
    expected = {
        exits: (7, "the last words"),
        killed: ("killed by SIGKILL (out of memory?)", f"{killed.id}: 1 epoch on cpu"),
        memory: (1, "(?i)memory"),
        diverged: (
            1,
            r"error: .* (loss|nll) was (nan|inf|not finite) in epoch \d, step \d+.*; a lower train.lr may help",
        ),
        refused: (2, "error: method.terms=nonsense: must be a row of Table 4"),
        no_teacher: (2, "error: method.teacher: no such key: train.lrr; did you mean 'train.lr'?"),
        student: ("not started", f"its teacher {exits.id} failed"),
        students_student: ("not started", f"its teacher {student.id} failed"),
    }
    failures = {failure.run.id: failure for failure in train_missing([*expected, *good], jobs=2)}
    output = capsys.readouterr()
    assert failures.keys() == {run.id for run in expected}
    for run, (status, line) in expected.items():
        assert failures[run.id].status == status
        assert re.search(line.replace("'?", r"'\?"), failures[run.id].last_lines[-1]), failures[run.id].last_lines
        assert str(failures[run.id]) in output.err
        assert run.result is None
    assert all(run.result for run in good)
    assert f"{exits.id}  FAILED, exit status 7" in output.out
    assert f"{exits.id}: exit status 7\n" in output.err
    assert f"    {failures[exits.id].last_lines[-1]}\n" in output.err
