"""A missing data set is obtained, or reported, once for all runs that need it."""

from itertools import chain

import pytest

from lls.config.compose import compose
from lls.data.download import arrays
from lls.errors import UserError
from lls.launch.data import missing_data
from lls.launch.start import train_missing
from lls.runs.run import Run


@pytest.fixture
def make_runs(overrides, tmp_path):
    def make(dataset, *more, seeds=(0, 1)):
        words = [*overrides, f"machine.data={tmp_path}", "train.epochs=1", "train.milestones=[]", f"dataset={dataset}"]
        return [Run(compose([*words, *more, f"seed={seed}"])) for seed in seeds]

    return make


def test_only_data_sets_that_are_not_there_are_missing(make_runs, tmp_path):
    folder_runs = make_runs("imagefolder", f"dataset.root={tmp_path}/none", seeds=[0])
    runs = [*make_runs("digits"), *make_runs("svhn"), *make_runs("animals10n"), *folder_runs]
    svhn, animals, folder = missing_data(runs)
    assert str(svhn) == f"svhn is not in {tmp_path}: 246 MB are downloaded first (2 runs)"
    assert str(animals).startswith(f"animals10n is not in {tmp_path}: ask for the raw images at https://")
    assert str(animals).endswith("(2 runs, not started before that)")
    assert f"{tmp_path}/none" in str(folder)
    assert [run.id for run in animals.runs] == [run.id for run in runs[4:6]]
    for path in arrays.array_paths("svhn", tmp_path):
        path.touch()
    assert [data.name for data in missing_data(runs)] == ["animals10n", "imagefolder"]


def test_one_line_for_each_data_set_that_cannot_be_had(make_runs, monkeypatch, capsys):
    requested = []

    def offline(name, folder):
        requested.append(name)
        raise UserError("no network")

    started = []
    monkeypatch.setattr(arrays, "ensure_files", offline)
    monkeypatch.setattr("lls.launch.start.run_locally", lambda tasks, *_: started.extend(tasks) or [])
    digits, others = make_runs("digits", seeds=[0]), [make_runs("svhn"), make_runs("animals10n"), make_runs("cifar10")]
    failures = train_missing([*chain(*others), *digits])
    assert [failure.run.id for failure in failures] == [run.id for run in chain(*others)]
    assert requested == ["svhn", "cifar10"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "svhn: no network; 2 runs not started"
    assert [line.replace(":", "").split()[0] for line in lines] == ["svhn", "animals10n", "cifar10"]
    assert [task.run.id for task in started] == [run.id for run in digits]
