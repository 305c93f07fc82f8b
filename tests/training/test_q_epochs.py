"""q_epochs.safetensors: Q after selected epochs, also of runs that were interrupted."""

from itertools import pairwise

import pytest
import torch
from results import compose_run
from training_runs import stop_after

from lls.errors import UserError
from lls.qmatrix import load_q
from lls.training.execute import execute
from lls.training.q_epochs import Q_EPOCHS, QRecorder, load_q_epochs, select_epochs


@pytest.mark.parametrize(
    ("epochs", "classes", "count"), [(1, 10, 1), (3, 10, 3), (50, 10, 50), (200, 200, 50), (200, 1000, 4), (9, 9999, 2)]
)
def test_selected_epochs_are_evenly_spaced_from_the_first_to_the_last(epochs, classes, count):
    selected = sorted(select_epochs(epochs, classes))
    assert len(selected) == count
    assert (selected[0], selected[-1]) == (1, epochs)
    steps = {later - earlier for earlier, later in pairwise(selected)}
    assert not steps or max(steps) - min(steps) <= 1


def test_a_run_records_its_q_and_a_run_without_a_q_nothing(overrides):
    run, onehot = (compose_run("train.epochs=3", f"method={name}", *overrides) for name in ("lls", "onehot"))
    execute(run)
    recorded, last = load_q_epochs(run.folder / "q_epochs.safetensors"), load_q(run.folder / "q.safetensors")
    assert recorded.epochs == [1, 2, 3]
    assert recorded.classes == last.classes
    assert torch.equal(recorded.logits[-1], last.logits)
    assert not torch.equal(recorded.logits[0], recorded.logits[1])
    execute(onehot)
    assert not (onehot.folder / "q_epochs.safetensors").exists()


@pytest.fixture
def interrupted(overrides):
    """Return a run of three epochs that was stopped after one, with the path of its file."""
    run = compose_run("train.epochs=3", *overrides)
    stop_after(run, 1)
    return run, run.folder / "q_epochs.safetensors"


def test_a_resumed_run_ends_with_the_same_file(interrupted, overrides, tmp_path):
    """Also if it was killed between the file and the checkpoint: the file has an epoch that the checkpoint lacks."""
    run, path = interrupted
    QRecorder(path, load_q_epochs(path).classes, 3, 1).record(2, torch.ones(10, 10))
    assert load_q_epochs(path).epochs == [1, 2]
    execute(run)
    uninterrupted = compose_run("train.epochs=3", *overrides, f"machine.output={tmp_path}/uninterrupted")
    execute(uninterrupted)
    assert path.read_bytes() == (uninterrupted.folder / path.name).read_bytes()


def test_a_run_that_an_older_version_began_has_the_later_epochs(interrupted):
    run, path = interrupted
    path.unlink()
    execute(run)
    recorded = load_q_epochs(path)
    assert recorded.epochs == [2, 3]
    assert torch.equal(recorded.logits[-1], load_q(run.folder / "q.safetensors").logits)


def test_a_broken_file_is_set_aside(interrupted, capsys):
    run, path = interrupted
    path.write_bytes(path.read_bytes()[:200])
    execute(run)
    assert f"{path} is broken" in capsys.readouterr().out
    assert load_q_epochs(path).epochs == [2, 3]


def test_a_finished_run_keeps_its_weights_until_it_is_trained_again(overrides):
    """It starts from its first epoch for the lost file. Stopped before that epoch ends, it still has its last.pt."""
    run = compose_run("train.epochs=2", "train.milestones=[]", *overrides)
    execute(run)
    path, weights = run.folder / Q_EPOCHS, run.folder / "last.pt"
    recorded, finished = path.read_bytes(), weights.read_bytes()
    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lls.training.loop.train_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(run, Q_EPOCHS)
    assert weights.read_bytes() == finished
    execute(run, Q_EPOCHS)
    assert path.read_bytes() == recorded


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_method_without_a_q_is_not_trained_for_the_file(overrides):
    run = compose_run("train.epochs=1", "train.milestones=[]", "method=onehot", *overrides)
    execute(run)
    files = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=r"has no q_epochs\.safetensors: onehot learns no Q"):
        execute(run, Q_EPOCHS)
    assert files == {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
