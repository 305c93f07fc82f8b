"""What a table's cells show, and where it comes from."""

from typing import NamedTuple


class Metric(NamedTuple):
    words: str
    digits: int  # after the point
    scale: float = 1.0  # from result.json's unit to the table's
    lower: bool = False  # is better
    of_runs: bool = True  # it is read from finished runs, so they have to be planned
    best: str | None = None  # result.json's key of the best epoch's


METRICS = {
    "top1": Metric("top-1 accuracy (%), last epoch", 2, best="top1_best"),
    "ece": Metric("expected calibration error (%), 15 bins, last epoch", 2, scale=100, lower=True),
    "nll": Metric("negative log-likelihood of the test images, last epoch", 4, lower=True),
    "parameters": Metric("trainable parameters", 0, lower=True, of_runs=False),
    "minutes": Metric("minutes of training", 1, lower=True, of_runs=False),
}
