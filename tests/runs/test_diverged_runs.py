"""Runs whose numbers stop being finite."""

import math

import pytest
import torch
from results import SHORT_RUN, compose_run

from lls.config.compose import with_overrides
from lls.errors import Diverged
from lls.runs.run import Run
from lls.training.build import build_network
from lls.training.execute import execute

SMALL_RESNET = ["network=resnet18", "network.width=0.25", "dataset.size=8", "train.batch_size=512", "method=onehot"]


@pytest.fixture
def pretrained(overrides, tmp_path):
    """Return a short run that starts from a file, and a function that writes the file.

    With a NaN in the running statistics of batch normalisation, training is finite and the test images are not."""
    path = tmp_path / "weights.pt"
    run = compose_run(*overrides, *SHORT_RUN, *SMALL_RESNET, f"network.weights={path}")

    def write_weights(running_mean):
        torch.manual_seed(0)
        dataset = run.cfg.dataset
        net = build_network(run.cfg.network, dataset.num_classes, dataset.channels, dataset.size)
        next(layer for layer in net.modules() if hasattr(layer, "running_mean")).running_mean.fill_(running_mean)
        torch.save(net.state_dict(), path)

    return run, write_weights


def test_a_diverged_run_reports_the_step_and_is_not_trained_again(overrides, train_py):
    words = [*overrides, *SHORT_RUN, "train.lr=1e6"]
    run = compose_run(*words)
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


def test_a_run_diverges_if_any_number_of_an_epoch_is_not_finite(pretrained):
    run, write_weights = pretrained
    write_weights(math.nan)
    with pytest.raises(Diverged, match="nll was not finite in epoch 1, step 2"):
        execute(run)
    assert (run.failed["measure"], run.failed["epoch"]) == ("nll", 1)
    write_weights(0.0)
    execute(Run(with_overrides(run.cfg, ["machine.again=true"])))
    assert run.failed is None
    assert not (run.folder / "failed.json").exists()


def test_a_finished_run_that_diverges_later_keeps_its_result(pretrained):
    run, write_weights = pretrained
    write_weights(0.0)
    result = execute(run)
    (run.folder / "last.pt").unlink()
    write_weights(math.nan)
    with pytest.raises(Diverged):
        execute(run, "last.pt")
    assert run.result == result
    assert not (run.folder / "failed.json").exists()
    write_weights(0.0)
    execute(run, "last.pt")
    assert run.has("last.pt")
