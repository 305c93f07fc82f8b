"""The small form of runs: every table end to end in minutes, on generated images."""

from collections import Counter

import pytest
from PIL import Image

from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import smoke
from lls.paper.tables import cost, load, runs_of
from lls.paper.tables.declaration import PAPER
from lls.paper.tables.render import render
from lls.paper.tables.write import result_or_failure
from lls.training.execute import execute


def test_smoke_runs_are_distinct_and_write_to_outputs_smoke():
    small = [load(name, smoke=True) for name in PAPER]
    runs = runs_of(small)
    assert len({run.id for run in runs}) == len(runs)
    assert {str(run.cfg.machine.output) for run in runs} == {"outputs/smoke"}
    full = runs_of(load(name, ["seeds=0"]) for name in PAPER)
    assert len(runs) == len(full) > 150
    assert Counter(run.cfg.dataset.name for run in runs) == Counter(run.cfg.dataset.name for run in full)
    assert {run.cfg.train.epochs for run in runs} == {2}
    assert all(run.cfg.network.get("width", 0.125) == 0.125 for run in runs)
    (count,) = small[8].cells["1-hot", "R101 parameters"].runs
    assert count.cfg.network.get("width") is None


@pytest.mark.parametrize("dataset", smoke.GENERATED)
def test_smoke_data_has_each_class_under_its_name(dataset, tmp_path):
    classes = smoke.class_names(dataset)
    assert len(classes) == len(set(classes)) == compose([f"dataset={dataset}"]).dataset.num_classes
    assert not any("/" in name for name in classes)
    smoke.make_data(tmp_path, [dataset])
    for split, images in zip(("train", "test"), smoke.images_per_class(len(classes)), strict=True):
        counts = Counter(path.parent.name for path in (tmp_path / dataset / split).glob("*/*.png"))
        assert counts == dict.fromkeys(classes, images)
    with Image.open(next((tmp_path / dataset).rglob("*.png"))) as image:
        assert image.mode == ("L" if dataset == "fashionmnist" else "RGB")
    assert not list(tmp_path.glob(".*"))


def test_smoke_has_a_form_for_images_of_the_user_and_refuses_unknown_options(tmp_path):
    (run, *_) = runs_of([load("3", ["dataset=imagefolder", f"dataset.root={tmp_path}"], smoke=True)])
    assert run.cfg.train.batch_size == 40
    assert cost.images_of(run) is None
    for word, nearest in (("network=leenet", "lenet"), ("dataset=cifar1000", "cifar100")):
        with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
            load("3", [word], smoke=True)
    with pytest.raises(UserError, match="resnet43"):
        runs_of([load("5", ["method.teacher.network=resnet43"], smoke=True)])


def test_smoke_trains_a_table_to_its_last_cell(tmp_path, capsys):
    """Generated images and a narrow network; Q of the full data teaches a half of them. A finished run stays."""
    smoke.make_data(tmp_path / "data", ["fashionmnist"])
    folders = [f"machine.output={tmp_path}", f"machine.data={tmp_path / 'data'}"]
    table = load("6", ["columns=FMNIST", "rows=LLS", *folders], smoke=True)
    before = render(table, result_or_failure)
    runs = runs_of([table])
    assert [run.cfg.method.name for run in runs] == ["lls", "lls", "lls_st"]
    for run in runs:
        execute(run)
    assert "· / 87.56" in before.md
    after = render(table, result_or_failure)
    assert "·" not in after.csv + after.md.split("A cell shows")[0].partition("commits")[2]
    capsys.readouterr()
    execute(runs[0])
    assert "already done" in capsys.readouterr().out
    assert not list((tmp_path / "data").glob(".*"))
