"""The file confusion.csv of a run: the counts of its test images by true and predicted class."""

import csv
from collections.abc import Sequence
from pathlib import Path

from lls.files import write_atomic

CONFUSION = "confusion.csv"


def save_confusion(path: Path, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Write counts `[K, K]` as CSV, one row per true class and one column per predicted class, with class names."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["true \\ predicted", *classes])
            writer.writerows([name, *row] for name, row in zip(classes, counts, strict=True))

    write_atomic(path, write)


def load_confusion(path: Path) -> tuple[list[list[int]], list[str]]:
    """Read a file that `save_confusion` wrote: the counts and the class names. Both are empty for an empty file."""
    with open(path, newline="", encoding="utf-8") as file:
        (_, *classes), *rows = [*csv.reader(file)] or [[""]]
    return [[int(count) for count in row[1:]] for row in rows], classes
