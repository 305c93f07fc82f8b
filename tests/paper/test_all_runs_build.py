"""Every run of every table and figure can be built: its network, its method for that network, and its schedule.

The modules are on the meta device, so nothing is allocated and no image is read."""

import json
from functools import cache

import pytest
import torch
from omegaconf import OmegaConf

from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import figures
from lls.paper.tables import cost, load, names, runs_of
from lls.runs.planned import distinct_runs
from lls.runs.run import Run
from lls.training.build import build_augmentation, build_method_for, build_network
from lls.training.schedule import make_schedule


@cache
def network(keys):
    cfg, classes, channels, size = json.loads(keys)
    with torch.device("meta"):
        return build_network(OmegaConf.create(cfg), classes, channels, size)


def build(run):
    cfg, classes = run.cfg, cost.classes_of(run)
    keys = [OmegaConf.to_container(cfg.network, resolve=True), classes, cfg.dataset.channels, cfg.dataset.size]
    net = network(json.dumps(keys))
    with torch.device("meta"):
        build_method_for(net, cfg.method, classes)
    build_augmentation(cfg.augment)
    schedule = make_schedule(cfg.train, cfg.budget)
    return schedule.epochs, schedule.lr(schedule.epochs - 1)


def test_every_run_of_every_table_and_figure_builds():
    tables = [load(name, ["seeds=0"], all_cells=True) for name in names()]  # runs of other seeds build alike
    drawn = [figures.load(name) for name in figures.names()]
    runs = distinct_runs([*runs_of(tables), *figures.runs_of(drawn)])
    assert len(runs) > 250
    refused = {}
    for run in runs:
        try:
            epochs, lr = build(run)
            assert epochs >= 1
            assert lr > 0
        except UserError as error:
            refused[run.id] = str(error)
    assert refused == {}


def test_a_method_that_does_not_fit_the_network_is_refused():

    with pytest.raises(UserError, match=r"method\.dense=true: ranking by location needs a globally pooled head"):
        build(Run(compose(["dataset=tinyimagenet", "method=zipf"])))
