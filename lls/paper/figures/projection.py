"""Penultimate features of three classes on the plane of their weights (Müller et al., 2019, Section 2)."""

import numpy as np
from matplotlib.axes import Axes

from lls.paper.figures.clusters import subsample
from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.features import embed_images, read_classifier
from lls.paper.figures.page import COLOURS, MARKERS, Drawing, empty_panel, make_figure

POINTS = 900  # images in a panel, the same number from each class
CLASS_COLOURS = [COLOURS[i] for i in (0, 6, 1)]
SPLITS = ("train", "test")


def draw(figure: Figure) -> Drawing:
    """Draw two rows of panels per data set: training images above test images, a column per method.

    Both panels of a run have the same scale, which differs between runs."""
    down = len(figure.panels) // figure.across
    drawing, grid = make_figure(2 * down, figure.across, height=3.3 * down + 0.3)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, figure.across)
        pair = grid[2 * row : 2 * row + 2, column]
        if column == 0:
            for axes, split in zip(pair, SPLITS, strict=True):
                axes.set_ylabel(f"{panel.row} / {panel.run.cfg.network.name}, {split}")
        pair[0].set_title(panel.column, pad=4)
        if reason := missing_reason(panel.run, figure.needs):
            for axes in pair:
                empty_panel(axes, reason)
        else:
            _draw_pair(pair, panel)
    return drawing


def plane_basis(templates: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis `[D, 2]` of the plane through three templates `[3, D]`, by QR decomposition.

    The first axis points from the first template to the second. The third is above both."""
    basis, triangular = np.linalg.qr((templates[1:] - templates[0]).T)
    return basis * np.where(np.diag(triangular) < 0, -1, 1)


def _draw_pair(pair: np.ndarray, panel: Panel) -> None:
    weight, classes = read_classifier(panel.run)
    if absent := [name for name in panel.classes if name not in classes]:
        for axes in pair:
            empty_panel(axes, f"the data set has no class\n{', '.join(absent)}")
        return
    basis = plane_basis(weight[[classes.index(name) for name in panel.classes]])
    splits = [subsample(embed_images(panel.run, split), POINTS, panel.classes) for split in SPLITS]
    points = [embedded.features @ basis for embedded in splits]
    for axes, projected, embedded in zip(pair, points, splits, strict=True):
        _scatter(axes, projected, embedded.y, panel.classes)
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    middle, half = (low + high) / 2, 0.55 * (high - low).max()
    for axes in pair:
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
        axes.set_box_aspect(1)
        axes.tick_params(labelsize=5)
    pair[1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=5.5, frameon=False,
                   markerscale=2, handletextpad=0.1, columnspacing=0.8)  # fmt: skip


def _scatter(axes: Axes, points: np.ndarray, y: np.ndarray, classes: list[str]) -> None:
    for label, name in enumerate(classes):
        style = {"color": CLASS_COLOURS[label], "marker": MARKERS[label], "label": name.replace("_", " ")}
        axes.scatter(*points[y == label].T, s=3, linewidths=0, alpha=0.7, rasterized=True, **style)
