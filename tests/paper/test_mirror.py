"""What W&B gets of tables, figures and claims, and of the runs that they share."""

import pytest
from claims import claim_named
from PIL import Image
from results import read_rows
from wandb_logs import read_tables, records, wandb_folder

from lls.paper import figures
from lls.paper.claims import judge
from lls.paper.mirror import mirror_claims, mirror_figures, mirror_tables
from lls.paper.tables import load, runs_of
from lls.paper.tables.render import title
from lls.paper.tags import add_tags
from lls.training.execute import execute

TABLE = """
title: a test
metric: top1
seeds: [0]
columns:
  - {name: Digits, run: {dataset: digits, train.epochs: 1}}
rows:
  - {name: LLS, run: {method: lls}, paper: [90.0]}
"""


@pytest.fixture
def declare(tmp_path):
    """Declare a table in the folder of the test: declare(name, text) -> its name."""

    def write(name, text=TABLE):
        (tmp_path / f"{name}.yaml").write_text(text)
        return name

    return write


def test_wandb_gets_a_run_and_its_table(declare, overrides, wandb_home, tmp_path):
    """From two tables that share a run, to the files of W&B."""
    overrides += ["machine.wandb=offline", "machine.wandb_project=mine"]
    tables = [load(declare(name), overrides, folder=tmp_path) for name in ("a", "b")]
    (run,) = runs_of(tables)
    add_tags([run], tables)
    execute(run)
    mirror_tables(tables, tmp_path, "mine", "offline")

    folder = wandb_folder(run.folder)
    by_kind = records(folder)
    (about,), (row, *_) = by_kind["run"], by_kind["history"]
    assert about["tags"] == ["digits", "lenet", "lls", "table-a", "table-b"]
    assert (about["project"], about["run_group"], about["job_type"]) == ("mine", "table-a", "train")
    assert read_rows(run)[0].items() <= row["item"].items()
    assert list(folder.glob("files/media/images/q_*.png"))
    tables_of_run = read_tables(folder)
    assert {line[1] for line in tables_of_run["reliability_table"]["data"]} == {"accuracy", "perfect calibration"}
    confusion = tables_of_run["confusion_table"]
    assert confusion["columns"] == ["Actual", "Predicted", "nPredictions"]
    counts = [line.split(",")[1:] for line in (run.folder / "confusion.csv").read_text().splitlines()[1:]]
    assert [int(n) for line in counts for n in line] == [n for *_, n in confusion["data"]]

    folder = wandb_folder(tmp_path, "table-b-*")
    (about,) = records(folder)["run"]
    assert (about["project"], about["job_type"], about["display_name"]) == ("mine", "table", "table-b")
    cell = f"{run.result['top1']:.2f} (1/1)"
    assert read_tables(folder) == {
        "table": {"columns": [title(tables[1]), "Digits", "Digits, paper"], "data": [["LLS", cell, "90.0"]]}
    }


def test_a_table_that_is_rendered_twice_a_day_is_one_wandb_run(declare, overrides, wandb_home, tmp_path):
    tables = [load(declare("a"), overrides, folder=tmp_path)]
    mirror_tables(tables, tmp_path, "lls", "offline")
    mirror_tables(tables, tmp_path, "lls", "offline")
    assert len({path.name for path in (tmp_path / "wandb").glob("offline-run-*/*.wandb")}) == 1


def test_a_table_with_a_long_name_is_logged(declare, overrides, wandb_home, tmp_path):
    """W&B allows 128 characters in names that contain that of a W&B run."""
    mirror_tables([load(declare("a" * 200), overrides, folder=tmp_path)], tmp_path, "lls", "offline")
    assert read_tables(wandb_folder(tmp_path)).keys() == {"table"}


def test_wandb_gets_figures_with_their_titles(overrides, wandb_home, tmp_path):
    figure, png = figures.load("8", ["budget=0.05", *overrides]), tmp_path / "8-budget-0.05.png"
    Image.new("L", (8, 8)).save(png)
    mirror_figures([(figure, png)], tmp_path, "lls", "offline")
    folder = wandb_folder(tmp_path, "figure-8-budget-0.05-*")
    (row,) = records(folder)["history"]
    assert "budget=0.05" in row["item"]["figure.caption"]
    assert list(folder.glob("files/media/images/figure_*.png"))


def test_wandb_gets_the_verdicts(wandb_home, tmp_path):
    full, short = ([judge(claim_named("asymmetric"), tmp_path)], [])
    mirror_claims(full, short, tmp_path, "mine", "offline")
    table = read_tables(wandb_folder(tmp_path, "claims-*"))["claims"]
    assert table["columns"] == ["name", "claim", "where", "the paper", "ours", "verdict", "reason"]
    assert table["data"][0][5] == "not yet run"


def test_an_error_of_wandb_costs_no_table(declare, fake_wandb, tmp_path, capsys):
    """It is printed once, although there are two tables."""

    def fail(**_):
        raise RuntimeError("out of order")

    fake_wandb(init=fail)
    mirror_tables([load(declare(name), folder=tmp_path) for name in ("a", "b")], tmp_path, "lls", "offline")
    assert capsys.readouterr().out == "W&B is not used, for table-a (out of order)\n"


@pytest.mark.parametrize("name", ["tables.py render 6", "figures.py 8 budget=0.05"])
def test_scripts_log_to_the_project_of_the_overrides(name, fake_wandb, run_script, tmp_path):
    """Unless machine.wandb or --wandb says that nothing is logged."""
    started = []

    def start(**keys):
        started.append((keys["project"], keys["mode"]))
        raise RuntimeError("started")

    fake_wandb(init=start)
    words = [*name.split(), f"machine.output={tmp_path}", "machine.wandb_project=mine"]
    assert run_script(*words)[0] == 0
    assert run_script(*words, "machine.wandb=disabled")[0] == 0
    assert run_script(*words, "--wandb=disabled")[0] == 0
    assert started == [("mine", "offline")]
