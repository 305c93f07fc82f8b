"""The claims of the paper (configs/claims.yaml), judged from the finished runs.

A claim is a list of estimates. Each estimate states that a mean exceeds its margin.

- rows, matrices, clusters and computed make the estimates of a claim, from the runs that evidence reads.
- lls/paper/rules.py turns the estimates into a verdict, by one rule for all claims.
- render writes outputs/claims.md; bands compares our 1-hot cells with public results.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.paper.claims.evidence import Evidence, Results, read_end
from lls.paper.rules import Verdict, decide
from lls.runs.run import Run
from lls.runs.schema import Failed, Result

DECLARATION = CONFIGS / "claims.yaml"
SETTINGS = {  # in which the sensitivity of a verdict is tested: confidence, factor of the margins
    "at 90 %": (0.90, 1.0),
    "at 99 %": (0.99, 1.0),
    "with half the margin": (0.95, 0.5),
    "with twice the margin": (0.95, 2.0),
}


class Claim(NamedTuple):
    """A claim of the paper, with the keys of configs/claims.yaml."""

    name: str
    says: str  # the claim in one sentence
    where: str  # sections, tables and figures of the paper
    paper: str  # the paper's evidence
    test: str  # module.function of this package
    keys: dict  # the arguments of this function
    short: dict | None  # arguments that replace some of them for short runs; None: not judged by short runs


class JudgedClaim(NamedTuple):
    """A claim, what the runs show, and the verdict."""

    claim: Claim
    evidence: Evidence
    verdict: Verdict
    changes: dict[str, str]  # by setting, the verdict's label where it differs
    needed: list[Run]  # its runs, finished or not; none for a claim that is computed

    @property
    def ended(self) -> int:
        """The number of its runs that are done or have diverged."""
        return sum(run.ended for run in self.needed)


def load_claims() -> list[Claim]:
    """Load the claims in the order of the yaml."""
    declared = OmegaConf.to_container(OmegaConf.load(DECLARATION))
    required = ("says", "where", "paper", "test")
    claims = []
    for name, keys in declared.items():
        arguments = {key: value for key, value in keys.items() if key not in (*required, "short")}
        claims.append(Claim(name, *(keys[key] for key in required), arguments, keys.get("short")))
    return claims


def find_test(claim: Claim) -> Callable[..., Evidence]:
    """Return the function that a claim names. It takes `Results` and the claim's keys."""
    module, _, function = claim.test.rpartition(".")
    return getattr(importlib.import_module(f"lls.paper.claims.{module}"), function)


def judge(
    claim: Claim,
    output: Path,
    *,
    short: bool = False,
    read: Callable[[Run], Result | Failed | None] = read_end,
) -> JudgedClaim:
    """Judge a claim from the finished runs under `output`; with `short`, from the short runs that the claim names.

    read: returns what a run has ended with."""
    results = Results(output, read)
    evidence = find_test(claim)(results, **(claim.keys | (claim.short if short else {})))
    verdict = decide(evidence.estimates)
    labels = {name: decide(evidence.estimates, *setting).label for name, setting in SETTINGS.items()}
    changes = {name: label for name, label in labels.items() if label != verdict.label}
    return JudgedClaim(claim, evidence, verdict, changes, list(results.needed.values()))
