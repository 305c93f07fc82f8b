"""Cells of tables, plans and claims whose runs have diverged or lack numbers."""

import pytest
from results import write_failed, write_result

from lls.paper.claims import rows
from lls.paper.claims.evidence import Results
from lls.paper.results import results_markdown
from lls.paper.tables import load, plan
from lls.paper.tables.render import render
from lls.runs.run import teacher_run


def test_a_missing_number_is_shown_as_not_recorded(tmp_path):
    table = load("3", [f"machine.output={tmp_path}", "columns=SVHN", "seeds=0,1"])
    for run in table.cells["LS", "SVHN LeNet"].runs:
        write_result(run, {"id": run.id})
    write_result(table.cells["LLS", "SVHN LeNet"].runs[0], {"top1": 89.0})

    rendered = render(table, lambda run: run.failed or run.result).md
    assert "| not recorded (2/2) / 89.35 ± 0.09 |" in rendered
    assert "| 89.00 (1/2) / 89.51 ± 0.15 |" in rendered
    assert "not recorded" in results_markdown(table.cells["LS", "SVHN LeNet"].runs)


def test_students_of_a_diverged_teacher_are_not_done(tmp_path):
    table = load("calibration", [f"machine.output={tmp_path}", "columns=SVHN", "rows=TF-KD_self"])
    (student, *_) = table.cells["TF-KD_self", "SVHN LeNet ECE"].runs
    write_failed(teacher_run(student))
    planned = {p.run.id: p for p in plan.plan([table], tmp_path)}
    assert (planned[student.id].state, planned[student.id].done) == ("no teacher", False)
    assert planned[teacher_run(student).id].state == "diverged"
    assert "1 diverged, 1 without a teacher" in plan.totals([*planned.values()])[0]


def test_a_diverged_cell_has_no_mean(tmp_path):
    table = load("3", [f"machine.output={tmp_path}", "columns=SVHN"])
    ls, lls = (table.cells[row, "SVHN LeNet"].runs for row in ("LS", "LLS"))
    write_failed(ls[0])
    for run in (*ls[1:], *lls):
        write_result(run, {"top1": 89.0})
    rendered = render(table, lambda run: run.failed or run.result)
    assert "| LS | diverged (1/3) / 89.35 ± 0.09 |" in rendered.md
    assert "LLS − LS" not in rendered.md
    assert "LS,SVHN LeNet,top1,,,0,1,3," in rendered.csv
    assert "| diverged (1/3) |" in results_markdown(ls)


def test_a_claim_about_convergence_counts_diverged_runs(tmp_path):
    table = load("4", [f"machine.output={tmp_path}"])
    cells = {row: table.cells[row, "CUB-200 R18"].runs[0] for row in ("LLS", "No FCE")}
    write_result(cells["LLS"], {"top1": 78.0})
    write_failed(cells["No FCE"])
    evidence = rows.above(Results(tmp_path), ["4"], [["LLS", "No FCE"]], 10)
    assert evidence.comparisons[0].columns == (pytest.approx(78 - 0.5),)
    assert "No FCE diverged in 1 run (counted as chance)" in evidence.measured
