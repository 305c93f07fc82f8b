"""Rendered tables: cells, differences and ranks, timings, the three formats, and the committed files."""

import csv
import json
import re

import pytest
from paths import ROOT

from lls.paper.tables import load
from lls.paper.tables.grid import format_cell, ranks
from lls.paper.tables.render import render, title
from lls.paper.tables.timing import measure, minutes
from lls.paper.tables.values import Value, differences, table_values
from lls.paper.tables.write import result_or_failure, stale, tracked_result_or_failure
from lls.runs.find import tracked_files


@pytest.fixture
def rendered(tmp_path):
    """Render Table 3's FashionMNIST column from made-up results: for each row, top-1 by seed."""

    def make(**top1):
        table = load("3", ["columns=FMNIST", f"machine.output={tmp_path}"])
        results = {}
        for row, values in top1.items():
            for run, value in zip(table.cells[row.replace("_", "-"), "FMNIST AlexNet"].runs, values, strict=False):
                results[run.id] = {"top1": value, "top1_best": value + 1, "commit": "abc, def+"}
        return table, render(table, lambda run: results.get(run.id)), results

    return make


def test_cells_show_our_number_beside_the_papers(rendered):
    table, text, _ = rendered(LLS=[81, 82, 83], LS=[82.5], **{"1_Hot": [80, 81.5]})
    assert "| LLS | 82.00 ± 1.00 (3/3) / ≈ 81.56 ± 0.23 |" in text.md
    assert "| LS | 82.50 (1/3) / ≈ 81.15 ± 0.24 |" in text.md
    assert "| OLS | · / 81.21 ± 0.30 |" in text.md
    assert "\ntop-1 accuracy (%), last epoch · budget 1 · seeds 0, 1, 2 · the paper's number is " in text.md
    assert " cells · commits abc, def+\n" in text.md
    assert text.md.startswith(f"# {title(table)}\n")
    row = next(csv.DictReader(text.csv.splitlines()[:1] + [line for line in text.csv.splitlines() if "LLS" in line]))
    assert (row["mean"], row["std"], row["n"], row["best_epoch_mean"]) == ("82.0000", "1.0000", "3", "83.0000")


def test_differences_are_paired_over_seeds_with_students_interval(rendered):
    """d = 1, 2, 0.5 with n = 3: mean 1.1667, s = 0.7638, half width = 4.3027 s / sqrt(3) = 1.8973."""
    _, text, _ = rendered(LLS=[82, 83, 81], LS=[81, 81, 80.5], **{"1_Hot": [80]})
    assert "| LLS − LS | +1.17 [−0.73, +3.06] (n=3) |" in text.md
    assert "| LLS − 1-Hot | +2.00 (n=1) |" in text.md
    assert "(Student's t); n=1 has none.\n" in text.md


def test_one_seed_has_no_interval_and_the_table_says_so(rendered):
    _, text, _ = rendered(LLS=[82], LS=[81])
    assert "one seed gives no interval" in text.md
    assert "[" not in text.md.split("LLS − LS")[1]


@pytest.mark.parametrize(
    ("top1", "marks"),
    [
        ({"LLS": [83, 84, 82], "LS": [81, 82.1, 80], "OLS": [78, 79, 77.1]}, {"LLS": 1, "LS": 2}),
        ({"LLS": [83, 84, 82], "LS": [81, 82.1, 80]}, {"LLS": 1}),  # no third row
        ({"LLS": [83, 84, 82], "LS": [81, 82.1, 80], "OLS": [81, 81.9, 80.1]}, {"LLS": 1}),  # LS and OLS within noise
        ({"LLS": [83, 84, 82], "LS": [81, 84.5, 82.5], "OLS": [71, 72, 70]}, {}),  # LLS and LS within noise
        ({"LLS": [83, 84, 82], "LS": [81, 82.1, 80], "OLS": [70]}, {}),  # one seed has no interval
        ({"LLS": [83], "LS": [70]}, {}),
        ({"LLS": [83, 84, 82]}, {}),
        ({"LLS": [83, 83, 83], "LS": [83, 83, 83]}, {}),
    ],
)
def test_rows_are_marked_only_where_the_interval_of_the_difference_excludes_zero(rendered, top1, marks):
    _, text, _ = rendered(**top1)
    lines = re.findall(r"^\| (\S+) \| (\*\*|<u>)\d", text.md, re.M)
    assert {row: {"**": 1, "<u>": 2}[mark] for row, mark in lines} == marks
    assert (text.tex.count(r"\textbf{"), text.tex.count(r"\underline{")) == (1 in marks.values(), 2 in marks.values())
    assert ("Bold: better than every other row with a number" in text.md) == (1 in marks.values())
    assert ("underlined: the same, apart from" in text.md) == (2 in marks.values())


def test_lower_can_be_better():
    table = load("calibration", ["columns=SVHN"])
    cells = {key: Value({}, (), 1, ()) for key in table.cells}
    for row, values in {"LLS": [2, 2.1], "LS": [3, 3.11], "OLS": [9, 9.1]}.items():
        cells[row, "SVHN LeNet ECE"] = Value(dict(enumerate(values)), (), 2, ())
    assert ranks(table, cells) == {("LLS", "SVHN LeNet ECE"): 1, ("LS", "SVHN LeNet ECE"): 2}
    assert format_cell(cells["Zipf", "SVHN LeNet ECE"], 2) == "·"


def test_minutes_are_paired_by_round(tmp_path):
    table = load("9", [f"machine.output={tmp_path}", "columns=R18"])
    seconds = {"onehot": [0.1, 0.2, 0.1], "ls": [0.1, 0.2, 0.1], "lls": [0.11, 0.21, 0.11]}
    (tmp_path / "timing").mkdir()
    (tmp_path / "timing" / "tinyimagenet-resnet18.json").write_text(json.dumps({"seconds_of_a_step": seconds}))
    by_column = {d.column: d for d in differences(table, table_values(table, result_or_failure))}
    difference = by_column["R18 minutes"]
    assert difference.mean == pytest.approx(0.01 * 1562 * 100 / 60)
    assert difference.ci_halfwidth == pytest.approx(0, abs=1e-9)
    assert difference.pairs == 3
    assert f"{by_column['R18 parameters'].percent:.3f}" == "0.345"


def test_methods_take_turns(tmp_path):
    """Table 9 shows what `tables.py time` writes; the networks are small here."""
    table = load("9", [f"machine.output={tmp_path}", "columns=R18 minutes"], smoke=True, all_cells=True)
    runs = [cell.runs[0] for cell in table.cells.values()]
    measured = json.loads(measure(runs, 3).read_text())["seconds_of_a_step"]
    assert {name: len(seconds) for name, seconds in measured.items()} == {"onehot": 3, "ls": 3, "lls": 3, "ols": 3}
    assert minutes(runs[2]) == [second * 10 * 2 / 60 for second in measured["lls"]]
    text = render(table, result_or_failure).md
    assert "· / 142" not in text
    assert "timed on cpu (" in text


def test_a_missing_run_is_a_dot_and_a_missing_number_of_the_paper_a_dash():
    text = render(load("2", ["columns=CIFAR100 R34", "machine.output=nowhere"]), result_or_failure).md
    assert "| OLS | · / 79.96† |" in text
    assert "| FL-3 | – |" in text


def test_the_same_results_give_the_same_bytes(rendered):
    assert rendered(LLS=[82, 83, 81])[1] == rendered(LLS=[82, 83, 81])[1]


# -- committed tables ------------------------------------------------------------------------------------------------


def test_committed_tables_match_the_committed_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert stale() == []


def test_check_reports_stale_and_missing_files(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    for path in (ROOT / "outputs" / "tables").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "2.csv").write_text("")
    (tmp_path / "4.tex").unlink()
    assert stale(tmp_path) == ["2.csv is stale", "4.tex is missing"]


def test_check_says_what_it_does_not_check(run_script, monkeypatch):
    """A table of the user that is not committed; and a copy of the project without git."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("lls.paper.tables.write.names", lambda: ["9", "mine"])
    monkeypatch.setattr("lls.paper.tables.names", lambda: ["9", "mine"])
    in_tables = "lls.paper.tables.write.tracked_files"
    monkeypatch.setattr(in_tables, lambda pattern: [] if "outputs/tables" in pattern else tracked_files(pattern))
    status, out, _ = run_script("tables.py", "check")
    assert status == 0
    assert out.splitlines() == [
        "not checked, because git does not track them: mine",
        "1 table that git tracks: each matches the results that git tracks",
    ]
    monkeypatch.setattr(in_tables, lambda *_: [])
    status, _, error = run_script("tables.py", "check")
    assert status == 2
    assert error.startswith("error: git tracks no tables here, so there is nothing to check against")


def test_fashionmnist_with_a_lenet_is_rendered_from_tracked_runs(monkeypatch):
    """Five methods and three seeds; the title states the budget of 0.05."""
    monkeypatch.chdir(ROOT)
    table = load("3-fashionmnist-lenet")
    values = table_values(table, tracked_result_or_failure)
    assert [len(value.values) for value in values.values()] == [3] * 5
    text = (ROOT / "outputs" / "tables" / "3-fashionmnist-lenet.md").read_text()
    assert text.startswith("# Table 3 with columns=FMNIST, network=lenet, budget=0.05: ")
    assert "90.22 ± 0.42 (3/3)" in text
