"""Our 1-hot cells beside public results of the same data set and network (configs/bands.yaml)."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import yaml

from lls.config.assemble import CONFIGS
from lls.paper.claims.evidence import Results

DECLARATION = CONFIGS / "bands.yaml"


class Band(NamedTuple):
    """The top-1 accuracy (%) that is expected of a 1-hot cell, and the public results behind it."""

    dataset: str
    network: str
    low: float
    high: float
    why: str
    public: list[dict]  # top1, epochs, source; some with spread


def load_bands() -> list[Band]:
    """Load the bands in the order of the yaml."""
    declared = yaml.safe_load(DECLARATION.read_text(encoding="utf-8"))
    return [
        Band(
            **entry["cell"],
            low=entry["expected"][0],
            high=entry["expected"][1],
            why=entry["why"],
            public=entry["public"],
        )
        for entry in declared
    ]


def position(band: Band, top1: Sequence[float]) -> str:
    """Return where our mean lies: `inside`, `n.nn below`, `n.nn above`, or `not yet run`. A diverged run is chance."""
    if not top1:
        return "not yet run"
    mean = fmean(top1)
    if band.low <= mean <= band.high:
        return "inside"
    return f"{band.low - mean:.2f} below" if mean < band.low else f"{mean - band.high:.2f} above"


def our_top1(band: Band, results: Results) -> list[float]:
    """Return the top-1 of our 1-hot runs of the band's cell, in the order of their seeds; a diverged run is chance."""
    cell = results.accuracies({"dataset": band.dataset, "network": band.network, "method": "onehot"})
    return [*cell.values.values()]
