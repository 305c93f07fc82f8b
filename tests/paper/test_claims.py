"""Claims: the rule that decides them, the tests that it is given, and that outputs/claims.md is what they give."""

import importlib
import inspect
import json
import runpy
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
import yaml
from results import write_result

from lls.config.assemble import CONFIGS
from lls.paper.claims import accuracy, clusters, computed, load_claims, matrices
from lls.paper.claims.render import markdown
from lls.paper.claims.verdict import Comparison, Evidence, decide_verdict, interval
from lls.paper.smoke import class_names
from lls.paper.tables import load as load_table
from lls.qmatrix import QMatrix, save_q
from lls.runs.find import tracked_ids
from lls.runs.planned import run_of

ROOT = Path(__file__).resolve().parent.parent
Q_RUN = {"dataset": "digits", "network": "lenet", "method": "lls"}


@pytest.mark.parametrize(
    ("differences", "doubt", "half"),
    [([1.0, 2.0, 3.0], 5.0, 4.302653 / 3**0.5), ([2.0], 5.0, 5.0), ([2.0], 0.0, 0.0)],  # 4.302653: t(0.975, 2)
)
def test_the_interval(differences, doubt, half):
    assert interval(differences, doubt) == pytest.approx((2 - half, 2 + half), abs=1e-5)


@pytest.mark.parametrize(
    ("comparisons", "word", "said"),
    [
        ([[1.0, 1.1, 0.9]], "reproduced", "holds (n=3)"),
        ([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9]], "reproduced", "all 2 hold"),
        ([[-1.0, -1.1, -0.9], [2.0, 2.1, 1.9]], "not reproduced", "fails: c0"),
        ([[1.0, -1.1, 0.2]], "inconclusive", "weakest c0"),
        ([[1.0, 1.1, 0.9], []], "inconclusive", "1 not yet run"),
        ([[], []], "not yet run", "0 of 2"),
        ([[0.4]], "inconclusive", "(n=1)"),  # an accuracy difference that a seed could make
        ([[30.0]], "reproduced", "(n=1)"),  # one that no seed could
        ([[-30.0]], "not reproduced", "(n=1)"),
    ],
)
def test_the_rule(comparisons, word, said):
    evidence = Evidence([Comparison(f"c{i}", values, 5.0) for i, values in enumerate(comparisons)], "")
    verdict = decide_verdict(evidence)
    assert verdict.word == word
    assert said in verdict.why


def test_one_failure_among_many_has_to_be_clear():
    """Below zero at 95 %, but not when a hundred comparisons are looked at."""
    low = Comparison("low", [-1.0, -1.2, -0.5], 5.0)
    fine = [Comparison(f"fine {i}", [3.0, 3.1, 2.9], 5.0) for i in range(100)]
    assert interval(low.differences, 5.0)[1] < 0
    assert decide_verdict(Evidence([low], "")).word == "not reproduced"
    assert decide_verdict(Evidence([low, *fine], "")).word == "inconclusive"


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.name)
def test_every_claim_names_a_test_and_fits_it(claim):
    module, _, name = claim.test.rpartition(".")
    function = getattr(importlib.import_module(f"lls.paper.claims.{module}"), name)
    assert function.__doc__
    inspect.signature(function).bind(**claim.keys, output=None)
    assert set(claim.short or {}) <= set(claim.keys)
    for table in claim.keys.get("tables", []):
        rows = {row.name for row in load_table(table).rows}
        named = [claim.keys.get("row"), *claim.keys.get("among", []), *chain(*claim.keys.get("pairs", []))]
        assert table in "123" or {name for name in named if name} <= rows


def papers(tables, row, among=None):
    """The paper's own (ours - best rival) in each column."""
    for table in (load_table(name) for name in tables):
        for column in table.columns:
            printed = {r.name: table.cells[r.name, column.name].paper for r in table.rows}
            values = {name: float(value) for name, value in printed.items() if value}
            yield values.pop(row) - max(v for name, v in values.items() if among is None or name in among)


@pytest.mark.parametrize(
    ("tables", "row", "among", "won", "of", "least", "most"),
    [
        ("123", "LLS", None, 20, 21, -0.11, None),
        ("4", "LLS", None, 4, 4, 0.02, 0.44),
        ("4", "No RCE", ["No FCE", "No Pred EM", "No Targets EM"], 4, 4, None, None),
        ("5", "LLS", ["1-Hot", "LS"], 10, 10, None, None),
        ("5", "LLS-ST", ["1-Hot"], 9, 10, -0.94, 1.45),
        ("5", "LLS-ST", ["LLS"], 0, 10, -2.02, -0.02),
        ("6", "LLS-ST", None, 4, 4, 0.17, 0.43),
        ("7", "LLS", None, 4, 4, 0.02, 0.40),
        ("7", "LLS-ST", ["LS", "1-Hot"], 4, 4, 0.08, 0.40),
    ],
)
def test_the_papers_own_figures(tables, row, among, won, of, least, most):
    """What configs/claims.yaml says of the paper's tables."""
    found = [round(value, 2) for value in papers(tables, row, among)]
    assert (sum(value > 0 for value in found), len(found)) == (won, of)
    assert least is None or min(found) == least
    assert most is None or max(found) == most


@pytest.fixture
def finish(tmp_path):
    """finish(run, result keys, q=...) leaves a finished run's files; returns it."""

    def make(run, q=None, classes="abc", **keys):
        made = matrices.in_output(tmp_path, run_of([f"{key}={value}" for key, value in run.items()]))
        made.folder.mkdir(parents=True, exist_ok=True)
        if q is not None:
            save_q(made.folder / "q.safetensors", QMatrix(torch.tensor(q).log(), list(classes), {}))
        write_result(made, {"finished": "then", **keys})
        return made

    return make


MATRIX = [[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.45, 0.5, 0.05]]


def test_order_in_a_row(finish, tmp_path):
    for seed in (0, 1):
        finish(Q_RUN | {"seed": seed}, MATRIX)
    found = matrices.order(Q_RUN, {"a": [["b"], ["c"]], "c": [["a"]]}, tmp_path)
    assert [list(c.differences) for c in found.comparisons[:1]] == [pytest.approx([0.3, 0.3])]
    assert found.comparisons[-1].differences == pytest.approx([-0.05, -0.05])  # c gives b more
    assert "a: b 0.60, c 0.30" in found.ours


def test_a_matrix_of_other_classes_is_no_evidence(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    found = matrices.order(Q_RUN, {"a": [["another"]]}, tmp_path)
    assert (found.ours, [c.differences for c in found.comparisons]) == ("", [[]])


def test_the_classes_that_claims_and_figures_name_are_those_of_their_data_sets():
    named = []
    for claim in load_claims():
        if claim.test == "matrices.pairs":
            named.append((claim.keys["run"], chain(*claim.keys["pairs"])))
        if "levels" in claim.keys:
            named += [(claim.keys["run"], chain([y], *groups)) for y, groups in claim.keys["levels"].items()]
        if claim.test == "clusters.trio":
            named += zip(claim.keys["runs"], claim.keys["classes"], strict=True)
    for path in (CONFIGS / "figure").glob("*.yaml"):
        rows = yaml.safe_load(path.read_text())["rows"]
        named += [(row["run"], row["classes"]) for row in rows if "classes" in row]
    assert len(named) >= 10
    for run, classes in named:
        known = {name.replace("T-shirt-top", "T-shirt/top") for name in class_names(run["dataset"])}
        assert set(classes) <= known


def test_pairs_ask_both_ways(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    found = matrices.pairs(Q_RUN, [["b", "c"]], tmp_path)
    assert [c.differences[0] for c in found.comparisons] == pytest.approx([0.7 - 0.2, 0.5 - 0.45])


def test_diagonal(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    found = matrices.diagonal([Q_RUN], 0.1, tmp_path)
    assert [c.differences[0] for c in found.comparisons] == pytest.approx([0.1 - 0.25 / 3, min(0.2, 0.1, 0.4)])
    assert "100 % of the rows" in found.ours


def test_entropy_is_paired_by_seed(finish, tmp_path):
    for seed, terms, nats in ((0, "forward_kl", 2.0), (1, "forward_kl", 1.9), (0, "lls", 1.5)):
        finish(Q_RUN | {"method.terms": terms, "seed": seed}, MATRIX, q_entropy=nats)
    found = matrices.entropy(Q_RUN, "method.terms", ["forward_kl"], "lls", tmp_path)
    assert found.comparisons[0].differences == [0.5]


def test_accuracy_is_paired_by_seed_and_kept_apart_by_column(finish, tmp_path):
    run = {"dataset": "animals10n", "network": "resnet18", "machine.wandb_group": "table-8"}
    for method, augment, top1 in (("onehot", "cutout", 86.0), ("lls", "cutout", 88.0), ("lls", "none", 99.0)):
        finish(run | {"method": method, "augment": augment, "seed": 0}, top1=top1)
    found = accuracy.above(["8"], [["Co + LLS", "Co"]], tmp_path, by=0.5)
    assert {c.name.partition(",")[0]: list(c.differences) for c in found.comparisons} == {
        "Animals-10N": [1.5],
        "ImageNet-100": [],
    }
    assert "+2.00" in found.ours


def test_alpha_is_compared_with_the_mean_inside(finish, tmp_path):
    for alpha, top1 in ((0.1, 80.0), (0.2, 82.0), (0.5, 70.0)):
        finish(Q_RUN | {"method.alpha": alpha}, top1=top1)
    found = accuracy.best_alpha([Q_RUN], [0.1, 0.2], [0.05, 0.5], tmp_path)
    assert [list(c.differences) for c in found.comparisons] == [[], [11.0]]


@pytest.mark.parametrize("kept", ["then", "before it was trained again"])
def test_equidistant_classes(kept, finish, tmp_path):
    apart = {"onehot": [0.1, 1.0, 1.0], "ls": [1.0, 1.0, 1.0], "lls": [0.2, 1.0, 1.0]}
    for method, (ab, ac, bc) in apart.items():
        run = finish({"dataset": "digits", "network": "lenet", "method": method})
        content = {"finished": kept, "classes": list("abc"), "spread": [0.1] * 3}
        content["distances"] = [[0, ab, ac], [ab, 0, bc], [ac, bc, 0]]
        (run.folder / "clusters.json").write_text(json.dumps(content))
    of = [{"dataset": "digits", "network": "lenet"}]
    word = "reproduced" if kept == "then" else "not yet run"
    assert decide_verdict(clusters.equidistant(of, 0.1, tmp_path)).word == word
    assert decide_verdict(clusters.trio(of, [["a", "b", "c"]], tmp_path)).word == word
    assert clusters.trio(of, [["a", "b", "c"]], tmp_path).comparisons[0].differences in ([], pytest.approx([0.9]))
    assert decide_verdict(clusters.trio(of, [["a", "b", "another"]], tmp_path)).word == "not yet run"


@pytest.mark.parametrize(("k", "low", "high"), [(10, 12, 22), (100, 12, 22), (200, 12, 22)])
def test_gradients_at_the_start(k, low, high):
    """methods.md: 12 to 22 times smaller at the start; the reverse KL's 2 to 2.6."""
    assert low < computed.ratio("forward KL", k, None) < high
    assert 2 < computed.ratio("reverse KL", k, None) < 2.6


def test_gradients_of_a_sure_network_are_close():
    assert 1 < computed.ratio("forward KL", 100, 0.85) < 9


def test_parameters_are_table_9s():
    assert "+0.345 %" in computed.parameters(["resnet18"], "tinyimagenet", 0.3, None).ours


def test_time_is_compared_round_by_round(tmp_path):
    (tmp_path / "timing").mkdir()
    steps = {"onehot": [1.0, 2.0, 1.5], "lls": [1.01, 2.02, 1.515]}
    (tmp_path / "timing" / "tinyimagenet-resnet18.json").write_text(json.dumps({"seconds_of_a_step": steps}))
    found = computed.minutes(["resnet18", "resnet101"], "tinyimagenet", 2.0, tmp_path)
    assert [list(c.differences) for c in found.comparisons] == [pytest.approx([1.0, 1.0, 1.0]), []]
    assert found.ours == "resnet18 +1.00 % over 3 rounds"


def test_the_page_of_claims_is_not_stale(tmp_path):
    """python scripts/claims.py writes it; only tracked runs count."""
    (tmp_path / "runs").mkdir()
    for name in tracked_ids():
        (tmp_path / "runs" / name).symlink_to(ROOT / "outputs" / "runs" / name)
    (tmp_path / "timing").symlink_to(ROOT / "outputs" / "timing")
    assert tracked_ids()
    assert (ROOT / "outputs" / "claims.md").read_text() == markdown(tmp_path)


def test_check_fails_where_the_page_is_stale(tmp_path, monkeypatch, capsys):
    def claims_py(*words):
        monkeypatch.setattr(sys, "argv", ["claims.py", "--output", str(tmp_path), *words])
        try:
            runpy.run_path(str(ROOT / "scripts" / "claims.py"), run_name="__main__")
        except SystemExit as stopped:
            return stopped.code
        return 0

    assert claims_py("--check") == 2
    assert claims_py() == 0
    assert claims_py("--check") == 0
    (tmp_path / "claims.md").write_text("old")
    assert claims_py("--check") == 2
    assert capsys.readouterr().err.count("stale") == 2
