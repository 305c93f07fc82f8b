"""Accuracy, NLL, ECE and mean Q_yy after each epoch: a line per method is the mean over seeds, a band their range."""

import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED

METHOD_COLOURS = [COLOURS[i] for i in (9, 1, 4, 0, 6, 7, 2, 5, 3, 8)]  # the first four also for colour-blind readers
TRAINING = {"linestyle": (0, (2, 1)), "linewidth": 0.7}


class Measure(NamedTuple):
    """The measure of an axis. test, train: keys of lls.runs.schema.Row, whose values are multiplied by `scale`."""

    label: str
    test: str
    train: str | None = None
    scale: float = 1


MEASURES = (
    Measure("top-1 (%)", "top1", "train_top1"),
    Measure("NLL (nats)", "nll", "train_cross_entropy"),
    Measure("ECE (%)", "ece", scale=100),
    Measure("mean $Q_{yy}$", "q_diagonal"),
)


class Curve(NamedTuple):
    """A measure of one method on test images, and on the training batches, `[R, E]`, of R runs that recorded it."""

    label: str  # the column, and how many of its seeds are finished if not all are
    test: np.ndarray
    train: np.ndarray


def draw(figure: Figure) -> Drawing:
    """Draw an axis per data set and measure. The runs of a row name and a column are the seeds of one line.

    Dashed lines are of the training batches. A run that lacks a measure is left out; a measure that all runs lack has
    no axis."""
    subjects = list(dict.fromkeys(panel.row for panel in figure.panels))
    drawn = {
        (subject, measure): _read([panel for panel in figure.panels if panel.row == subject], measure, figure.needs)
        for measure in MEASURES
        for subject in subjects
    }
    shown = [m for m in MEASURES if any(len(curve.test) for s in subjects for curve in drawn[s, m])] or MEASURES[:2]
    down = -(-len(shown) // 2)
    drawing, grid = make_figure(down * len(subjects), 2, height=1.75 * down * len(subjects) + 0.45)
    for number, subject in enumerate(subjects):
        part = grid[down * number : down * (number + 1)].flat
        for axes, measure in zip(part, shown, strict=False):
            axes.set_ylabel(measure.label)
            if not _plot(axes, drawn[subject, measure]):
                first = next(panel for panel in figure.panels if panel.row == subject)
                empty_panel(axes, missing_reason(first.run, figure.needs) or NOT_RECORDED)
        for axes in part[len(shown) :]:
            axes.set_axis_off()
        if len(subjects) > 1:
            part[0].set_title(subject, pad=4)
    _add_legend(drawing, drawn, [measure.label for measure in MEASURES if measure not in shown])
    return drawing


def curves(runs: Iterable[Run], key: str | None) -> np.ndarray:
    """Return a measure after each epoch, `[R, E]`, of the R runs that recorded it; nan where a row lacks it."""
    texts = [(run.folder / "metrics.jsonl").read_text() for run in runs]
    rows = [[json.loads(line).get(key, np.nan) for line in text.splitlines()] for text in texts]
    return np.array([row for row in rows if not np.isnan(row).all()])


def _read(panels: list[Panel], measure: Measure, needs: list[str]) -> list[Curve]:
    read = []
    for column in dict.fromkeys(panel.column for panel in panels):
        runs = list({panel.run.id: panel.run for panel in panels if panel.column == column}.values())
        finished = [run for run in runs if missing_reason(run, needs) is None]
        label = column
        if len(finished) < len(runs):
            reason = f"{len(finished)} of {len(runs)} seeds" if finished else missing_reason(runs[0], needs)
            label = f"{column} ({reason})"
        test, train = (measure.scale * curves(finished, key) for key in (measure.test, measure.train))
        read.append(Curve(label, test, train))
    return read


def _plot(axes: Axes, drawn: list[Curve]) -> bool:
    """Plot curves; return whether there are any.

    The scale leaves out the first twentieth of the epochs. The label of the axis says so if values lie outside."""
    plotted, means = [], []
    for colour, curve in zip(METHOD_COLOURS, drawn, strict=False):
        for values, style in ((curve.test, {"linewidth": 0.9}), (curve.train, TRAINING)):
            if not len(values):
                continue
            epochs = np.arange(1, values.shape[1] + 1)
            means.append(values.mean(0))
            axes.plot(epochs, means[-1], color=colour, **style)
            if len(values) > 1:
                axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.25, linewidth=0)
            plotted.append(values[:, values.shape[1] // 20 :])
    if not plotted:
        return False
    low, high = min(map(np.nanmin, plotted)), max(map(np.nanmax, plotted))
    margin = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    outside = any(np.nanmin(line) < low - margin or np.nanmax(line) > high + margin for line in means)
    axes.set_xlabel("epoch (the first 5 % are partly off the scale)" if outside else "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return True


def _add_legend(drawing: Drawing, drawn: dict[tuple[str, Measure], list[Curve]], lacking: list[str]) -> None:
    first = next(iter(drawn.values()))
    handles = [
        Line2D([], [], color=colour, linewidth=0.9, label=curve.label)
        for colour, curve in zip(METHOD_COLOURS, first, strict=False)
    ]
    if any(len(curve.train) for group in drawn.values() for curve in group):
        handles.append(Line2D([], [], color="#555555", label="training batches", **TRAINING))
    title = f"not recorded: {', '.join(lacking)}" if lacking else None
    legend = {"loc": "outside lower center", "ncols": 5, "frameon": False, "title": title, "title_fontsize": 5.5}
    drawing.legend(handles=handles, **legend)
