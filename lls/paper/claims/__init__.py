"""The paper's claims (configs/claims.yaml), each decided by the runs it names.

A claim is a list of comparisons, each of which says that a difference is above zero. `verdict` holds the one
rule that turns their values over seeds into a verdict; accuracy, matrices, clusters and computed make the comparisons.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.paper.claims.verdict import Evidence, Verdict, decide_verdict

DECLARED = CONFIGS / "claims.yaml"


class Claim(NamedTuple):
    """A claim of the paper. `test`: module.function of this package, which is given `keys`. `short`: those keys that
    put the same question to short runs, or None."""

    name: str
    says: str
    where: str
    paper: str
    test: str
    keys: dict
    short: dict | None


class JudgedClaim(NamedTuple):
    claim: Claim
    evidence: Evidence
    verdict: Verdict


def load_claims() -> list[Claim]:
    """The claims in the order of the yaml."""
    declared = OmegaConf.to_container(OmegaConf.load(DECLARED))
    fixed = ("says", "where", "paper", "test", "short")
    return [
        Claim(name, *(c[key] for key in fixed[:-1]), {k: v for k, v in c.items() if k not in fixed}, c.get("short"))
        for name, c in declared.items()
    ]


def evaluate_claim(claim: Claim, output: Path, *, short: bool = False) -> JudgedClaim:
    """Put a claim to the finished runs under `output`; or to the short ones."""
    module, _, function = claim.test.rpartition(".")
    test = getattr(importlib.import_module(f"lls.paper.claims.{module}"), function)
    keys = claim.keys | (claim.short if short else {})
    evidence = test(**keys, output=output)
    return JudgedClaim(claim, evidence, decide_verdict(evidence))
