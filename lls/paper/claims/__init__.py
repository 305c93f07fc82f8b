"""The claims of the paper (configs/claims.yaml), judged from the finished runs.

A claim is a list of comparisons. Each comparison states that a difference is above zero.

- accuracy, matrices, clusters and computed make the comparisons of a claim.
- verdict turns the differences into a verdict, by one rule for all claims.
- render writes outputs/claims.md.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.paper.claims.verdict import Evidence, Verdict, decide_verdict

DECLARATION = CONFIGS / "claims.yaml"


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


def load_claims() -> list[Claim]:
    """Load the claims in the order of the yaml."""
    declared = OmegaConf.to_container(OmegaConf.load(DECLARATION))
    required = ("says", "where", "paper", "test")
    claims = []
    for name, keys in declared.items():
        arguments = {key: value for key, value in keys.items() if key not in (*required, "short")}
        claims.append(Claim(name, *(keys[key] for key in required), arguments, keys.get("short")))
    return claims


def evaluate_claim(claim: Claim, output: Path, *, short: bool = False) -> JudgedClaim:
    """Judge a claim from the finished runs under `output`; with `short`, from the short runs that the claim names."""
    module, _, function = claim.test.rpartition(".")
    test = getattr(importlib.import_module(f"lls.paper.claims.{module}"), function)
    keys = claim.keys | (claim.short if short else {})
    evidence = test(**keys, output=output)
    return JudgedClaim(claim, evidence, decide_verdict(evidence))
