"""Reliability diagrams (Guo et al., 2017, Section 2): accuracy against confidence, and the share of images per bin."""

from textwrap import fill

from matplotlib.axes import Axes

from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.features import predict_images
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.run import Run
from lls.training.reliability import (
    RELIABILITY,
    ReliabilityBin,
    ece_of_bins,
    load_reliability,
    reliability,
    save_reliability,
)

ACCURACY, GAP = COLOURS[1], COLOURS[7]
LINE_LENGTH = 18  # characters of a reason in an empty panel


def draw(figure: Figure) -> Drawing:
    """Draw two axes per run: accuracy in each bin with its gap to the mean confidence, and below the shares of images.

    The bins are those of the ECE, which is in the title."""
    down = len(figure.panels) // figure.across
    drawing, grid = make_figure(2 * down, figure.across, height=2.3 * down + 0.3, height_ratios=[3, 1] * down)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, figure.across)
        diagram, shares = grid[2 * row, column], grid[2 * row + 1, column]
        if column == 0:
            subject = f"{panel.row} / {panel.run.cfg.network.name}\n" if down > 1 else ""
            diagram.set_ylabel(f"{subject}accuracy")
            shares.set_ylabel("images (%)")
        if reason := missing_reason(panel.run, figure.needs):
            diagram.set_title(f"{panel.column}\n", pad=4)
            empty_panel(diagram, fill(reason, LINE_LENGTH))
            shares.set_axis_off()
            continue
        bins = bins_of(panel.run)
        diagram.set_title(f"{panel.column}\nECE {100 * ece_of_bins(bins):.2f} %", pad=4)
        _draw_diagram(diagram, bins)
        _draw_shares(shares, bins)
    drawn = [axes.get_legend_handles_labels() for axes in grid.flat if axes.get_legend_handles_labels()[0]]
    if drawn:
        drawing.legend(*drawn[0], loc="outside lower center", ncols=3, frameon=False)
    return drawing


def bins_of(run: Run) -> list[ReliabilityBin]:
    """Read the bins of a finished run; without reliability.csv, compute them from its weights and save them."""
    path = run.folder / RELIABILITY
    if not path.exists():
        save_reliability(path, reliability(*predict_images(run, "test")))
    return load_reliability(path)


def _draw_diagram(axes: Axes, bins: list[ReliabilityBin]) -> None:
    filled = [b for b in bins if b.count]
    left, widths = [b.lower for b in filled], [b.upper - b.lower for b in filled]
    accuracy, gaps = [b.accuracy for b in filled], [b.confidence - b.accuracy for b in filled]
    style = {"align": "edge", "edgecolor": "white", "linewidth": 0.4}
    axes.bar(left, accuracy, widths, color=ACCURACY, label="accuracy", **style)
    gap_style = style | {"edgecolor": GAP, "facecolor": "none", "hatch": "/////", "hatch_linewidth": 0.4}
    axes.bar(left, gaps, widths, accuracy, label="gap to the mean confidence", **gap_style)
    axes.plot([0, 1], [0, 1], "--", color="#555555", linewidth=0.7, label="perfect calibration")
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], xticklabels=[])
    axes.set_box_aspect(1)


def _draw_shares(axes: Axes, bins: list[ReliabilityBin]) -> None:
    total = sum(b.count for b in bins)
    shares = [100 * b.count / total for b in bins]
    axes.bar([b.lower for b in bins], shares, [b.upper - b.lower for b in bins], align="edge", color="#777777")
    axes.set(xlim=(0, 1), ylim=(0, 100), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"], yticks=[0, 50, 100])
    axes.set_box_aspect(1 / 3)
    axes.set_xlabel("confidence")
    axes.spines[["top", "right"]].set_visible(False)
