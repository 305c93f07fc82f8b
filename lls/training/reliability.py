"""The file reliability.csv of a run: accuracy and confidence of its test images in the bins of the ECE."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lls.files import write_atomic
from lls.training.metrics import CALIBRATION_BINS, equal_width_bins, top_predictions

RELIABILITY = "reliability.csv"


class ReliabilityBin(NamedTuple):
    """The images whose confidence max_j p̂_j is in (lower, upper]. Accuracy and mean confidence are fractions, and nan
    without images."""

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


def reliability(logits: Tensor, y: Tensor) -> list[ReliabilityBin]:
    """Compute the 15 bins of a reliability diagram, which are those of `lls.training.metrics.ece`.

    logits: `[N, K]` without NaN; y: labels `[N]`. Computed in float64, as `measures` is."""
    confidence, correct = top_predictions(logits.detach().double().cpu().softmax(-1), y.cpu())
    bins = equal_width_bins(confidence)
    counts = torch.bincount(bins, minlength=CALIBRATION_BINS)
    means = [torch.bincount(bins, values, CALIBRATION_BINS) / counts for values in (confidence, correct)]
    columns = zip(counts.tolist(), *(mean.tolist() for mean in means), strict=True)
    return [ReliabilityBin(m / CALIBRATION_BINS, (m + 1) / CALIBRATION_BINS, *row) for m, row in enumerate(columns)]


def ece_of_bins(bins: Sequence[ReliabilityBin]) -> float:
    """Compute the expected calibration error, a fraction: Σ_b count_b · |accuracy_b - confidence_b| / N."""
    gaps = sum(b.count * abs(b.accuracy - b.confidence) for b in bins if b.count)
    return gaps / sum(b.count for b in bins)


def save_reliability(path: Path, bins: Sequence[ReliabilityBin]) -> None:
    """Write the bins as CSV. The means of a bin without images are empty."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(ReliabilityBin._fields)
            writer.writerows(["" if math.isnan(value) else value for value in row] for row in bins)

    write_atomic(path, write)


def load_reliability(path: Path) -> list[ReliabilityBin]:
    """Read a file that `save_reliability` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [[float(row[name] or "nan") for name in ReliabilityBin._fields] for row in csv.DictReader(file)]
    return [ReliabilityBin(lower, upper, int(count), *means) for lower, upper, count, *means in rows]
