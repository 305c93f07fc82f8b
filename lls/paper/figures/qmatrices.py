"""Figures 3 and 9: learned Q matrices with class names. Many classes are grouped by superclass."""

import numpy as np
from matplotlib.axes import Axes

from lls.data.superclasses import superclass_names
from lls.heatmap import colour_bar, q_heatmap
from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import Drawing, empty_panel, make_figure
from lls.runs.run import Run

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
    """Draw one matrix per panel, each with its own colour scale. Classes that all panels share are named once
    per row and column."""
    across = figure.across
    down = -(-len(figure.panels) // across)
    same_classes = len({(panel.run.cfg.dataset.name, str(panel.classes)) for panel in figure.panels}) == 1
    drawn = [missing_reason(panel.run, figure.needs) is None for panel in figure.panels]
    drawing, grid = make_figure(down, across, height=down * (1.8 if same_classes else 2.3) + 0.6)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=False)):
        axes.set_title(f"{panel.column or panel.row} / {panel.run.cfg.network.name}", pad=4)
        if reason := missing_reason(panel.run, figure.needs):
            empty_panel(axes, reason)
        else:
            on_the_left, below = drawn[index - index % across : index], drawn[index + across :: across]
            labels = {"ylabels": not (same_classes and any(on_the_left)), "xlabels": not (same_classes and any(below))}
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
    superclasses = superclass_names(panel.run.cfg.dataset.name, classes)
    names = superclasses and [SHORT_NAMES.get(name, name) for name in superclasses]
    colour_bar(axes, q_heatmap(axes, q, classes, names, **labels))
