"""Tables in W&B, and scripts/sync.py, which sends W&B the runs that it lacks."""

import json
import sys
from types import SimpleNamespace

import pytest
from results import write_result

from lls.paper.tables import load, runs_of
from lls.paper.tables.mirror import mirror
from lls.paper.tables.render import title
from lls.runs.planned import run_of


@pytest.fixture
def fake_wandb(wandb_home, monkeypatch):
    """A stand-in for the package wandb, which would need the service: fake_wandb(init=...) sets its functions."""

    def install(**functions):
        defaults = dict.fromkeys(("Settings", "setup", "teardown"), lambda *_, **__: None)
        monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(**defaults | functions))

    return install


def test_the_wandb_group_of_a_run_is_its_table():
    assert {run.cfg.machine.wandb_group for run in runs_of([load("8"), load("9")])} == {"table-8"}
    renamed = load("8", ["machine.wandb_group=mine"])
    assert {run.cfg.machine.wandb_group for run in runs_of([renamed])} == {"mine"}


def test_tables_are_mirrored(wandb_home, tmp_path):
    mirror([load("6"), load("7")], tmp_path, "offline")
    paths = sorted(tmp_path.glob("wandb/offline-run-*/files/media/table/*.json"))
    assert [path.name.partition("_")[0] for path in paths] == ["table-6", "table-7"]
    text = json.loads(paths[0].read_text())
    assert text["columns"][:3] == [title(load("6")), "ImageNet100", "ImageNet100, paper"]
    assert text["data"][3][:3] == ["LLS-ST", "·", "79.02"]


def test_an_error_of_wandb_costs_no_table(fake_wandb, tmp_path, capsys):
    def fail(**_):
        raise RuntimeError("out of order")

    fake_wandb(init=fail)
    mirror([load("6")], tmp_path, "offline")
    assert capsys.readouterr().out == "W&B is not used, for tables (out of order)\n"


class FakeRun:
    """A W&B run that keeps what is logged. rows: (step, loss), and the summary once it is finished."""

    settings = SimpleNamespace(mode="online")

    def __init__(self, rows):
        self.rows, self.summary = rows, {}

    def log(self, row, step):
        self.rows.append((step, row["loss"]))

    def finish(self):
        self.rows.append(self.summary)


def test_sync_sends_the_runs_that_wandb_lacks(fake_wandb, run_script, tmp_path):
    runs = [run_of([f"machine.output={tmp_path}", f"seed={seed}"]) for seed in range(3)]
    for run in runs:
        run.write_config()
        (run.folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n')
    write_result(runs[2], {"top1": 90.0})
    sent = {}
    complete, partial = (SimpleNamespace(id=runs[i].id, lastHistoryStep=step) for i, step in ((0, 2), (1, 1)))
    fake_wandb(
        login=lambda **_: True,
        Api=lambda: SimpleNamespace(runs=lambda project, lazy: [complete, partial]),
        init=lambda id, **_: FakeRun(sent.setdefault(id, [])),
    )
    status, out, _ = run_script("sync.py", "--output", tmp_path)
    assert not status
    rows = [(1, 0.5), (2, 0.25)]
    assert sent == {runs[1].id: [*rows, {}], runs[2].id: [*rows, {"top1": 90.0}]}
    assert "2 runs sent; W&B had the other 1" in out


def test_sync_without_a_key_is_one_line(wandb_home, run_script, tmp_path):
    run = run_of([f"machine.output={tmp_path}"])
    run.write_config()
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1}\n')
    status, _, error = run_script("sync.py", "--output", tmp_path)
    assert status == 2
    assert error == "error: W&B can't be reached (no API key: run `wandb login`)\n"
