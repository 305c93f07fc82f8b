"""outputs/claims.md is up to date; sensitivity and bands. test_rules.py has the rule, test_claim_*.py the claims."""

import re

import pytest
from claims import claim_named
from paths import ROOT

from lls.paper.claims import judge
from lls.paper.claims.bands import load_bands, our_top1, position
from lls.paper.claims.render import judged_claims, markdown
from lls.runs.find import tracked_ids


def test_sensitivity_varies_our_margins_and_the_confidence(finish, tmp_path):
    """LLS-ST is 0.30 below a 1-hot teacher, give or take 0.05: within 0.5 and 1, but not within 0.25."""
    claim = claim_named("substitute_teacher")
    run = {"dataset": "cifar100", "network": "resnet18", "method.teacher.network": "resnet34"}
    for seed, error in ((0, -0.05), (1, 0.0), (2, 0.05)):
        kd = {"method": "kd", "method.teacher.method": "onehot", "seed": seed}
        st = {"method": "lls_st", "method.teacher.method": "lls", "seed": seed}
        finish(run | kd, top1=78.0)
        finish(run | st, top1=77.7 + error)
    judged = judge(claim, tmp_path)
    assert judged.verdict.label == "reproduced"
    assert judged.changes == {"with half the margin": "inconclusive"}


@pytest.mark.parametrize(("top1", "where"), [(77.0, "inside"), (75.0, "1.00 below"), (79.0, "0.70 above")])
def test_bands_of_public_results(top1, where, finish, results):
    band = next(band for band in load_bands() if (band.dataset, band.network) == ("cifar100", "resnet18"))
    assert position(band, our_top1(band, results)) == "not yet run"
    finish({"dataset": "cifar100", "network": "resnet18", "method": "onehot", "seed": 0}, top1=top1)
    assert position(band, our_top1(band, results)) == where


def test_bands_overlap_with_what_is_public():
    for band in load_bands():
        public = [entry["top1"] for entry in band.public]
        assert min(public) <= band.high, band
        assert band.low <= max(public) + 3, band  # some train for fewer epochs
        assert all(entry["source"] for entry in band.public)


def test_claims_md_is_up_to_date_with_the_tracked_runs(tmp_path):
    (tmp_path / "runs").mkdir()
    for name in tracked_ids():
        (tmp_path / "runs" / name).symlink_to(ROOT / "outputs" / "runs" / name)
    (tmp_path / "timing").symlink_to(ROOT / "outputs" / "timing")
    assert tracked_ids()
    assert (ROOT / "outputs" / "claims.md").read_text() == markdown(*judged_claims(tmp_path), tmp_path)


def test_check_fails_if_claims_md_is_stale(tmp_path, run_script):
    def check():
        return run_script("claims.py", "--output", tmp_path, "--check")

    missing, _, message = check()
    assert missing == 2
    assert "stale" in message
    assert run_script("claims.py", "--output", tmp_path, "--wandb=disabled")[0] == 0
    assert check()[0] == 0
    (tmp_path / "claims.md").write_text("old")
    outdated, _, message = check()
    assert outdated == 2
    assert "stale" in message


def test_links_in_claims_md_point_to_files():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "outputs" / "claims.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / "outputs" / link).exists()] == []
