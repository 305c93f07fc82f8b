"""Which runs are missing, and the small parts of the job queue."""

import pytest
from processes import count_starts
from results import write_result

from lls.config.compose import compose
from lls.launch.queue import last_lines, missing_tasks
from lls.launch.start import train_missing
from lls.runs.run import Run, deserialize, serialize, teacher_run


@pytest.fixture
def make_run(overrides):
    return lambda *more: Run(compose(["train.epochs=1", "train.milestones=[]", *overrides, *more]))


def test_missing_tasks_are_teachers_first(make_run):
    plain, kd, st = make_run("method=ls"), make_run("method=kd"), make_run("method=lls_st")
    tasks, failures = missing_tasks([plain, kd, st, make_run("method=kd"), make_run("method=lls")])
    assert not failures
    assert [task.run.id for task in tasks] == [teacher_run(kd).id, teacher_run(st).id, plain.id, kd.id, st.id]
    assert [task.artifacts for task in tasks] == [{"last.pt"}, {"q.safetensors"}, set(), set(), set()]


def test_a_finished_teacher_is_missing_when_its_weights_are(make_run):
    """A fresh clone has results and no weights."""
    student = make_run("method=kd")
    teacher = teacher_run(student)
    write_result(teacher, {"id": teacher.id})
    (task, _), _ = missing_tasks([teacher, student])
    assert (task.run.id, task.missing_artifact) == (teacher.id, "last.pt")
    (teacher.folder / "last.pt").touch()
    assert [task.run.id for task in missing_tasks([teacher, student])[0]] == [student.id]


def test_a_finished_run_is_missing_when_a_figure_lacks_its_weights(make_run):
    run = make_run("method=ls")
    assert train_missing([run], jobs=1) == []
    (run.folder / "last.pt").unlink()
    assert missing_tasks([run]) == ([], [])
    ((task,), _) = missing_tasks([run], {run.id: {"last.pt"}})
    assert (task.missing_artifact, task.done) == ("last.pt", False)
    assert train_missing([run], files={run.id: {"last.pt"}}, jobs=1) == []
    assert run.has("last.pt")
    assert count_starts(run) == 2


def test_a_deserialized_run_does_not_depend_on_configs(make_run):
    run = make_run("method=kd", "method.teacher.method=lls", "method.teacher.overrides=['method.alpha=0.3']")
    texts = serialize(run)
    again = deserialize(texts)
    assert (again.id, teacher_run(again).id) == (run.id, teacher_run(run).id)
    assert (again.folder, teacher_run(teacher_run(again))) == (run.folder, None)
    # The teacher is not composed again: here that would fail, as if configs/ had lost the key.
    changed = deserialize([texts[0].replace("method.alpha=0.3", "method.lost_key=0.3"), *texts[1:]])
    assert changed.id != run.id
    assert teacher_run(changed).id == teacher_run(run).id


def test_last_lines_of_a_log(tmp_path):
    log = tmp_path / "log.txt"
    assert last_lines(log) == []
    log.write_bytes(b"before\n" + b"\n".join(b"line %d\xff\n" % i for i in range(20)))
    assert last_lines(log) == [f"line {i}\ufffd" for i in range(10, 20)]
    assert last_lines(log, log.stat().st_size - 19) == ["line 18\ufffd", "line 19\ufffd"]


def test_a_run_is_busy_while_its_lock_is_held(make_run):
    run = make_run()
    assert not run.busy
    assert not run.folder.exists()
    with make_run().lock:
        assert run.busy
    assert not run.busy
