"""The metrics that a cell of a table can show."""

from typing import NamedTuple


class Metric(NamedTuple):
    words: str  # its description in the line below a table's title
    digits: int  # after the decimal point
    scale: float = 1.0  # factor from the unit of result.json to the unit of the table
    lower: bool = False  # lower is better
    of_runs: bool = True  # it is read from finished runs, so those must be planned
    best: str | None = None  # key of the best epoch's value in result.json


METRICS = {
    "top1": Metric("top-1 accuracy (%), last epoch", 2, best="top1_best"),
    "ece": Metric("expected calibration error (%), 15 bins, last epoch", 2, scale=100, lower=True),
    "nll": Metric("negative log-likelihood of the test images, last epoch", 4, lower=True),
    "parameters": Metric("trainable parameters", 0, lower=True, of_runs=False),
    "minutes": Metric("minutes of training", 1, lower=True, of_runs=False),
}
