"""The paper's numbers in our prediction intervals, and its numbers that are of another set-up."""

import csv
import math

import pytest
from scipy.stats import t

from lls.errors import UserError
from lls.paper.tables import load
from lls.paper.tables.render import render

YAML = """\
title: x
metric: top1
seeds: [0, 1, 2]
columns:
  - {{name: A, run: {{dataset: fashionmnist, network: lenet}}}}
  - {{name: B, run: {{dataset: fashionmnist, network: alexnet}}}}
rows:
  - {{name: 1-Hot, run: {{method: onehot}}, paper: [90.00, "-"]}}
  - {{name: LS, run: {{method: ls}}, paper: ["-", 95.00]}}
  - {{name: TF-KD_reg, run: {{method: tfkd_reg}}, paper: [20.00±0.10, 99.00], separate_spread: {separate}}}
  - {{name: LLS, run: {{method: lls}}, paper: [{paper:.2f}, 95.00]}}
{more}
"""
TOP1 = {  # the pooled variance of column A is (2·1 + 1·2) / 3 = 4/3, with 3 degrees of freedom
    ("1-Hot", "A"): [89.0, 90.0, 91.0],
    ("LS", "A"): [90.0, 92.0],
    ("LLS", "A"): [93.0],
    ("LS", "B"): [95.0],
    ("LLS", "B"): [95.0],
}
HALFWIDTH = t.ppf(0.975, 3) * math.sqrt(4 / 3 * (1 + 1 / 1))  # of LLS in column A, a single run: 5.197
SENTENCE = "the paper's number is inside our 95 % prediction interval in "
OTHER = "other_setup:\n  - {rows: [1-Hot, LS, LLS], columns: [A], source: an earlier paper_1.}"


@pytest.fixture
def rendered(tmp_path):
    def make(top1=TOP1, overrides=(), paper=93.0, separate="true", more="", smoke=False):
        (tmp_path / "mine.yaml").write_text(YAML.format(paper=paper, separate=separate, more=more))
        table = load("mine", [*overrides, f"machine.output={tmp_path}"], smoke=smoke, folder=tmp_path, all_cells=True)
        results = {}
        for key, values in top1.items():
            for run, value in zip(table.cells[key].runs if key in table.cells else (), values, strict=False):
                results[run.id] = {"top1": value}
        return render(table, lambda run: results.get(run.id))

    return make


def column_of_csv(text, column):
    return {(row["row"], row["column"]): row[column] for row in csv.DictReader(text.csv.splitlines()) if row[column]}


@pytest.mark.parametrize(
    ("paper", "mark", "tex", "word", "count"),
    [
        (93 + HALFWIDTH - 0.01, "≈", r"$\approx$", "yes", 2),
        (93 - HALFWIDTH + 0.01, "≈", r"$\approx$", "yes", 2),
        (93 + HALFWIDTH + 0.01, "≠", r"$\neq$", "no", 1),
    ],
)
def test_the_spread_is_pooled_over_cells_of_the_same_data_and_network(rendered, paper, mark, tex, word, count):
    text = rendered(paper=paper)
    assert f" (1/3) / {mark} {paper:.2f} |" in text.md
    assert rf" & \footnotesize {tex} {paper:.2f} &" in text.tex
    assert column_of_csv(text, "paper_inside") == {("1-Hot", "A"): "yes", ("LLS", "A"): word}  # B: one seed, no spread
    assert f"{SENTENCE}{count} of 2 cells · " in text.md
    assert rf"our 95 \% prediction interval in {count} of 2 cells." in text.tex
    assert "≈ or ≠: the paper's number is inside or outside our 95 % prediction interval" in text.md


@pytest.mark.parametrize(("separate", "word"), [("true", "no"), ("false", "yes")])
def test_a_row_with_a_separate_spread_does_not_widen_other_intervals(rendered, separate, word):
    """Its variance is 450. Pooled with the others it would be (2 + 2 + 450) / 4 = 113.5."""
    top1 = TOP1 | {("TF-KD_reg", "A"): [15.0, 45.0]}
    text = rendered(top1, paper=93 + HALFWIDTH + 0.01, separate=separate)
    assert column_of_csv(text, "paper_inside")["LLS", "A"] == word
    assert ("TF-KD_reg: only over those of the same row." in text.md) == (separate == "true")


@pytest.mark.parametrize(("separate", "word"), [("true", "yes"), ("false", "no")])
def test_a_row_with_a_separate_spread_has_its_interval(rendered, separate, word):
    """Its variance is 2, with 1 degree of freedom. Pooled with the others it would be (2 + 2 + 2) / 4 = 1.5, with 4."""
    alone, pooled = (t.ppf(0.975, dof) * math.sqrt(variance * (1 + 1 / 2)) for variance, dof in ((2, 1), (1.5, 4)))
    assert pooled < 25 - 20 < alone
    text = rendered(TOP1 | {("TF-KD_reg", "A"): [24.0, 26.0]}, separate=separate)
    assert column_of_csv(text, "paper_inside")["TF-KD_reg", "A"] == word


@pytest.mark.parametrize(
    ("keys", "marks"),
    [
        ({"overrides": ["columns=A", "rows=1-Hot,LLS", "seeds=0,1,2"]}, True),
        ({"overrides": ["budget=0.5"]}, False),
        ({"overrides": ["network=resnet18"]}, False),
        ({"smoke": True}, False),
        ({"top1": {("LLS", "A"): [93.0], ("LS", "A"): [92.0]}}, False),
    ],
)
def test_marks_need_the_papers_set_up_and_a_spread(rendered, keys, marks):
    text = rendered(**keys)
    assert (SENTENCE in text.md, "≈" in text.md + text.tex) == (marks, marks)
    assert bool(column_of_csv(text, "paper_inside")) == marks


def test_numbers_of_another_set_up_have_a_dagger_and_no_interval(rendered):
    text = rendered(more=OTHER)
    assert "93.00 (1/3) / 93.00† |" in text.md
    assert r" & \footnotesize 93.00\dag{} &" in text.tex
    assert "† From another set-up (1-Hot, LLS; A): an earlier paper_1." in text.md  # the paper has no number for LS
    assert r"\dag{} From another set-up (1-Hot, LLS; A): an earlier paper\_1." in text.tex
    assert column_of_csv(text, "paper_setup") == {("1-Hot", "A"): "other", ("LLS", "A"): "other"}
    assert column_of_csv(text, "paper_inside") == {}
    assert SENTENCE not in text.md


def test_sources_are_those_of_the_cells_that_are_shown(rendered):
    assert "† From another set-up (LLS; A):" in rendered(more=OTHER, overrides=["rows=LLS"]).md
    assert "†" not in rendered(more=OTHER, overrides=["columns=B"]).md
    assert "†" not in rendered(more=OTHER, overrides=["dataset=digits"]).md


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("1-Hot", "1-hat", "mine.yaml: other_setup: no row 1-hat; did you mean '1-Hot'?"),
        ("[A]", "[C]", "mine.yaml: other_setup: no column C"),
        ("source", "sauce", "other_setup: no such key: sauce; did you mean 'source'?"),
    ],
)
def test_names_in_other_setup_are_checked(rendered, old, new, problem):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        rendered(more=OTHER.replace(old, new))
    assert problem in str(error.value)


@pytest.mark.parametrize(("top1", "mark"), [(78.0, "≈"), (76.5, "≠")])
def test_a_column_with_one_seed_uses_the_spread_of_another_table(top1, mark):
    """Table 4 trains LLS on CUB-200 with ResNet-18 three times: s² = 0.25, so the half-width is 4.303 s sqrt(2) = 3.04.

    Table 1 has one seed. Its LS is 78.56 in the paper. No FCE of Table 4 has a separate spread."""
    results = {}
    for key, values in {("LLS", "CUB-200 R18"): [78.0, 78.5, 79.0], ("No FCE", "CUB-200 R18"): [5, 40, 60]}.items():
        for run, value in zip(load("4").cells[key].runs, values, strict=True):
            results[run.id] = {"top1": value}
    (ls,) = load("1").cells["LS", "CUB-200 R18"].runs
    results[ls.id] = {"top1": top1 - 1}  # 77.0 is 1.56 away, 75.5 is 3.06 away
    text = render(load("1"), lambda run: results.get(run.id))
    assert f" / {mark} 78.56 |" in text.md
