"""The yaml files of figures: the runs of the declared figures, overrides, and mistakes in a file."""

import re
from collections import Counter

import pytest

from lls.errors import UserError
from lls.paper import figures


def test_the_figures_of_the_paper_are_declared():
    assert figures.paper_names() == ["3", "4", "5", "6", "7", "8", "9"]
    declared = [figures.load(name) for name in figures.paper_names()]
    runs = figures.runs_of(declared)
    assert len({run.id for run in runs}) == len(runs) == 57
    assert Counter(run.cfg.dataset.name for run in runs)["fashionmnist"] == 4
    ablation = [run for run in runs if run.cfg.dataset.name == "cifar10" and run.cfg.method.name == "lls"]
    assert {run.cfg.method.terms for run in ablation} >= {"no_fce", "no_rce", "forward_kl", "reverse_kl", "lls"}
    assert {run.cfg.budget for run in runs} == {1.0}


def test_figure_4_uses_alexnet_and_figure_8_lenet():
    networks = {name: {p.run.cfg.network.name for p in figures.load(name).panels} for name in ("4", "8")}
    assert networks == {"4": {"alexnet"}, "8": {"lenet"}}


def test_a_figure_names_exactly_the_overrides_that_change_its_runs():
    figure = figures.load("4", ["network=lenet", "budget=0.05", "seed=0", "machine.output=elsewhere"])
    assert figure.deviations == ["network=lenet", "budget=0.05"]
    assert figures.load("8", ["network=lenet"]).deviations == []


def test_a_row_with_another_data_set_has_its_name():
    assert {panel.row for panel in figures.load("9", ["dataset=fashionmnist"]).panels} == {"fashionmnist"}


def test_loading_an_unknown_figure_lists_the_declared_ones():
    with pytest.raises(UserError, match="there are: 3, 4"):
        figures.load("10")


VALID = """\
title: Reliability of LS
drawing: reliability
needs: [reliability.csv]
rows:
  - {name: Digits, run: {dataset: digits}, seeds: [0, 1]}
columns:
  - {name: 0.2, run: {method: ls, method.alpha: 0.2}}
"""


def test_a_figure_of_the_user_is_loaded(tmp_path):
    (tmp_path / "mine.yaml").write_text(VALID)
    figure = figures.load("mine", folder=tmp_path)
    assert [(panel.row, panel.column, panel.run.cfg.seed) for panel in figure.panels] == [
        ("Digits", "0.2", 0),
        ("Digits", "0.2", 1),
    ]
    assert figure.across == 1
    with pytest.raises(UserError, match=r"mine2: not declared; did you mean 'mine'\?"):
        figures.load("mine2", folder=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("needs: [reliability.csv]\n", "", "has no key needs"),
        ("[reliability.csv]", "last.pt", "needs: must be a list of files"),
        ("title:", "titel:", "no such key: titel; did you mean 'title'?"),
        ("Reliability of LS", "1", "title: must be a text"),
        ("drawing: reliability", "drawing: reliabilty", "no such drawing: reliabilty; did you mean 'reliability'?"),
        ("drawing: reliability", "drawing: page", "no such drawing: page (there are: alpha, clusters, "),
        ("drawing: reliability", "drawing: confusion", "confusion draws one run, not 2"),
        ("drawing: reliability", "drawing: trios", "classes: trios needs 3 classes in each row"),
        ("drawing: reliability", "drawing: clusters", "across: clusters draws one row, and there are 2 panels"),
        ("rows:", "across: 3\nrows:", "across: reliability draws full rows, and there are 2 panels"),
        ("rows:", "across: 0\nrows:", "across: must be a whole number from 1 on"),
        ("rows:", "partial_needs: clusters.json\nrows:", "partial_needs: must be a list of files"),
        ("{dataset: digits}", "{network: lenet}", "rows: run: Digits has no dataset"),
        ("run: {dataset: digits}, ", "", "rows: has no key run"),
        ("{dataset: digits}", "digits", "rows: run: must be overrides"),
        ("seeds: [0, 1]", "sedds: [0, 1]", "rows: no such key: sedds; did you mean 'seeds'?"),
        ("seeds: [0, 1]", "seeds: 0", "rows: seeds: must be a list of whole numbers"),
        ("seeds: [0, 1]", "seeds: [true]", "rows: seeds: must be a list of whole numbers"),
        ("seeds: [0, 1]", "classes: [0, 1]", "rows: classes: must be a list of texts"),
        ("name: 0.2", "name: [0.2]", "columns: name: must be a text or a number"),
        ("{name: 0.2, run:", "{run:", "columns: has no key name"),
        (VALID.partition("columns:\n")[2], "", "columns: must be a list of entries"),
        (VALID, "title: [", "while parsing"),
        (VALID, "- a list\n", "must have the keys drawing, needs, rows, title"),
    ],
)
def test_a_yaml_file_of_the_user_is_checked(old, new, problem, tmp_path):
    path = tmp_path / "mine.yaml"
    assert old in VALID
    path.write_text(VALID.replace(old, new))
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: [^\n]*$") as error:
        figures.load("mine", folder=tmp_path)
    assert problem in str(error.value)
