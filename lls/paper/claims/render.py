"""outputs/claims.md, from the finished runs."""

from collections.abc import Sequence
from pathlib import Path

from lls.paper.claims import Claim, JudgedClaim, evaluate_claim, load_claims
from lls.paper.claims.verdict import Verdict
from lls.paper.tables import load as load_table

WORDS = ("reproduced", "not reproduced", "inconclusive", "not yet run")


def judged_claims(output: Path) -> tuple[list[JudgedClaim], list[JudgedClaim]]:
    """All claims, by the paper's protocol; and those that short runs can be asked about, by those that there are."""
    claims = load_claims()
    short = [evaluate_claim(claim, output, short=True) for claim in claims if claim.short is not None]
    return [evaluate_claim(claim, output) for claim in claims], [d for d in short if d.verdict.word != "not yet run"]


def markdown(output: Path) -> str:
    """The page of claims."""
    full, short = judged_claims(output)
    counts = ", ".join(f"{sum(d.verdict.word == word for d in full)} {word}" for word in WORDS)
    lines = [
        "# The paper's claims",
        "",
        f"By the paper's protocol: {counts}.",
        "",
        "[configs/claims.yaml](../configs/claims.yaml) declares each claim and what it takes;",
        "[lls/paper/claims/verdict.py](../lls/claims/verdict.py) has the rule. Written by `python scripts/claims.py`.",
        "",
        *_table(full, "verdict", lambda verdict: f"**{verdict.word}**: {verdict.why}"),
    ]
    if short:
        lines += [
            "",
            "## What short runs say of them",
            "",
            "The same questions put to runs that are not the paper's protocol. They decide nothing about the paper.",
            "",
            *_table(short, "these runs", _answer),
        ]
    return "\n".join(lines) + "\n"


def short_runs_label(claim: Claim) -> str:
    """Which short runs a claim is put to."""
    short = claim.short
    runs = [short["run"]] if "run" in short else short.get("runs", [])
    said = [" ".join(f"{key}={value}" for key, value in run.items()) for run in runs]
    tables = [f"table {name}: {' '.join(load_table(name).overrides)}" for name in short.get("tables", [])]
    return "; ".join([*said, *tables])


def _answer(verdict: Verdict) -> str:
    word = {"reproduced": "agree", "not reproduced": "disagree"}.get(verdict.word, "leave it open")
    return f"{word}: {verdict.why}"


def _table(rows: Sequence[JudgedClaim], last: str, say) -> list[str]:
    lines = [f"| claim | where | the paper | ours | {last} |", "|---|---|---|---|---|"]
    for claim, evidence, verdict in rows:
        runs = f" ({short_runs_label(claim)})" if last != "verdict" else ""
        ours = f"{evidence.ours}{runs}" if evidence.ours else "·"
        cells = (claim.says, claim.where, claim.paper, ours, say(verdict))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines
