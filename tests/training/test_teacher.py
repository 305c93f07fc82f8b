"""Teachers: which run teaches, when it is trained, and what it gives its student."""

import json

import pytest
import torch
from training_runs import stop_after

import lls
from lls.config.compose import compose
from lls.errors import UserError
from lls.qmatrix import QMatrix
from lls.runs.run import Run, identity, teacher_config, teacher_run
from lls.training.checkpoint import load
from lls.training.execute import execute

SHORT = ["train.epochs=2", "train.milestones=[]"]


def run_of(*overrides):
    return Run(compose(overrides))


def test_a_teacher_is_the_run_of_its_command_line():
    student = compose(["dataset=cifar100", "network=resnet18", "method=kd", "seed=3", "budget=0.1", "train.lr=0.2",
                       "method.teacher.network=resnet34", "method.teacher.method=lls"])  # fmt: skip
    by_hand = compose(["dataset=cifar100", "network=resnet34", "method=lls", "seed=3", "budget=0.1", "train.lr=0.2"])
    assert identity(teacher_config(student)) == identity(by_hand)


def test_teacher_overrides_change_the_teacher():
    overrides = "method.teacher.overrides=['method.alpha=0.3','train.epochs=9']"
    student = compose(["method=kd", "method.teacher.method=lls", "method.teacher.seed=7", overrides])
    by_hand = compose(["method=lls", "method.alpha=0.3", "train.epochs=9", "seed=7"])
    assert identity(teacher_config(student)) == identity(by_hand)
    assert teacher_config(student).network.name == "lenet"


@pytest.mark.parametrize(
    "keys",
    [
        ["network=resnet18", "network.pool=global", "network.width=0.5"],
        ["network=timm", "network.model=resnet10t.c3_in1k", "network.weights=null"],
        ["network=resnet18", r"network.weights='/my weights/it\'s=one,two.pth'"],
    ],
)
def test_a_teacher_of_the_same_architecture_has_the_students_network_keys(keys):
    data = "dataset=tinyimagenet"
    student = compose([data, *keys, "method=tfkd_self"])
    assert identity(teacher_config(student)) == identity(compose([data, *keys, "method=onehot"]))
    other = compose([data, *keys, "method=kd", "method.teacher.network=resnet34"])
    assert identity(teacher_config(other)) == identity(compose([data, "network=resnet34", "method=onehot"]))
    changed = compose([data, *keys, "method=kd", "method.teacher.overrides=['network.weights=w.pth']"])
    assert teacher_config(changed).network.weights == "w.pth"


def test_which_run_is_the_teacher():
    assert teacher_run(run_of("method=lls")) is None
    assert teacher_run(run_of("method=lls_st", "method.q=some.safetensors")) is None
    self_taught = teacher_run(run_of("method=tfkd_self", "network=resnet18"))
    assert (self_taught.cfg.method.name, self_taught.cfg.network.name) == ("onehot", "resnet18")
    half = teacher_run(run_of("method=lls_st", "dataset.subset=samples"))
    assert (half.cfg.method.name, half.cfg.dataset.subset) == ("lls", None)
    assert teacher_run(run_of("method=kd", "dataset.subset=classes")).cfg.dataset.subset == "classes"


def test_the_teacher_is_trained_once_and_reused(overrides, capsys):
    """The command of the README: the teacher, then the student; a second student finds the teacher."""
    first = run_of("method=kd", "method.teacher.method=lls", *SHORT, *overrides)
    second = run_of("method=kd", "method.teacher.method=lls", "method.beta=0.5", *SHORT, *overrides)
    teacher = teacher_run(first)
    assert teacher.id == teacher_run(second).id

    execute(first)
    output = capsys.readouterr().out
    assert f"the teacher is {teacher.id}" in output
    assert output.count("epoch 2/2") == 2
    weights = (teacher.folder / "last.pt").read_bytes()
    execute(second)
    output = capsys.readouterr().out
    assert output.count("epoch 2/2") == 1
    assert f"already done: top-1 {teacher.result['top1']:.2f} %" in output
    assert (teacher.folder / "last.pt").read_bytes() == weights

    state = load(first)
    assert not state["method"]
    assert state["network"].keys() == load(teacher)["network"].keys()
    assert first.result["parameters"] == 61_706


def test_the_students_numbers_do_not_depend_on_when_the_teacher_was_trained(overrides, tmp_path):
    """Trained on the way or long before, and the student with Mixup, which draws random numbers."""
    what = ["method=kd", "augment=mixup", *SHORT]
    apart = run_of(*what, *overrides, f"machine.output={tmp_path}/apart")
    execute(teacher_run(apart))
    together = run_of(*what, *overrides, f"machine.output={tmp_path}/together")
    results = [execute(run) for run in (apart, together)]
    assert results[0]["loss"] == results[1]["loss"]
    assert results[0]["nll"] == results[1]["nll"]


def test_a_teacher_that_lacks_its_weights_is_trained_again(overrides, capsys):
    student = run_of("method=kd", *SHORT, *overrides)
    teacher = teacher_run(student)
    nll = execute(teacher)["nll"]
    (teacher.folder / "last.pt").unlink()
    execute(student)
    assert teacher.has("last.pt")
    assert teacher.result["nll"] == nll

    # Q is enough for a substitute teacher: git tracks it, and not the weights
    student = run_of("method=lls_st", *SHORT, *overrides)
    teacher = teacher_run(student)
    execute(teacher)
    (teacher.folder / "last.pt").unlink()
    capsys.readouterr()
    execute(student)
    assert not teacher.has("last.pt")
    assert capsys.readouterr().out.count("epoch 2/2") == 1


def test_a_teacher_whose_second_training_was_interrupted_is_not_finished(overrides):
    """A finished teacher lost its weights. Its old result must not make the weights of epoch 1 count as final."""
    student = run_of("method=kd", *SHORT, *overrides)
    teacher = teacher_run(student)
    nll = execute(teacher)["nll"]
    (teacher.folder / "last.pt").unlink()
    stop_after(teacher, 1, student=student)
    assert teacher.has("last.pt")
    assert not teacher.has_final("last.pt")
    execute(student)
    assert teacher.has_final("last.pt")
    assert load(teacher)["rows"][-1]["nll"] == nll


def test_the_teacher_is_in_eval_mode_and_gives_no_gradient(overrides):
    from lls.training.teacher import teacher_inputs

    few = ["network=resnet18", "dataset.size=8", "dataset.subset=samples", "train.batch_size=512"]
    student = run_of("method=kd", *few, "train.epochs=1", *overrides)
    execute(teacher_run(student))
    teach = teacher_inputs(student, [str(d) for d in range(10)], torch.device("cpu"))
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    logits = teach(x)
    assert not logits.requires_grad
    assert torch.allclose(teach(x[:1].clone()), logits[:1], atol=1e-4)  # not train mode, with its batch statistics
    assert teach(x) is not logits
    assert teach(x) is teach(x)  # computed once per batch


def test_a_teacher_of_other_classes_is_refused(overrides):
    line = ["method=kd", "dataset.subset=classes", "method.teacher.subset=null", *SHORT, *overrides]
    with pytest.raises(UserError, match=r"was trained on other classes: 10 \(0, 1, 2 ...\), not 5 \(0, 1, 2 ...\)"):
        execute(run_of(*line))


def test_a_teacher_that_diverges_ends_the_student(overrides):
    line = ["method=kd", "method.teacher.overrides=['train.lr=1e38']", *SHORT, *overrides]
    with pytest.raises(UserError, match=r"^method.teacher: \S+ (loss|nll) was \S+ in epoch 1"):
        execute(run_of(*line))


def test_a_teacher_with_a_broken_checkpoint_is_refused(overrides):
    student = run_of("method=kd", *SHORT, *overrides)
    execute(teacher_run(student))
    (teacher_run(student).folder / "last.pt").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"last.pt can't be read \(.*\); remove it"):
        execute(student)


# -- Q -----------------------------------------------------------------------------------------------------------------


def q_file(path, names):
    q = QMatrix(torch.randn(len(names), len(names)), names, {"dataset": "digits", "alpha": "0.1", "run": "r"})
    lls.save_q(path, q)
    return q


def test_a_q_file_can_be_the_teacher(overrides, tmp_path):
    q = q_file(tmp_path / "q.safetensors", [str(d) for d in reversed(range(10))])
    student = run_of("method=lls_st", f"method.q={tmp_path}/q.safetensors", *SHORT, *overrides)
    execute(student)
    taught = load(student)["method"]["q"]
    assert torch.equal(taught, q.logits.flip(0, 1))  # by the classes' names, whatever their order
    assert not list(tmp_path.glob("runs/digits-lenet-lls-*"))


def test_a_q_of_all_classes_can_teach_a_subset(overrides, tmp_path):
    q = q_file(tmp_path / "q.safetensors", [str(d) for d in range(10)])
    line = ["method=lls_st", f"method.q={tmp_path}/q.safetensors", "dataset.subset=classes", *SHORT, *overrides]
    student = run_of(*line)
    execute(student)
    assert torch.equal(load(student)["method"]["q"], q.logits[:5, :5])


def test_a_q_of_other_classes_is_refused(overrides, tmp_path):
    q_file(tmp_path / "q.safetensors", ["cat", "dog"])
    with pytest.raises(UserError, match=r"this Q has other classes: 2 \(.*\), not 0, 1, 2 \.\.\."):
        execute(run_of("method=lls_st", f"method.q={tmp_path}/q.safetensors", *SHORT, *overrides))


def test_save_q_refuses_names_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"^Q has shape \[3, 3\], and 2 classes have names: must be 2 x 2"):
        lls.save_q(tmp_path / "q.safetensors", lls.QMatrix(torch.zeros(3, 3), ["cat", "dog"], {}))
    assert not list(tmp_path.iterdir())


def test_load_q_reads_what_save_q_wrote(tmp_path):
    q = q_file(tmp_path / "q.safetensors", ["a", "b", "c"])
    again = lls.load_q(tmp_path / "q.safetensors")
    assert torch.equal(again.logits, q.logits)
    assert again[1:] == q[1:]
    part = again.restrict(["c", "a"])
    assert part.classes == ["c", "a"]
    assert torch.equal(part.logits, q.logits[[2, 0]][:, [2, 0]])
    with pytest.raises(AttributeError, match="no attribute 'load_p'"):
        _ = lls.load_p


def test_result_and_confusion_matrix_agree(overrides):
    run = run_of("method=lls", *SHORT, *overrides)
    result = execute(run)
    assert json.loads((run.folder / "result.json").read_text()) == result
    confusion = (run.folder / "confusion.csv").read_text().splitlines()
    assert confusion[0] == "true \\ predicted,0,1,2,3,4,5,6,7,8,9"
    counts = [[int(n) for n in line.split(",")[1:]] for line in confusion[1:]]
    assert sum(map(sum, counts)) == 360
    assert sum(counts[d][d] for d in range(10)) == round(3.6 * result["top1"])
