"""Log the files of a finished run to Weights & Biases (W&B): the image of Q, confusion matrix, reliability curve."""

from pathlib import Path

from lls.training.confusion import CONFUSION, load_confusion
from lls.training.reliability import RELIABILITY, load_reliability


def log_files(wandb_run, folder: Path) -> None:
    """Log q.png as an image, and confusion.csv and reliability.csv as charts. A file that the folder lacks is left out.

    wandb_run: the W&B run of the run in `folder`."""
    import wandb

    charts = {
        "q": ("q.png", lambda path: wandb.Image(str(path))),
        "confusion": (CONFUSION, _confusion),
        "reliability": (RELIABILITY, _reliability),
    }
    contents = {key: make(folder / name) for key, (name, make) in charts.items() if (folder / name).exists()}
    if contents:
        wandb_run.log(contents)


def _confusion(path: Path):
    """Make the chart of wandb.plot.confusion_matrix, which would count the images, from the counts."""
    import wandb

    counts, classes = load_confusion(path)
    cells = [[y, name, n] for y, row in zip(classes, counts, strict=True) for name, n in zip(classes, row, strict=True)]
    if len(cells) > wandb.Table.MAX_ROWS:  # W&B drops the rows beyond that number
        cells = [cell for cell in cells if cell[2]]
    columns = ["Actual", "Predicted", "nPredictions"]
    table = wandb.Table(columns=columns, data=cells)
    title = {"title": "Confusion matrix of the test images"}
    return wandb.plot_table("wandb/confusion_matrix/v1", table, dict(zip(columns, columns, strict=True)), title)


def _reliability(path: Path):
    """Plot the accuracy of each bin that has images over its mean confidence, beside the diagonal."""
    import wandb

    bins = [b for b in load_reliability(path) if b.count]
    confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
    keys, title = ["accuracy", "perfect calibration"], "Reliability on the test images"
    return wandb.plot.line_series(confidence, [accuracy, confidence], keys, title, "mean confidence")
