"""Claims: the rule that decides them, their comparisons, and that outputs/claims.md is up to date."""

import importlib
import inspect
import json
import re
from itertools import chain

import pytest
import torch
import yaml
from paths import ROOT
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

Q_RUN = {"dataset": "digits", "network": "lenet", "method": "lls"}


@pytest.mark.parametrize(
    ("differences", "tolerance", "half"),
    [([1.0, 2.0, 3.0], 5.0, 4.302653 / 3**0.5), ([2.0], 5.0, 5.0), ([2.0], 0.0, 0.0)],  # 4.302653: t(0.975, 2)
)
def test_interval_of_paired_differences(differences, tolerance, half):
    assert interval(differences, tolerance) == pytest.approx((2 - half, 2 + half), abs=1e-5)


@pytest.mark.parametrize(
    ("comparisons", "label", "reason"),
    [
        ([[1.0, 1.1, 0.9]], "reproduced", "holds (n=3)"),
        ([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9]], "reproduced", "all 2 hold"),
        ([[-1.0, -1.1, -0.9], [2.0, 2.1, 1.9]], "not reproduced", "fails: c0"),
        ([[1.0, -1.1, 0.2]], "inconclusive", "weakest c0"),
        ([[1.0, 1.1, 0.9], []], "inconclusive", "1 not yet run"),
        ([[], []], "not yet run", "0 of 2"),
        ([[0.4]], "inconclusive", "(n=1)"),  # another seed could change its sign
        ([[30.0]], "reproduced", "(n=1)"),  # no other seed could
        ([[-30.0]], "not reproduced", "(n=1)"),
    ],
)
def test_verdict_on_a_claim(comparisons, label, reason):
    evidence = Evidence([Comparison(f"c{i}", values, 5.0) for i, values in enumerate(comparisons)], "")
    verdict = decide_verdict(evidence)
    assert verdict.label == label
    assert reason in verdict.reason


def test_failure_of_one_comparison_among_many_is_corrected():
    """The difference is below zero at 95 %, but not with Bonferroni's correction for 101 comparisons."""
    low = Comparison("low", [-1.0, -1.2, -0.5], 5.0)
    fine = [Comparison(f"fine {i}", [3.0, 3.1, 2.9], 5.0) for i in range(100)]
    assert interval(low.differences, 5.0)[1] < 0
    assert decide_verdict(Evidence([low], "")).label == "not reproduced"
    assert decide_verdict(Evidence([low, *fine], "")).label == "inconclusive"


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.name)
def test_a_claim_fits_the_test_that_it_names(claim):
    module, _, name = claim.test.rpartition(".")
    function = getattr(importlib.import_module(f"lls.paper.claims.{module}"), name)
    assert function.__doc__
    inspect.signature(function).bind(**claim.keys, output=None)
    assert set(claim.short or {}) <= set(claim.keys)
    for table in claim.keys.get("tables", []):
        rows = {row.name for row in load_table(table).rows}
        named = [claim.keys.get("row"), *claim.keys.get("among", []), *chain(*claim.keys.get("pairs", []))]
        assert table in "123" or {name for name in named if name} <= rows


def margins(tables, row, among=None):
    """Yield the difference between `row` and its best rival in each column, by the paper's numbers."""
    for table in (load_table(name) for name in tables):
        for column in table.columns:
            printed = {r.name: table.cells[r.name, column.name].paper for r in table.rows}
            values = {name: float(value) for name, value in printed.items() if value}
            yield values.pop(row) - max(v for name, v in values.items() if among is None or name in among)


@pytest.mark.parametrize(
    ("tables", "row", "among", "wins", "columns", "least", "most"),
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
def test_numbers_in_claims_yaml_match_the_tables_of_the_paper(tables, row, among, wins, columns, least, most):
    values = [round(value, 2) for value in margins(tables, row, among)]
    assert (sum(value > 0 for value in values), len(values)) == (wins, columns)
    assert least is None or min(values) == least
    assert most is None or max(values) == most


@pytest.fixture
def finish(tmp_path):
    """Write the files of a finished run: finish(overrides, q=softmax_q, top1=80.0) -> run."""

    def write(overrides, q=None, classes="abc", **keys):
        run = matrices.in_output(tmp_path, run_of([f"{key}={value}" for key, value in overrides.items()]))
        run.folder.mkdir(parents=True, exist_ok=True)
        if q is not None:
            save_q(run.folder / "q.safetensors", QMatrix(torch.tensor(q).log(), list(classes), {}))
        write_result(run, {"finished": "then", **keys})
        return run

    return write


MATRIX = [[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.45, 0.5, 0.05]]


def test_order_of_the_classes_in_a_row_of_q(finish, tmp_path):
    for seed in (0, 1):
        finish(Q_RUN | {"seed": seed}, MATRIX)
    evidence = matrices.order(Q_RUN, {"a": [["b"], ["c"]], "c": [["a"]]}, tmp_path)
    assert [list(c.differences) for c in evidence.comparisons[:1]] == [pytest.approx([0.3, 0.3])]
    assert evidence.comparisons[-1].differences == pytest.approx([-0.05, -0.05])  # c gives b more
    assert "a: b 0.60, c 0.30" in evidence.measured


def test_a_matrix_with_other_classes_gives_no_evidence(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    evidence = matrices.order(Q_RUN, {"a": [["another"]]}, tmp_path)
    assert (evidence.measured, [c.differences for c in evidence.comparisons]) == ("", [[]])


def test_claims_and_figures_name_classes_of_their_data_sets():
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
        names = {name.replace("T-shirt-top", "T-shirt/top") for name in class_names(run["dataset"])}
        assert set(classes) <= names


def test_pairs_compare_the_rows_of_both_classes(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    evidence = matrices.pairs(Q_RUN, [["b", "c"]], tmp_path)
    assert [c.differences[0] for c in evidence.comparisons] == pytest.approx([0.7 - 0.2, 0.5 - 0.45])


def test_diagonal_of_q(finish, tmp_path):
    finish(Q_RUN, MATRIX)
    evidence = matrices.diagonal([Q_RUN], 0.1, tmp_path)
    assert [c.differences[0] for c in evidence.comparisons] == pytest.approx([0.1 - 0.25 / 3, min(0.2, 0.1, 0.4)])
    assert "100 % of the rows" in evidence.measured


def test_entropy_is_paired_by_seed(finish, tmp_path):
    for seed, terms, nats in ((0, "forward_kl", 2.0), (1, "forward_kl", 1.9), (0, "lls", 1.5)):
        finish(Q_RUN | {"method.terms": terms, "seed": seed}, MATRIX, q_entropy=nats)
    evidence = matrices.entropy(Q_RUN, "method.terms", ["forward_kl"], "lls", tmp_path)
    assert evidence.comparisons[0].differences == [0.5]


def test_accuracy_is_paired_by_seed_within_a_column(finish, tmp_path):
    run = {"dataset": "animals10n", "network": "resnet18", "machine.wandb_group": "table-8"}
    for method, augment, top1 in (("onehot", "cutout", 86.0), ("lls", "cutout", 88.0), ("lls", "none", 99.0)):
        finish(run | {"method": method, "augment": augment, "seed": 0}, top1=top1)
    evidence = accuracy.above(["8"], [["Co + LLS", "Co"]], tmp_path, by=0.5)
    assert {c.name.partition(",")[0]: list(c.differences) for c in evidence.comparisons} == {
        "Animals-10N": [1.5],
        "ImageNet-100": [],
    }
    assert "+2.00" in evidence.measured


def test_alpha_outside_is_compared_with_the_mean_inside(finish, tmp_path):
    for alpha, top1 in ((0.1, 80.0), (0.2, 82.0), (0.5, 70.0)):
        finish(Q_RUN | {"method.alpha": alpha}, top1=top1)
    evidence = accuracy.best_alpha([Q_RUN], [0.1, 0.2], [0.05, 0.5], tmp_path)
    assert [list(c.differences) for c in evidence.comparisons] == [[], [11.0]]


@pytest.mark.parametrize("finished", ["then", "before it was trained again"])
def test_distances_of_classes_count_until_the_run_is_trained_again(finished, finish, tmp_path):
    distances = {"onehot": [0.1, 1.0, 1.0], "ls": [1.0, 1.0, 1.0], "lls": [0.2, 1.0, 1.0]}
    for method, (ab, ac, bc) in distances.items():
        run = finish({"dataset": "digits", "network": "lenet", "method": method})
        content = {"finished": finished, "classes": list("abc"), "spread": [0.1] * 3}
        content["distances"] = [[0, ab, ac], [ab, 0, bc], [ac, bc, 0]]
        (run.folder / "clusters.json").write_text(json.dumps(content))
    runs = [{"dataset": "digits", "network": "lenet"}]
    label = "reproduced" if finished == "then" else "not yet run"
    assert decide_verdict(clusters.equidistant(runs, 0.1, tmp_path)).label == label
    assert decide_verdict(clusters.trio(runs, [["a", "b", "c"]], tmp_path)).label == label
    assert clusters.trio(runs, [["a", "b", "c"]], tmp_path).comparisons[0].differences in ([], pytest.approx([0.9]))
    assert decide_verdict(clusters.trio(runs, [["a", "b", "another"]], tmp_path)).label == "not yet run"


@pytest.mark.parametrize(("k", "low", "high"), [(10, 12, 22), (100, 12, 22), (200, 12, 22)])
def test_ratio_of_gradients_at_the_start(k, low, high):
    """The documented ratios: 12 to 22 for the forward KL, 2 to 2.6 for the reverse KL."""
    assert low < computed.ratio("forward KL", k, None) < high
    assert 2 < computed.ratio("reverse KL", k, None) < 2.6


def test_ratio_of_gradients_at_high_confidence():
    assert 1 < computed.ratio("forward KL", 100, 0.85) < 9


def test_parameters_of_resnet18_match_table_9():
    assert "+0.345 %" in computed.parameters(["resnet18"], "tinyimagenet", 0.3, None).measured


def test_training_time_is_compared_round_by_round(tmp_path):
    (tmp_path / "timing").mkdir()
    steps = {"onehot": [1.0, 2.0, 1.5], "lls": [1.01, 2.02, 1.515]}
    (tmp_path / "timing" / "tinyimagenet-resnet18.json").write_text(json.dumps({"seconds_of_a_step": steps}))
    evidence = computed.minutes(["resnet18", "resnet101"], "tinyimagenet", 2.0, tmp_path)
    assert [list(c.differences) for c in evidence.comparisons] == [pytest.approx([1.0, 1.0, 1.0]), []]
    assert evidence.measured == "resnet18 +1.00 % over 3 rounds"


def test_claims_md_is_up_to_date_with_the_tracked_runs(tmp_path):
    (tmp_path / "runs").mkdir()
    for name in tracked_ids():
        (tmp_path / "runs" / name).symlink_to(ROOT / "outputs" / "runs" / name)
    (tmp_path / "timing").symlink_to(ROOT / "outputs" / "timing")
    assert tracked_ids()
    assert (ROOT / "outputs" / "claims.md").read_text() == markdown(tmp_path)


def test_check_fails_if_claims_md_is_stale(tmp_path, run_script):
    def check():
        return run_script("claims.py", "--output", tmp_path, "--check")

    missing, _, message = check()
    assert missing == 2
    assert "stale" in message
    assert run_script("claims.py", "--output", tmp_path)[0] == 0
    assert check()[0] == 0
    (tmp_path / "claims.md").write_text("old")
    outdated, _, message = check()
    assert outdated == 2
    assert "stale" in message


def test_links_in_claims_md_point_to_files():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "outputs" / "claims.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / "outputs" / link).exists()] == []
