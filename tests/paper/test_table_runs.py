"""The runs of the paper's tables: how many there are, in which order, and that Hydra composes the same."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lls.config import assemble as assembly
from lls.config.compose import compose
from lls.paper.tables import cost, load, runs_of
from lls.paper.tables.declaration import PAPER
from lls.runs.run import identity, teacher_run


@pytest.fixture(scope="module")
def tables():
    return {name: load(name) for name in PAPER}


def test_the_nine_tables_are_476_runs_of_which_39_teach(tables):
    """Tables 1 to 8 have 42, 57, 70, 108, 54, 53, 48 and 60 runs, without the teachers that earlier tables have.

    Table 4 shares 6 (its LLS row: three seeds of Tiny-ImageNet R18, one of the other columns) and Table 8 shares 10
    (its first two rows) with earlier tables. Teachers that are in no table's cells: Table 5's R34 with seeds 1 and 2
    (6), and Table 6's LLS on all of FashionMNIST with ResNet-18 (3) and on ImageNet-100 with seeds 1 and 2 (2).
    """
    runs = runs_of(tables.values())
    assert len(runs) == len({run.id for run in runs}) == 476
    alone = {name: len(runs_of([table])) for name, table in tables.items()}
    assert alone["3"] == 70
    assert alone["9"] == 0
    before, new = set(), {}
    for name, table in tables.items():
        ids = {run.id for run in runs_of([table])}
        new[name], before = len(ids - before), before | ids
    assert list(new.values()) == [42, 57, 70, 102, 54, 53, 48, 50, 0]
    assert len({teacher.id for run in runs if (teacher := teacher_run(run))}) == 39


def test_a_teacher_comes_before_its_students(tables):
    runs = runs_of(tables.values())
    position = {run.id: i for i, run in enumerate(runs)}
    students = [run for run in runs if teacher_run(run)]
    assert len(students) == 76
    assert all(position[teacher_run(run).id] < position[run.id] for run in students)
    assert [run.id for run in runs_of(tables.values())] == [run.id for run in runs]


def test_figures_are_trained_by_the_same_overrides(run_script, tmp_path, monkeypatch):
    """`run figures` trains no table, and requests the weights that a figure needs."""
    started = {}
    monkeypatch.setattr(cost, "machine_rate", lambda: cost.Rate("a machine", 1e12))
    monkeypatch.setattr("lls.launch.start.train_missing", lambda runs, **keys: started.update(keys, runs=runs) or [])
    words = ("run", "figures", "budget=0.05", "seeds=1", f"machine.output={tmp_path}", "--jobs=2", "--yes")
    status, out, _ = run_script("tables.py", *words)
    assert (status, started["jobs"]) == (0, 2)
    assert "57 runs, 0 of them teachers" in out
    assert len(started["runs"]) == 57
    assert {(run.cfg.budget, run.folder.parents[1]) for run in started["runs"]} == {(0.05, tmp_path)}
    (lenet,) = (r for r in started["runs"] if (r.cfg.network.name, r.cfg.dataset.name, r.cfg.method.name) ==
                ("lenet", "fashionmnist", "ls"))  # fmt: skip
    assert started["files"][lenet.id] == {"last.pt"}


def test_planned_runs_are_what_train_py_composes(tables):
    """Hydra composes each fifteenth run by itself: assembling options gives the same configuration."""
    cells = [(cell, i) for table in tables.values() for cell in table.cells.values() for i in range(len(cell.runs))]
    for cell, i in cells[::15]:
        run = cell.runs[i]
        composed = assembly.compose_with_hydra([*cell.overrides, f"seed={run.cfg.seed}"])
        assert identity(composed) == run.id
        assert OmegaConf.to_container(composed, resolve=True) == OmegaConf.to_container(run.cfg, resolve=True)
        assert OmegaConf.is_struct(run.cfg)
        if teacher := teacher_run(run):
            assert teacher_run(run).id == teacher.id


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=tinyimagenet", "method=zipf", "network.pool=global", "method.lam=1.0"],
        ["method=tfkd_reg_resnet50", "dataset=cub200", "network=resnet50", "seed=2"],
        ["method=kd", "dataset=cifar100", "method.teacher.network=resnet34", "method.teacher.overrides=['budget=0.5']"],
        ["network=resnet34", "dataset=animals10n", "augment=cutout", "method.terms=[1, 0, 0, 1]", "train.lr=1e-2"],
        ["dataset=imagenet100", "dataset.classes=cmc", "train.milestones=[1, 2]", "++seed=3"],
    ],
)
def test_assembled_configurations_are_what_hydra_composes(overrides):
    assembled, hydras = compose(overrides), assembly.compose_with_hydra(overrides)
    assert OmegaConf.to_yaml(assembled) == OmegaConf.to_yaml(hydras)
    assert OmegaConf.is_struct(assembled)


def test_an_option_that_sets_keys_of_other_sections_is_left_to_hydra(tmp_path):
    """Here a method that sets the budget. The methods of the package set keys of their own section alone."""
    copy = tmp_path / "lls" / "config" / "assemble.py"  # it reads the folder configs/ beside its package
    copy.parent.mkdir(parents=True)
    shutil.copy(Path(assembly.__file__), copy)
    shutil.copytree(assembly.CONFIGS, tmp_path / "configs")
    (tmp_path / "configs" / "extra").mkdir()
    (tmp_path / "configs" / "extra" / "half.yaml").write_text("budget: 0.5\n")
    method = tmp_path / "configs" / "method" / "ols_half.yaml"
    method.write_text("defaults: [ols_fine, /extra@_global_: half, _self_]\ncap: 0.9\n")
    spec = importlib.util.spec_from_file_location("assemble_of_copy", copy)
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    for option in ("method=ols", "method=ols_fine", "dataset=cifar100", "method=ols_half"):
        assembled = copied.assemble(copied.parse_overrides([option]))
        assert OmegaConf.to_yaml(assembled) == OmegaConf.to_yaml(copied.compose_with_hydra([option]))
    assert (assembled.budget, assembled.method.cap) == (0.5, 0.9)


def test_methods_follow_network_and_data(tables):
    def config(name, row, column):
        return tables[name].cells[row, column].runs[0].cfg

    assert config("1", "TF-KD_reg", "CUB-200 MV2").method.temperature == 40
    assert config("1", "TF-KD_reg", "CUB-200 R50").method.temperature == 6
    assert config("1", "OLS", "CUB-200 R50").method.cap == 0.88
    assert config("2", "TF-KD_self", "Tiny-ImageNet R50").method.multiplier == 1
    tiny, cifar = config("2", "Zipf", "Tiny-ImageNet R18"), config("2", "Zipf", "CIFAR100 R18")
    assert (tiny.method.lam, tiny.network.pool, cifar.method.lam, cifar.network.pool) == (1.0, "global", 0.1, "2x2")
    for column in ("ImageNet100", "FMNIST"):
        student = tables["7"].cells["LLS-ST", column].runs[0]
        assert (student.cfg.dataset.subset, teacher_run(student).cfg.dataset.subset) == ("classes", None)
    assert teacher_run(tables["5"].cells["LS", "CUB-200 R101→MV2"].runs[0]).id.startswith("cub200-resnet101-ls-")
