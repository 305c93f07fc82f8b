"""The yaml files of configs/table: the paper's numbers in them, their overrides, and mistakes in them."""

import csv
import re

import pytest
from omegaconf import OmegaConf
from paths import ROOT

from lls.config.assemble import assemble, parse_overrides
from lls.config.compose import compose
from lls.errors import UserError
from lls.paper.tables import load, names, runs_of
from lls.paper.tables.declaration import PAPER
from lls.paper.tables.plan import run_overrides
from lls.paper.tables.render import render, title
from lls.paper.tables.values import table_values
from lls.runs.identity import identity

METHODS = {  # rows of the tables whose method has another name in published.csv
    "fl-3": "fl3",
    "flsd-53": "flsd53",
    "tf-kd_self": "tfkd_self",
    "tf-kd_reg": "tfkd_reg",
    "co": "cutout",
    "mx": "mixup",
    "cx": "cutmix",
    "ra": "randaugment",
}


def published():
    with open(ROOT / "tests" / "published.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_paper_has_239_published_numbers():
    assert len(published()) == 239


@pytest.mark.parametrize("name", PAPER)
def test_papers_numbers_are_the_published_ones_to_the_digit(name):
    declared = []
    for (row, _), cell in load(name).cells.items():
        if cell.paper is not None:
            run = OmegaConf.create(dict(text.split("=", 1) for text in cell.overrides))
            network = run.network
            if name == "5":
                network = f"{run['method.teacher.network']}>{network}"
            method = " + ".join(METHODS.get(part, part) for part in row.lower().split(" + ")).replace(" + ", "+")
            method = f"kd from {method}" if name == "5" and row != "LLS-ST" else row if name == "4" else method
            note = {"parameters": "trainable parameters", "minutes": "training time, minutes"}.get(cell.metric, "")
            declared.append((run.dataset, network, method, cell.paper, cell.spread or "", note))
    printed = [
        (p["dataset"], p["network"], p["method"], p["value"], p["std"], p["note"] if name == "9" else "")
        for p in published()
        if p["table"] == name
    ]
    assert sorted(declared) == sorted(printed)


@pytest.mark.parametrize("name", names())
def test_each_declaration_is_consistent(name):
    """Footnotes and comparisons name existing rows and columns; a comment says how to run the paper's tables."""
    table = load(name)
    rows, columns = {row.name for row in table.rows}, {column.name for column in table.columns}
    text = (ROOT / "configs" / "table" / f"{name}.yaml").read_text()
    if "\nof:" not in text:
        assert {note.get("row") for note in table.footnotes} <= rows | {None}
        assert {note.get("column") for note in table.footnotes} <= columns | {None}
    assert set(table.compare) | {rival for rivals in table.compare.values() for rival in rivals} <= rows
    assert name not in PAPER or f"scripts/tables.py run {name}\n" in text or "scripts/tables.py time" in text
    seeds = {column.name: column.seeds for column in table.columns}
    assert all(planned_seeds(cell) == seeds[cell.column] for cell in table.cells.values() if cell.paper)


def planned_seeds(cell):
    return tuple(run.cfg.seed for run in cell.runs)


def test_most_baselines_of_table_2_are_of_another_set_up():
    cells = load("2").cells.values()
    same_setup = {(cell.row, cell.column) for cell in cells if cell.paper and not cell.source}
    columns = {column.name for column in load("2").columns}
    tiny = {(row, f"Tiny-ImageNet {network}") for row in ("1-Hot", "LS") for network in ("R18", "R101")}
    assert same_setup == tiny | {("LLS", column) for column in columns}
    assert sum(cell.source is not None for cell in cells) == 26
    assert sum(cell.source is not None for cell in load("1").cells.values()) == 16


TWO_COLUMNS = """\
title: x
metric: top1
seeds: [0, 1]
columns:
  - {name: A, run: {dataset: digits, network: lenet}}
  - {name: B, seeds: [3], run: {dataset: fashionmnist, network: lenet}}
rows:
  - {name: LLS, run: {method: lls}, separate_spread: true}
  - {name: LS, run: {method: ls}}
"""


@pytest.mark.parametrize(
    ("overrides", "seeds", "words"),
    [
        ([], {"A": (0, 1), "B": (3,)}, "seeds 0, 1 (B: 3)"),
        (["seeds=4"], {"A": (4,), "B": (4,)}, "seed 4 ·"),
        (["columns=B"], {"B": (3,)}, "seed 3 ·"),
    ],
)
def test_a_column_may_have_its_own_seeds(overrides, seeds, words, tmp_path):
    (tmp_path / "mine.yaml").write_text(TWO_COLUMNS)
    table = load("mine", [*overrides, f"machine.output={tmp_path}"], folder=tmp_path)
    assert {cell.column: planned_seeds(cell) for cell in table.cells.values()} == seeds
    rendered = render(table, lambda run: {"top1": 90.0} if run.cfg.seed else None)
    assert words in rendered.md
    assert {value.planned for value in table_values(table, lambda run: None).values()} == set(map(len, seeds.values()))
    assert [row.separate_spread for row in table.rows] == [True, False]


def test_a_variant_may_replace_the_seeds_of_all_columns(tmp_path):
    (tmp_path / "mine.yaml").write_text(TWO_COLUMNS)
    (tmp_path / "variant.yaml").write_text("of: mine\noverrides: [seeds=7]\n")
    assert {planned_seeds(cell) for cell in load("variant", folder=tmp_path).cells.values()} == {(7,)}


def test_overrides_of_a_table_win_and_name_its_files():
    table = load("3", ["columns=FMNIST", "seeds=4,5", "network=lenet", "budget=0.05", "machine.device=cpu"])
    assert [planned_seeds(cell) for cell in table.cells.values()] == [(4, 5)] * 5
    assert {(r.cfg.network.name, r.cfg.budget) for r in runs_of([table])} == {("lenet", 0.05)}
    assert table.name == "3-columns-FMNIST-seeds-4-5-network-lenet-budget-0.05"
    assert title(table).startswith("Table 3 with columns=FMNIST, seeds=4,5, network=lenet, budget=0.05: ")


@pytest.mark.parametrize(
    ("name", "part", "hidden"),
    [
        ("3", "columns=FMNIST", ["SVHN", "CIFAR", "Animals", "ImageNet", "no spread"]),
        ("5", "columns=CUB", ["CIFAR", "ImageNet", "Flowers", "80.71", "64.58"]),
        ("5", "rows=1-Hot", ["LLS", "Q alone"]),
        ("8", "rows=Mx", ["Cutout", "CutMix", "RandAugment"]),
    ],
)
def test_title_and_notes_are_about_the_columns_and_rows_that_are_shown(name, part, hidden):
    text = render(load(name, [part]), lambda run: None)
    assert not [word for word in hidden if word in text.md + text.tex]


def test_footnotes_with_the_same_text_share_a_number():
    text = render(load("8", ["rows=RA,Mx"]), lambda run: None).md
    assert re.findall(r"\| (.*?)<sup>(\d)</sup> \|", text) == [
        ("Mx", "1"),
        ("Mx + LLS", "1"),
        ("RA", "2"),
        ("RA + LLS", "2"),
    ]
    assert re.findall(r"^<sup>(\d)</sup> (\w+)", text, re.M) == [("1", "Mixup"), ("2", "RandAugment")]


def test_another_data_set_is_named_and_has_no_number_of_the_paper_beside_it():
    table = load("3", ["columns=FMNIST", "rows=LLS", "dataset=digits", "network=lenet"])
    text = render(table, lambda run: None).md
    assert "| FMNIST AlexNet, here digits lenet |" in text
    assert "| LLS | · / – |" in text
    assert "<sup>" not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("of: '3'\noverides: [budget=0.1]\n", "overides; did you mean 'overrides'?"),
        ("of: '3'\noverrides: budget=0.1\n", "overrides: must be a list"),
        ("of: '3'\n", "has no key overrides"),
        ("of: '3'\noverrides: []\nseeds: [0]\n", "no such key: seeds"),
        ("title: x\nmetric: top1\ncolumns: []\nrows: []\n", "has no key seeds"),
        (TWO_COLUMNS.replace("seeds: [3]", "seed: [3]"), "columns: no such key: seed; did you mean 'seeds'?"),
        (TWO_COLUMNS.replace("separate_spread", "separate"), "rows: no such key: separate"),
        (
            TWO_COLUMNS.replace("separate_spread: true", "separate_spread: yes"),
            "separate_spread: must be true or false",
        ),
        (TWO_COLUMNS.replace("seeds: [3]", "seeds: 3"), "seeds: must be a list of whole numbers, such as [0, 1, 2]"),
        (TWO_COLUMNS.replace("seeds: [3]", "seeds: []"), "seeds: must be a list of whole numbers, such as [0, 1, 2]"),
        (TWO_COLUMNS.replace("seeds: [3]", "seeds: [a]"), "seeds: must be a list of whole numbers, such as [0, 1, 2]"),
        (
            TWO_COLUMNS.replace("run: {method: ls}", "run: ls"),
            "rows: run: must be overrides without seed",
        ),
        (TWO_COLUMNS.replace("run: {method: ls}", "when: {a=b: ls}"), "rows: when: must be overrides by condition"),
        (TWO_COLUMNS.replace("name: LS", "name: [LS]"), "rows: name: must be a text"),
        (TWO_COLUMNS.replace("{method: ls}", "{method: ls}, paper: [abc, 1]"), "paper: must be a list of numbers"),
        (TWO_COLUMNS.replace("{method: ls}", "{method: ls}, paper: 81.5"), "paper: must be a list of numbers"),
        (TWO_COLUMNS.replace("{method: ls}", "{method: ls}, paper: [81.5]"), "1 number of the paper for 2 columns"),
        (TWO_COLUMNS.partition("rows:")[0] + "rows: []\n", "has no rows"),
        (TWO_COLUMNS.replace("title: x", "title: {x: 1}"), "title: must be a text"),
        (TWO_COLUMNS + "compare: {LLS: LS}\n", "compare: must be a row and a list of its rivals"),
        (TWO_COLUMNS + "compare: [LLS, LS]\n", "compare: must be a row and a list of its rivals"),
        (TWO_COLUMNS + "other_setup: [{rows: LLS, columns: [A], source: s}]\n", "rows: must be a list of texts"),
        (TWO_COLUMNS + "compare: {LLS: [1-Hod]}\n", "compare: no row 1-Hod"),
        (TWO_COLUMNS + "footnotes: [{column: C, text: t}]\n", "footnotes: no column C"),
        (
            TWO_COLUMNS.replace("separate_spread: true", "paper: [9.0]"),
            "row LLS has 1 number of the paper for 2 columns; write - where the paper has none",
        ),
        (TWO_COLUMNS + "footnotes: text\n", "footnotes: must be a list of entries"),
        ("title: [", "mine.yaml"),
        (TWO_COLUMNS.replace("{method: ls}", "{method: ls, seed: 3}"), "rows: run: must be overrides without seed"),
        ("- a list\n", "must have the keys columns, metric, rows, seeds, title"),
        ("", "must have the keys columns, metric, rows, seeds, title"),
    ],
)
def test_a_yaml_file_of_the_user_is_checked(text, problem, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: [^\n]*$") as error:
        load("mine", folder=tmp_path)
    assert problem in str(error.value)


def test_a_wrong_override_in_a_yaml_names_its_cell(tmp_path):
    (tmp_path / "mine.yaml").write_text(TWO_COLUMNS.replace("{method: ls}", "{method: lss}"))
    with pytest.raises(UserError, match=r"^row LS, column A: method=lss: no such method; did you mean 'ls'"):
        load("mine", folder=tmp_path)


def test_values_in_yaml_need_no_quotes_of_the_command_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("""\
title: x
metric: top1
seeds: [0]
columns: [{name: A, run: {dataset: imagefolder, network: resnet18, dataset.root: "/data/my images, a (1)"}}]
rows: [{name: LLS, run: {method: lls, train.milestones: [4, 6], train.nesterov: true, dataset.resize: null}}]
""")
    ((cell),) = load("mine", folder=tmp_path).cells.values()
    (run,) = cell.runs
    assert run.cfg.dataset.root == "/data/my images, a (1)"
    assert (run.cfg.train.milestones, run.cfg.train.nesterov, run.cfg.dataset.resize) == ([4, 6], True, None)
    typed = parse_overrides([*cell.overrides, "seed=0"])
    assert assemble(typed) == run.cfg
    assert identity(compose(run_overrides(run))) == run.id


def test_a_condition_compares_values(tmp_path):
    text = TWO_COLUMNS.replace(
        "network: lenet}}\n  - {name: B", "network: lenet, train.milestones: [4, 5]}}\n  - {name: B"
    )
    row = "  - {name: LS, run: {method: ls}, when: {'train.milestones=[4, 5]': {method.alpha: 0.4}}}\n"
    (tmp_path / "mine.yaml").write_text(text.replace("  - {name: LS, run: {method: ls}}\n", row))
    cells = load("mine", folder=tmp_path).cells
    assert [cells["LS", column].runs[0].cfg.method.alpha for column in "AB"] == [0.4, 0.1]
    (tmp_path / "wrong.yaml").write_text(text.replace("  - {name: LS, run: {method: ls}}\n", row.replace("5]", "6]")))
    with pytest.raises(UserError, match=r"table wrong: row LS: when: no column has train\.milestones=\[4, 6\]"):
        load("wrong", folder=tmp_path)


def test_a_table_of_the_user_has_its_name_in_the_title(tmp_path):
    (tmp_path / "2-mine.yaml").write_text(TWO_COLUMNS)
    assert title(load("2-mine", folder=tmp_path)) == "2-mine: x"
    assert title(load("3-fashionmnist-lenet")).startswith("Table 3 with ")


def test_all_cells_are_planned_on_request():
    default, all_cells = load("2", ["columns=R101"]), load("2", ["columns=R101"], all_cells=True)
    assert sum(len(cell.runs) for cell in default.cells.values()) == 9
    assert sum(len(cell.runs) for cell in all_cells.cells.values()) == 18


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("10", [], "10: no such table"),
        ("3", ["columns=MNISTT"], "MNISTT: table 3 has no such column (there are: SVHN LeNet"),
        ("3", ["rows=nothing"], "nothing: table 3 has no such row"),
        ("3", ["seeds=a"], "seeds=a: must be whole numbers with commas between them"),
        ("3", ["bugdet=1"], "no such key: bugdet; did you mean 'budget'?"),
    ],
)
def test_mistakes_are_reported_in_one_line(name, overrides, words):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        load(name, overrides)
    assert words in str(error.value)
