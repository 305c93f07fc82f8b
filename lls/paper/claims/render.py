"""Render outputs/claims.md from the finished runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lls.paper.claims import Claim, JudgedClaim, evaluate_claim, load_claims
from lls.paper.claims.verdict import Verdict
from lls.paper.tables import load as load_table

LABELS = ("reproduced", "not reproduced", "inconclusive", "not yet run")


def judged_claims(output: Path) -> tuple[list[JudgedClaim], list[JudgedClaim]]:
    """Judge all claims by the paper's protocol; and some also by short runs, where these are finished."""
    claims = load_claims()
    full = [evaluate_claim(claim, output) for claim in claims]
    short = [evaluate_claim(claim, output, short=True) for claim in claims if claim.short is not None]
    return full, [judged for judged in short if judged.verdict.label != "not yet run"]


def markdown(output: Path) -> str:
    """Return the page of claims as Markdown."""
    full, short = judged_claims(output)
    counts = ", ".join(f"{sum(judged.verdict.label == label for judged in full)} {label}" for label in LABELS)
    lines = [
        "# The paper's claims",
        "",
        f"By the paper's protocol: {counts}.",
        "",
        "- [configs/claims.yaml](../configs/claims.yaml) declares each claim and the runs that decide it.",
        "- [lls/paper/claims/verdict.py](../lls/paper/claims/verdict.py) has the rule.",
        "- `python scripts/claims.py` writes this page.",
        "",
        *_table(full, "verdict", lambda verdict: f"**{verdict.label}**: {verdict.reason}"),
    ]
    if short:
        lines += [
            "",
            "## Short runs",
            "",
            "These are the same comparisons on short runs (budget below 1). They decide nothing about the paper.",
            "",
            *_table(short, "short runs", _answer, with_runs=True),
        ]
    return "\n".join(lines) + "\n"


def short_runs_label(claim: Claim) -> str:
    """Return the overrides of the short runs by which a claim is judged."""
    short = claim.short
    runs = [short["run"]] if "run" in short else short.get("runs", [])
    overrides = [" ".join(f"{key}={value}" for key, value in run.items()) for run in runs]
    tables = [f"table {name}: {' '.join(load_table(name).overrides)}" for name in short.get("tables", [])]
    return "; ".join([*overrides, *tables])


def _answer(verdict: Verdict) -> str:
    answer = {"reproduced": "agree", "not reproduced": "disagree"}.get(verdict.label, "leave it open")
    return f"{answer}: {verdict.reason}"


def _table(
    rows: Sequence[JudgedClaim], heading: str, describe: Callable[[Verdict], str], *, with_runs: bool = False
) -> list[str]:
    """Return a table as lines. `heading` is that of the last column; with_runs adds the overrides of short runs."""
    lines = [f"| claim | where | the paper | ours | {heading} |", "|---|---|---|---|---|"]
    for claim, evidence, verdict in rows:
        runs = f" ({short_runs_label(claim)})" if with_runs else ""
        measured = f"{evidence.measured}{runs}" if evidence.measured else "·"
        cells = (claim.says, claim.where, claim.paper, measured, describe(verdict))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines
