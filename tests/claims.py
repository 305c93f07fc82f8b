"""Claims for tests: a declared one by its name, the overrides of runs, and numbers that runs may have."""

from lls.paper.claims import load_claims
from lls.paper.claims.evidence import in_output
from lls.runs.planned import run_of

Q_RUN = {"dataset": "digits", "network": "lenet", "method": "lls"}
ANIMALS = {"dataset": "animals10n", "network": "resnet18"}  # of Table 8
MATRIX = [[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.45, 0.5, 0.05]]  # softmax(Q) of classes a, b, c
OVERCONFIDENT = {
    "top1": 90.0,
    "train_top1": 99.0,
    "nll": 0.4,
    "train_cross_entropy": 0.1,
    "ece": 0.05,
    "confidence": 0.97,
}


def claim_named(name):
    """Return a claim of configs/claims.yaml."""
    return next(claim for claim in load_claims() if claim.name == name)


def run_in(output, overrides):
    """Return the run of a mapping of overrides, in an output folder."""
    return in_output(output, run_of([f"{key}={value}" for key, value in overrides.items()]))
