"""The claims of the paper (configs/claims.yaml), judged from the finished runs.

A claim is a list of comparisons. Each states that a mean exceeds its margin.

- rows, matrices, clusters and computed make the comparisons of a claim, from the runs that evidence reads.
- lls/paper/rules.py turns the comparisons into a verdict, by one rule for all claims.
- render writes outputs/claims.md; bands compares our 1-hot cells with public results.
"""

from pathlib import Path
from typing import NamedTuple

from lls.errors import UserError
from lls.paper.claims.declaration import CLAIMS, Claim, find_test, load_claims
from lls.paper.claims.evidence import Evidence, Results
from lls.paper.rules import Verdict, decide
from lls.runs.run import Run

__all__ = ["CLAIMS", "SETTINGS", "Claim", "JudgedClaim", "find_test", "judge", "load_claims"]

SETTINGS = {  # in which the sensitivity of a verdict is tested: arguments of `decide`
    "at 90 %": {"confidence": 0.90},
    "at 99 %": {"confidence": 0.99},
    "with half the margin": {"margin_factor": 0.5},
    "with twice the margin": {"margin_factor": 2.0},
}


class JudgedClaim(NamedTuple):
    """A claim, what the runs show, and the verdict."""

    claim: Claim
    evidence: Evidence
    verdict: Verdict
    changes: dict[str, str]  # by setting, the verdict's label where it differs
    needed: list[Run]  # its runs, finished or not; none for a claim that is computed
    unmeasured: list[Run]  # those of them that have not ended, or lack a number or a file that the claim needs

    @property
    def decided(self) -> bool:
        """Whether the claim is reproduced or not reproduced, possibly by a part of its runs."""
        return self.verdict.label in ("reproduced", "not reproduced")


def judge(claim: Claim, output: Path, *, short: bool = False) -> JudgedClaim:
    """Judge a claim from the finished runs under `output`; with `short`, from the short runs that the claim names.

    Raises UserError if short runs have a budget of 1, or others one below 1."""
    results = Results(output)
    evidence = find_test(claim)(results, **(claim.keys | (claim.short if short else {})))
    verdict = decide(evidence.comparisons)
    labels = {name: decide(evidence.comparisons, **setting).label for name, setting in SETTINGS.items()}
    changes = {name: label for name, label in labels.items() if label != verdict.label}
    needed = list(results.needed.values())
    if short and (full := [run for run in needed if run.cfg.budget == 1]):
        raise UserError(f"{CLAIMS.name}: {claim.name}: short: budget=1 ({full[0].id}): must be below 1")
    if not short and (small := [run for run in needed if run.cfg.budget < 1]):
        raise UserError(f"{CLAIMS.name}: {claim.name}: budget={small[0].cfg.budget:g}: short runs belong under short:")
    return JudgedClaim(claim, evidence, verdict, changes, needed, [r for r in needed if r.id in results.lacking])
