"""scripts/sync.py sends W&B the runs and the tags that it lacks."""

from types import SimpleNamespace

from results import write_result

from lls.runs.planned import run_of


class FakeRun:
    """A W&B run that keeps what is logged. rows: (step, loss), the keys of files, and at the end the summary."""

    settings = SimpleNamespace(mode="online")

    def __init__(self, rows):
        self.rows, self.summary = rows, {}

    def log(self, row, step=None):
        self.rows.append(sorted(row) if step is None else (step, row["loss"]))

    def finish(self):
        self.rows.append(self.summary)


class FakeApiRun(SimpleNamespace):
    """A W&B run that the public API of W&B returns. updated: the tags that W&B has got."""

    updated = None

    def update(self):
        self.updated = self.tags


def test_sync_sends_the_runs_and_tags_that_wandb_lacks(fake_wandb, run_script, tmp_path, monkeypatch):
    """Seed 0 is in W&B without the tags of its tables, seed 1 lacks an epoch, and seed 2 is not there."""
    monkeypatch.setattr("lls.paper.tables.names", lambda: ["3-fashionmnist-lenet"])  # loading all takes seconds
    overrides = ["dataset=fashionmnist", "network=lenet", "method=ls", "budget=0.05", f"machine.output={tmp_path}"]
    runs = [run_of([*overrides, f"seed={seed}"]) for seed in range(3)]
    for run in runs:
        run.write_config()
        (run.folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n')
    write_result(runs[2], {"top1": 90.0})
    (runs[2].folder / "q.png").write_bytes(b"an image")
    sent, tags = {}, {}

    def init(id, **keys):
        tags[id] = keys["tags"]
        return FakeRun(sent.setdefault(id, []))

    complete, partial = (FakeApiRun(id=runs[i].id, lastHistoryStep=step, tags=["ls"]) for i, step in ((0, 2), (1, 1)))
    fake_wandb(
        login=lambda **_: True,
        Api=lambda: SimpleNamespace(runs=lambda project, lazy: [complete, partial]),
        init=init,
        Image=str,
    )
    status, out, _ = run_script("sync.py", "--output", tmp_path)
    assert not status
    rows = [(1, 0.5), (2, 0.25)]
    assert sent == {runs[1].id: [*rows, {}], runs[2].id: [*rows, ["q"], {"top1": 90.0}]}
    assert "2 runs sent; W&B had the other 1, 1 of them without all tags" in out
    assert partial.updated is None
    assert complete.updated == ["ls", "table-3-fashionmnist-lenet"]
    assert tags[runs[2].id] == ["fashionmnist", "lenet", "ls", "budget-0.05", "table-3-fashionmnist-lenet"]


def test_sync_without_a_key_is_one_line(wandb_home, run_script, tmp_path):
    run = run_of([f"machine.output={tmp_path}"])
    run.write_config()
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1}\n')
    status, _, error = run_script("sync.py", "--output", tmp_path)
    assert status == 2
    assert error == "error: W&B can't be reached (no API key: run `wandb login`)\n"
