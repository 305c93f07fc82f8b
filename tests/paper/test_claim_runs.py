"""Which runs count for a claim: diverged ones, short ones, and those without what it needs; what the others cost."""

import pytest
from claims import ANIMALS, OVERCONFIDENT, Q_RUN, claim_named

from lls.errors import UserError
from lls.paper.claims import Claim, judge
from lls.paper.claims.hours import missing_hours
from lls.paper.claims.render import reason

TABLE6 = {"dataset": "fashionmnist", "network": "resnet18", "dataset.subset": "samples"}


def finish_table_6(finish, diverge, diverged):
    """Finish the FMNIST column of Table 6: LLS-ST at 90, the others at 80 to 82. The runs `diverged` have diverged."""
    for method, top1 in (("onehot", 80.0), ("ls", 81.0), ("lls", 82.0), ("lls_st", 90.0)):
        for seed in (0, 1, 2):
            overrides = TABLE6 | {"method": method, "seed": seed}
            if (method, seed) in diverged:
                diverge(overrides)
            else:
                finish(overrides, top1=top1 + 0.1 * seed)


@pytest.mark.parametrize(
    ("diverged", "label", "measured"),
    [
        ([], "reproduced", ""),
        ([("lls_st", 1)], "inconclusive", "LLS-ST diverged in 1 run (counted as chance)"),
        ([("lls_st", seed) for seed in (0, 1, 2)], "not reproduced", "LLS-ST diverged in 3 runs"),
        ([("ls", seed) for seed in (0, 1, 2)], "reproduced", "LS diverged in 3 runs"),
    ],
)
def test_a_diverged_run_counts_as_chance(diverged, label, measured, finish, diverge, tmp_path):
    finish_table_6(finish, diverge, diverged)
    judged = judge(claim_named("half_of_the_samples"), tmp_path)
    assert judged.verdict.label == label
    assert measured in judged.evidence.measured
    assert len(judged.needed) - len(judged.unmeasured) == 12  # a diverged run has ended


def test_a_diverged_rival_leaves_the_spread_of_the_others_alone(finish, diverge, tmp_path):
    finish_table_6(finish, diverge, [("ls", 1)])
    _, ls, lls = judge(claim_named("half_of_the_samples"), tmp_path).evidence.comparisons
    assert ls.standard_error > 10
    assert lls.standard_error == pytest.approx(0.1 * (2 / 3) ** 0.5)


def test_a_run_that_diverged_in_a_column_with_one_seed_decides_nothing(finish, diverge, tmp_path):
    """1-Hot is better than LS, but its only run with CIFAR-100, R34 to R50 has diverged."""
    for column, seeds in (("resnet18", (0, 1, 2)), ("resnet50", (0,))):
        run = {"dataset": "cifar100", "network": column, "method": "kd", "method.teacher.network": "resnet34"}
        for seed in seeds:
            for teacher, top1 in (("onehot", 80.0), ("ls", 79.0)):
                overrides = run | {"method.teacher.method": teacher, "seed": seed}
                if (column, teacher) == ("resnet50", "onehot"):
                    diverge(overrides)
                else:
                    finish(overrides, top1=top1 + 0.1 * seed)
    judged = judge(claim_named("ls_teachers"), tmp_path)
    assert judged.evidence.comparisons[0].mean > 30
    assert judged.verdict.label == "inconclusive"
    assert "1-Hot diverged in 1 run (counted as chance)" in judged.evidence.measured


def test_a_diverged_run_has_no_other_measure_than_top_1(finish, diverge, tmp_path):
    for network, dataset in (("alexnet", "fashionmnist"), ("alexnet", "cifar10")):
        for seed in (0, 1, 2):
            run = {"dataset": dataset, "network": network, "seed": seed}
            finish(run | {"method": "onehot"}, **OVERCONFIDENT)
            overrides = run | {"method": "lls"}
            if (dataset, seed) == ("cifar10", 1):
                diverge(overrides)
            else:
                finish(overrides, **(OVERCONFIDENT | {"ece": 0.04 + 0.001 * seed}))
    judged = judge(claim_named("less_overfitting"), tmp_path)
    assert len(judged.evidence.comparisons[2].columns) == 1
    assert "LLS diverged in 1 run (these cells do not count)" in judged.evidence.measured
    assert [run.cfg.seed for run in judged.unmeasured if run.ended] == [1]


def test_a_run_counts_if_it_has_all_numbers_of_a_claim(finish, tmp_path):
    run = {"dataset": "fashionmnist", "network": "alexnet", "seed": 0}
    for method in ("onehot", "lls"):
        finish(run | {"method": method}, top1=90.0, ece=0.05)
    judged = judge(claim_named("less_overfitting"), tmp_path)
    assert len(judged.unmeasured) == len(judged.needed) == 28
    assert not reason(judged).startswith("so far")


def test_runs_without_the_file_or_number_of_a_claim_do_not_count(finish, tmp_path):
    for seed in (0, 1, 2):
        finish(
            {"dataset": "svhn", "network": "lenet", "method": "ols", "seed": seed},
            **({"q_diagonal": 1} if seed else {}),
        )
    judged = judge(claim_named("ols_collapses"), tmp_path)
    assert reason(judged).startswith("so far, 2 of 14 runs: ")
    assert [run.cfg.seed for run in judged.unmeasured if run.ended] == [0]


def test_a_verdict_says_how_many_of_its_runs_have_ended(finish, tmp_path):
    claim = claim_named("with_augmentations")
    finish(ANIMALS | {"method": "onehot", "augment": "cutout", "seed": 0}, top1=86.0)
    judged = judge(claim, tmp_path)
    assert (len(judged.unmeasured), len(judged.needed)) == (47, 48)
    finish(ANIMALS | {"method": "lls", "augment": "cutout", "seed": 0}, top1=88.0)
    assert reason(judge(claim, tmp_path)).startswith("so far, 2 of 48 runs: ")


def test_short_runs_have_a_budget_below_1(tmp_path):
    claim = Claim(
        "mine", "", "", "", "matrices.diagonal", {"runs": [Q_RUN | {"budget": 0.1}], "below": 0.1}, {"runs": [Q_RUN]}
    )
    with pytest.raises(
        UserError, match=r"claims.yaml: mine: short: budget=1 \(digits-lenet-lls-s0-\w+\): must be below 1"
    ):
        judge(claim, tmp_path, short=True)


def test_short_runs_are_no_evidence_about_the_paper(tmp_path):
    claim = Claim("mine", "", "", "", "matrices.diagonal", {"runs": [Q_RUN | {"budget": 0.1}], "below": 0.1}, None)
    with pytest.raises(UserError, match=r"claims.yaml: mine: budget=0.1: short runs belong under short:"):
        judge(claim, tmp_path)


def test_commands_of_the_missing_runs_of_a_claim(run_script, tmp_path):
    status, printed_lines, _ = run_script("claims.py", "--missing", "asymmetric", "--output", tmp_path)
    command = "python train.py dataset=fashionmnist network=alexnet method=lls"
    assert status == 0
    assert printed_lines.splitlines() == [f"{command} seed={seed} machine.output={tmp_path}" for seed in (0, 1, 2)]
    status, _, message = run_script("claims.py", "--missing", "asymetric")
    assert status == 2
    assert "did you mean 'asymmetric'" in message


def test_hours_count_missing_runs_and_their_teachers(finish, tmp_path):
    claim = claim_named("ls_teachers")
    (before,) = missing_hours([judge(claim, tmp_path)], tmp_path)
    run = {"dataset": "cifar100", "network": "resnet34", "method": "onehot", "seed": 0}
    finish(run, top1=78.0)  # a teacher
    (after,) = missing_hours([judge(claim, tmp_path)], tmp_path)
    assert 0.5 < before - after < 5


def test_a_teacher_that_is_also_a_run_of_the_claim_counts_once(tmp_path):
    keys = {"tables": ["2"], "columns": ["CIFAR100 R18"]}
    pairs = ([["TF-KD_self", "1-Hot"]], [["TF-KD_self", "TF-KD_self"]])  # 1-Hot teaches TF-KD_self
    claims = [Claim("", "", "", "", "rows.above", keys | {"pairs": pair}, None) for pair in pairs]
    with_teacher, alone = missing_hours([judge(claim, tmp_path) for claim in claims], tmp_path)
    assert with_teacher == pytest.approx(alone)
