"""Figures 3 and 9: learned Q matrices with class names. Many classes are grouped by superclass."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOUR_MAP, Drawing, colour_bar, empty_panel, heatmap, make_figure
from lls.runs.run import Run

MAX_NAMED_CLASSES = 30  # a larger matrix shows superclasses, or no names
# Shorter names of superclasses, which fit beside a matrix of half the paper's width.
SHORT_NAMES = {
    "household electrical devices": "electrical devices",
    "household furniture": "furniture",
    "large man-made outdoor things": "buildings, roads",
    "large natural outdoor scenes": "outdoor scenes",
    "large omnivores and herbivores": "large herbivores",
    "non-insect invertebrates": "invertebrates",
}


def draw(figure: Figure) -> Drawing:
    """Draw one matrix per panel, each with its own colour scale. Classes that all panels share are named once."""
    across = figure.across
    down = -(-len(figure.panels) // across)
    same_classes = len({(panel.run.cfg.dataset.name, str(panel.classes)) for panel in figure.panels}) == 1
    drawing, grid = make_figure(down, across, height=down * (1.8 if same_classes else 2.3) + 0.6)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=False)):
        axes.set_title(f"{panel.column or panel.row} / {panel.run.cfg.network.name}", pad=4)
        if reason := missing_reason(panel.run, figure.needs):
            empty_panel(axes, reason)
        else:
            first_column, last_row = index % across == 0, index >= len(figure.panels) - across
            labels = {"ylabels": not same_classes or first_column, "xlabels": not same_classes or last_row}
            _draw_panel(axes, panel, labels)
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    return drawing


def probabilities(run: Run) -> tuple[np.ndarray, list[str]]:
    """Return softmax(Q), `[K, K]` with one row per true class, and the class names."""
    from lls.qmatrix import load_q

    q = load_q(run.folder / "q.safetensors")
    return q.logits.double().softmax(-1).numpy(), q.classes


def _draw_panel(axes: Axes, panel: Panel, labels: dict[str, bool]) -> None:
    q, classes = probabilities(panel.run)
    if panel.classes is not None:
        if absent := [name for name in panel.classes if name not in classes]:
            empty_panel(axes, f"the data set has no class\n{', '.join(absent[:3])}")
            return
        indices = [classes.index(name) for name in panel.classes]
        q, classes = q[np.ix_(indices, indices)], panel.classes
    if len(classes) > MAX_NAMED_CLASSES:
        image = _draw_by_superclass(axes, q, classes, panel.run.cfg.dataset.name)
    else:
        image = heatmap(axes, q, classes, **labels)
    colour_bar(axes, image)


def _draw_by_superclass(axes: Axes, q: np.ndarray, classes: list[str], dataset: str) -> AxesImage:
    """Draw a large matrix; classes with superclasses are sorted by them, and the superclasses are named.

    The colour scale ends at the 99.5th percentile."""
    from lls.data.superclasses import CIFAR100, superclasses

    groups = superclasses(dataset, classes)
    if groups is not None:
        indices = np.argsort(groups.numpy(), kind="stable")
        q = q[np.ix_(indices, indices)]
    image = axes.imshow(q, cmap=COLOUR_MAP, vmin=0, vmax=np.quantile(q, 0.995), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if groups is not None:
        sizes = np.bincount(groups.numpy(), minlength=len(CIFAR100))
        ends = np.cumsum(sizes)
        middles = {name: end - size / 2 - 0.5 for name, size, end in zip(CIFAR100, sizes, ends, strict=True) if size}
        axes.set_yticks([*middles.values()], [SHORT_NAMES.get(name, name) for name in middles], fontsize=4)
        axes.tick_params(length=0, pad=2)
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color="white", linewidth=0.2)
            axes.axvline(end - 0.5, color="white", linewidth=0.2)
    return image
