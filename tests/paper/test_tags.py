"""The tags of runs in W&B name the tables and figures that need the run."""

import pytest

from lls.paper import figures
from lls.paper.tables import load, runs_of
from lls.paper.tags import add_tags
from lls.runs.planned import distinct_runs
from lls.runs.run import teacher_run

TABLE = """
title: a test
metric: top1
seeds: [0]
columns:
  - {{name: Digits, run: {{dataset: digits, train.lr: {lr}}}}}
rows:
  - {{name: 1-Hot, run: {{method: onehot}}, paper: [90.0]}}
  - {{name: KD, run: {{method: kd, method.teacher.network: lenet}}, paper: [91.0]}}
"""
ONE_HOT, KD = ("1-Hot", "Digits"), ("KD", "Digits")


@pytest.fixture
def load_table(tmp_path):
    """Load a small table: load_table(name, *overrides, lr=0.05). Each test has its own folder, and so its own runs."""

    def write_and_load(name, *overrides, lr=0.05):
        (tmp_path / f"{name}.yaml").write_text(TABLE.format(lr=lr))
        return load(name, [f"machine.output={tmp_path}", *overrides], folder=tmp_path)

    return write_and_load


def test_a_run_has_the_tags_of_all_tables_that_need_it(load_table):
    tables = [load_table("a"), load_table("b", lr=0.01), load_table("c")]
    runs = runs_of(tables)
    add_tags(runs, tables)
    shared, other = tables[0].cells[ONE_HOT].runs[0], tables[1].cells[ONE_HOT].runs[0]
    assert shared.cfg.machine.wandb_tags == ["table-a", "table-c"]
    assert other.cfg.machine.wandb_tags == ["table-b"]
    assert (shared.cfg.machine.wandb_group, other.cfg.machine.wandb_group) == ("table-a", "table-b")


def test_a_teacher_has_the_tags_of_its_students(load_table):
    table = load_table("a", "rows=KD")
    runs = runs_of([table])
    add_tags(runs, [table])
    (teacher,) = (run for run in runs if run is not table.cells[KD].runs[0])
    assert teacher is teacher_run(table.cells[KD].runs[0])
    assert teacher.cfg.machine.wandb_tags == ["table-a"]


@pytest.mark.parametrize(
    ("overrides", "tag"),
    [
        (["rows=1-Hot"], "table-a"),
        (["columns=Digits", "machine.device=cpu"], "table-a"),
        (["budget=0.5", "rows=1-Hot"], "table-a-budget-0.5"),
        (["seeds=7"], "table-a-seeds-7"),
        (
            ["seeds=7", "train.weight_decay=0.00005", "train.momentum=0.5", "budget=0.5"],
            "table-a-seeds-7-train.weight_decay-0.00005-train.momentum-0.5...",
        ),
    ],
)
def test_the_tag_names_overrides_that_change_the_runs(overrides, tag, load_table):
    table = load_table("a", *overrides)
    add_tags(runs_of([table]), [table])
    assert table.cells[ONE_HOT].runs[0].cfg.machine.wandb_tags == [tag]


def test_tags_and_group_of_the_user_stay(load_table):
    table = load_table("a", "machine.wandb_tags=[mine]", "machine.wandb_group=ours")
    runs = runs_of([table])
    for _ in range(2):
        add_tags(runs, [table])
    machine = table.cells[ONE_HOT].runs[0].cfg.machine
    assert (machine.wandb_tags, machine.wandb_group) == (["mine", "table-a"], "ours")


def test_a_run_has_the_tags_of_figures(tmp_path):
    output = f"machine.output={tmp_path}"
    figure_list = [figures.load("8", [output]), figures.load("4", ["network=lenet", "budget=0.05", output])]
    runs = distinct_runs(figures.runs_of(figure_list))
    add_tags(runs, [], figure_list)
    tags = {tuple(run.cfg.machine.wandb_tags) for run in runs}
    assert tags == {("figure-8",), ("figure-4-network-lenet-budget-0.05",)}
