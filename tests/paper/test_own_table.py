"""The table that docs/own-tables.md declares as an example, trained and rendered."""

import csv

import pytest
from documents import code_blocks
from paths import ROOT

from lls.paper.tables import load, runs_of
from lls.paper.tables.write import write
from lls.training.execute import execute


@pytest.fixture(scope="module")
def example():
    text, _variant = code_blocks(ROOT / "docs" / "own-tables.md", "yaml")
    return text


def test_the_example_of_the_docs_runs(example, overrides, tmp_path):
    """Two epochs for all runs, which the title says. The differences are those of `compare`."""
    (tmp_path / "mine.yaml").write_text(example)
    table = load("mine", [*overrides, "train.epochs=2", "train.milestones=[1]"], folder=tmp_path)
    for run in runs_of([table]):
        execute(run)
    paths = write(table, tmp_path / "tables")
    markdown, rows, tex = (path.read_text() for path in paths)
    assert markdown.startswith("# Mine with train.epochs=2, train.milestones=[1]: three methods on digits\n")
    assert [line.split(" | ")[0] for line in markdown.splitlines() if " − " in line] == [
        "| LLS − 1-hot",
        "| LLS − LS",
        "| LS − 1-hot",
    ]
    cells = list(csv.DictReader(rows.splitlines()))
    assert [cell["n"] for cell in cells] == ["2", "2", "1"] * 3
    assert cells[0]["runs"] == cells[1]["runs"]
    assert "Six epochs." in markdown
    assert r"\begin{tabular}" in tex
    assert {run.cfg.method.alpha for run in runs_of([table]) if run.cfg.method.name == "ls"} == {0.2}


def test_the_example_needs_the_runs_that_it_shows(example, tmp_path):
    (tmp_path / "mine.yaml").write_text(example)
    runs = runs_of([load("mine", folder=tmp_path)])
    assert len(runs) == 9  # two seeds of three methods, and one seed with six epochs
    assert {(run.cfg.train.epochs, *run.cfg.train.milestones) for run in runs if run.cfg.train.epochs == 6} == {(6, 4)}
