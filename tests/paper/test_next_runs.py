"""What to run next, and what `scripts/tables.py run` says before its first run."""

import sys
from types import SimpleNamespace

import pytest

from lls.paper.claims.groups import cheapest_groups, describe
from lls.paper.tables import cost
from lls.runs.planned import run_of


@pytest.fixture
def runs(tmp_path):
    def of(*words, seeds=(0, 1)):
        return [run_of([*words, f"machine.output={tmp_path}", f"seed={seed}"]) for seed in seeds]

    return of


def claim(name, *groups, decided=False):
    missing = [run for group in groups for run in group]
    return SimpleNamespace(claim=SimpleNamespace(name=name), unmeasured=missing, decided=decided)


def test_groups_are_ordered_by_claims_per_gpu_hour(runs, tmp_path):
    """Runs of an earlier group cost nothing, and claims that are decided already come last.

    A claim without missing runs is in no group."""
    lenet, alexnet = runs("dataset=svhn", "network=lenet"), runs("dataset=cifar10", "network=alexnet")
    resnet = runs("dataset=cifar100", "network=resnet18")
    claims = [
        claim("dear", resnet, lenet),
        claim("both", lenet, alexnet),
        claim("cheap", lenet),
        claim("same", lenet),
        claim("done"),
        claim("known", resnet[:1], decided=True),
        claim("rest", runs("dataset=svhn", "network=lenet", "method=ls"), decided=True),
    ]
    groups = cheapest_groups(claims, tmp_path)
    names = [[judged.claim.name for judged in group.claims] for group in groups]
    assert names == [["cheap", "same"], ["both"], ["dear", "known"], ["rest"]]
    assert [[run.id for run in group.runs] for group in groups[:3]] == [
        [run.id for run in part] for part in (lenet, alexnet, resnet)
    ]
    assert 0 < groups[0].hours < groups[2].hours


def test_a_group_is_described_by_what_its_runs_share(runs):
    group = [*runs("dataset=svhn", "method=ls"), *runs("dataset=cifar10", "method.alpha=0.3", seeds=[2])]
    tables = {group[0].id: ["3"], group[1].id: ["3", "8"]}
    words = (
        "svhn (lenet), cifar10 (alexnet); ls, lls; method.alpha=0.3; seeds 0, 1, 2; 3 runs, 2 of them in Tables 3, 8"
    )
    assert describe(group, tables) == words
    assert describe(group[:1], tables) == "svhn (lenet); ls; seed 0; 1 run in Table 3"
    assert describe(group[2:], {}) == "cifar10 (alexnet); lls; method.alpha=0.3; seed 2; 1 run"


@pytest.fixture
def tables_run(run_script, tmp_path, monkeypatch):
    """Run `tables.py run 3 columns=FMNIST` on a machine of some speed, and return status, output and started runs."""

    def run(*words, flops):
        started = []
        monkeypatch.setattr(cost, "machine_rate", lambda: cost.Rate("a machine", flops))
        monkeypatch.setattr("lls.launch.start.train_missing", lambda runs, **_: started.extend(runs) or [])
        folders = (f"machine.output={tmp_path}", f"machine.data={tmp_path}")
        return *run_script("tables.py", "run", "3", "columns=FMNIST", "--wandb=disabled", *folders, *words), started

    return run


def test_a_run_of_hours_starts_after_an_announcement(tables_run):
    status, out, _, started = tables_run(flops=1e13)
    assert (status, len(started)) == (0, 15)
    assert "15 runs, 0 of them teachers of others: 0 done" in out
    assert "missing data: fashionmnist is not in" in out
    assert out.count("fashionmnist") == 1
    assert "next: train 15 runs, teachers first, and render the tables: " in out


@pytest.mark.parametrize(
    ("words", "starts"),
    [([], False), (["--yes"], True), (["--time-limit=3600"], True), (["--time-limit=90000"], False)],
)
def test_more_than_a_day_needs_yes(tables_run, monkeypatch, words, starts):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    status, _, error, started = tables_run(*words, flops=1e9)
    assert (status == 0, bool(started)) == (starts, starts)
    assert error.startswith("error: this takes more than a day, one run at a time: add --yes") == (not starts)


@pytest.mark.parametrize(("answer", "starts"), [("y", True), ("", False), ("n", False), (None, False)])
def test_more_than_a_day_is_asked_in_a_terminal(tables_run, monkeypatch, answer, starts):
    """None is Ctrl-D, the end of the input."""

    def reply(_):
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", reply)
    status, _, error, started = tables_run(flops=1e9)
    assert (status == 0, bool(started)) == (starts, starts)
    assert error == ("" if starts else "error: not started\n")
