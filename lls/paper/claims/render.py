"""Render outputs/claims.md from the finished runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from lls.paper.claims import SETTINGS, Claim, JudgedClaim, judge, load_claims
from lls.paper.claims.bands import load_bands, our_top1, position
from lls.paper.claims.evidence import Results, load_table
from lls.paper.claims.hours import missing_hours
from lls.paper.markdown import markdown_table
from lls.paper.rules import Comparison, limits, signed_rank_p

INTRODUCTION = """
- [configs/claims.yaml](../configs/claims.yaml) declares each claim and the runs that decide it.
- [docs/claims.md](../docs/claims.md) explains the rule. `python scripts/claims.py` writes this page.
- A number in a verdict is the distance to what is claimed: above 0, the claim holds.
- Clearly above zero: the lower limit is above 0. Clearly below: the upper limit is below 0, after Holm's correction.
- Limits are one-sided, at 95 %. Limits over classes are those of a single seed, and do not cover other seeds.
"""
OVER_COLUMNS = """
These are means over the columns that have runs. The limits decide. `Columns above` counts columns above the margin.
The p is that of Wilcoxon's exact one-sided signed-rank test over the columns; with n columns it is at least 2^-n.
"""
NEEDS = """
GPU-hours are at the speed behind the paper's minutes (Table 9), with missing teachers. Claims share runs.
`python scripts/claims.py --missing NAME` prints the commands that train what a claim still needs.
"""
LABELS = ("reproduced", "not reproduced", "inconclusive", "not yet run")


def judged_claims(output: Path) -> tuple[list[JudgedClaim], list[JudgedClaim]]:
    """Judge all claims by the paper's protocol; and some also by short runs, where these are finished."""
    claims = load_claims()
    full = [judge(claim, output) for claim in claims]
    short = [judge(claim, output, short=True) for claim in claims if claim.short is not None]
    return full, [judged for judged in short if judged.verdict.label != "not yet run"]


def markdown(full: Sequence[JudgedClaim], short: Sequence[JudgedClaim], output: Path) -> str:
    """Return the page of claims as Markdown.

    full, short: the claims that `judged_claims(output)` returns."""
    lines = [
        "# The paper's claims",
        "",
        *_counts(full),
        "",
        *INTRODUCTION.strip().splitlines(),
        "",
        *_claims(full, "verdict", lambda judged: f"**{judged.verdict.label}**: {reason(judged)}"),
        *_sensitivity(full),
        *_over_columns(full),
        *_bands(output),
        *_needs(full, output),
    ]
    if short:
        lines += [
            "",
            "## Short runs",
            "",
            "These are the same comparisons on short runs (budget below 1). They decide nothing about the paper.",
            "",
            *_claims(short, "short runs", answer, with_runs=True),
        ]
    return "\n".join(lines) + "\n"


def short_runs_label(claim: Claim) -> str:
    """Return the overrides of the short runs by which a claim is judged."""
    short = claim.short
    runs = [short[key] for key in ("run", "first", "second") if key in short] + short.get("runs", [])
    overrides = [" ".join(f"{key}={value}" for key, value in run.items()) for run in runs]
    tables = [f"table {' '.join([name, *load_table(name).overrides])}" for name in short.get("tables", [])]
    return "; ".join([*overrides, *tables])


def reason(judged: JudgedClaim) -> str:
    """Return why a claim has its verdict, after the number of runs that count if some do not yet."""
    needed, measured = len(judged.needed), len(judged.needed) - len(judged.unmeasured)
    so_far = f"so far, {measured} of {needed} runs: " if 0 < measured < needed else ""
    return f"{so_far}{judged.verdict.reason}"


def answer(judged: JudgedClaim) -> str:
    """Return what short runs say about a claim, with the reason. They decide nothing, so it is no verdict."""
    word = {"reproduced": "agree", "not reproduced": "disagree"}.get(judged.verdict.label, "leave it open")
    return f"{word}: {judged.verdict.reason}"


def _counts(full: Sequence[JudgedClaim]) -> list[str]:
    """Return how many claims have each verdict, how many of them are preliminary, and how many are sensitive."""
    counts = ", ".join(f"{sum(judged.verdict.label == label for judged in full)} {label}" for label in LABELS)
    decided = [judged for judged in full if judged.verdict.label != "not yet run"]
    partial = sum(bool(judged.unmeasured) for judged in decided)
    changes = ", ".join(f"{sum(name in judged.changes for judged in full)} {name}" for name in SETTINGS)
    return [
        f"By the paper's protocol: {counts}. {partial} of these {len(full)} rest on a part of the runs so far.",
        "",
        f"Verdicts that change in other settings: {changes}.",
    ]


def _claims(
    rows: Sequence[JudgedClaim], heading: str, describe: Callable[[JudgedClaim], str], *, with_runs: bool = False
) -> list[str]:
    """Return a table as lines. `heading` is that of the last column; with_runs adds the overrides of short runs."""
    lines = []
    for judged in rows:
        claim, measured = judged.claim, judged.evidence.measured
        runs = f" ({short_runs_label(claim)})" if with_runs else ""
        lines.append([claim.says, claim.where, claim.paper, f"{measured}{runs}" if measured else "·", describe(judged)])
    return markdown_table(["claim", "where", "the paper", "ours", heading], lines)


def _sensitivity(full: Sequence[JudgedClaim]) -> list[str]:
    """Return a table of the verdicts in other settings."""
    lines = [
        [judged.claim.says, judged.verdict.label, *(judged.changes.get(name, "=") for name in SETTINGS)]
        for judged in full
        if judged.verdict.label != "not yet run"
    ]
    text = "The verdict at other confidences, and with other margins where the margin is ours. =: the same."
    return ["", "## Sensitivity", "", text, "", *markdown_table(["claim", "at 95 %", *SETTINGS], lines)]


def _over_columns(full: Sequence[JudgedClaim]) -> list[str]:
    """Return a table of the differences that are averaged over columns, with limits and signed ranks."""
    lines = [
        [judged.claim.says, *_difference(comparison)]
        for judged in full
        for comparison in judged.evidence.comparisons
        if comparison.columns
    ]
    if not lines:
        return []
    head = ["claim", "comparison", "margin", "mean", "lower limit", "upper limit", "columns above", "signed rank p"]
    return ["", "## Differences over columns", OVER_COLUMNS, *markdown_table(head, lines)]


def _difference(comparison: Comparison) -> list[str]:
    low, high = ("·",) * 2
    if comparison.standard_error is not None:
        low, high = (f"{limit:+.3g}" for limit in limits(comparison))
    above = [column - comparison.margin for column in comparison.columns]
    p = signed_rank_p(above)
    wins = f"{sum(difference > 0 for difference in above)} of {len(above)}"
    margin, mean = f"{comparison.margin:g}", f"{comparison.mean:+.3g}"
    return [comparison.name, margin, mean, low, high, wins, "·" if p is None else f"{p:.3g}"]


def _bands(output: Path) -> list[str]:
    """Return a table of our 1-hot cells beside public results."""
    lines, outside = [], 0
    for band in load_bands():
        top1 = our_top1(band, Results(output))
        where = position(band, top1)
        outside += where not in ("inside", "not yet run")
        public = "; ".join(map(_public, band.public))
        ours = f"{fmean(top1):.2f} (n={len(top1)})" if top1 else "·"
        lines.append(
            [f"{band.dataset} / {band.network}", ours, f"{band.low} to {band.high}: {band.why}", where, public]
        )
    head = ["1-hot cell", "ours", "expected", "ours lies", "public results"]
    text = f"[configs/bands.yaml](../configs/bands.yaml) has the sources. Cells outside their band: {outside}."
    return ["", "## 1-hot cells beside public results", "", text, "", *markdown_table(head, lines)]


def _public(entry: dict) -> str:
    spread = f" ± {entry['spread']}" if "spread" in entry else ""
    epochs = f" at {entry['epochs']} epochs" if "epochs" in entry else ""
    return f"{entry['top1']}{spread}{epochs}, {entry['source']}"


def _needs(full: Sequence[JudgedClaim], output: Path) -> list[str]:
    """Return a table of what each claim still needs, cheapest first."""
    unfinished = [judged for judged in full if judged.unmeasured]
    needs = sorted(zip(missing_hours(unfinished, output), unfinished, strict=True), key=lambda need: need[0])
    lines = [[judged.claim.name, judged.claim.says, _runs_left(judged), f"{hours:,.1f}"] for hours, judged in needs]
    untimed = [judged.claim for judged in full if judged.verdict.label == "not yet run" and not judged.needed]
    lines = [*([claim.name, claim.says, "`make time`", "·"] for claim in untimed), *lines]
    head = ["NAME", "claim", "runs left", "GPU-hours"]
    return ["", "## What the claims still need", NEEDS, *markdown_table(head, lines)]


def _runs_left(judged: JudgedClaim) -> str:
    left, ended = len(judged.unmeasured), sum(run.ended for run in judged.unmeasured)
    note = f" ({ended} ended without what it needs)" if ended else ""
    return f"{left} of {len(judged.needed)}{note}"
