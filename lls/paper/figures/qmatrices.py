"""Figures 3 and 9: learned Q matrices with their classes' names; where there are many, ordered by superclass."""

import numpy as np
from matplotlib.axes import Axes

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOUR_MAP, Drawing, colour_bar, empty_panel, heatmap, make_figure
from lls.runs.run import Run

# those too long to stand beside a matrix of half the paper's width
SHORT = {
    "household electrical devices": "electrical devices",
    "household furniture": "furniture",
    "large man-made outdoor things": "buildings, roads",
    "large natural outdoor scenes": "outdoor scenes",
    "large omnivores and herbivores": "large herbivores",
    "non-insect invertebrates": "invertebrates",
}


def draw(figure: Figure) -> Drawing:
    """Each panel has its own colour scale. Where all panels have the same classes, these are named once."""
    across = figure.across
    down = -(-len(figure.panels) // across)
    alike = len({(panel.run.cfg.dataset.name, str(panel.classes)) for panel in figure.panels}) == 1
    drawing, grid = make_figure(down, across, height=down * (1.8 if alike else 2.3) + 0.6)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=False)):
        axes.set_title(f"{panel.column or panel.row} / {panel.run.cfg.network.name}", pad=4)
        if said := missing_reason(panel.run, figure.needs):
            empty_panel(axes, said)
        else:
            last = index >= len(figure.panels) - across
            _panel(axes, panel, {"ylabels": not alike or index % across == 0, "xlabels": not alike or last})
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    return drawing


def probabilities(run: Run) -> tuple[np.ndarray, list[str]]:
    """softmax(Q), `[K, K]`, row: true class; and the classes."""
    from lls.qmatrix import load_q

    q = load_q(run.folder / "q.safetensors")
    return q.logits.double().softmax(-1).numpy(), q.classes


def _panel(axes: Axes, panel: Panel, labels: dict[str, bool]) -> None:
    q, classes = probabilities(panel.run)
    if panel.classes is not None:
        if absent := [name for name in panel.classes if name not in classes]:
            return empty_panel(axes, f"these data have no class\n{', '.join(absent[:3])}")
        at = [classes.index(name) for name in panel.classes]
        q, classes = q[np.ix_(at, at)], panel.classes
    many = len(classes) > 30
    image = _many(axes, q, classes, panel.run.cfg.dataset.name) if many else heatmap(axes, q, classes, **labels)
    return colour_bar(axes, image)


def _many(axes: Axes, q: np.ndarray, classes: list[str], dataset: str):
    """A matrix of too many classes to name each: ordered by superclass, whose names stand beside. The colours end at
    the 99.5th percentile."""
    from lls.data.superclasses import CIFAR100, superclasses

    groups = superclasses(dataset, classes)
    if groups is not None:
        order = np.argsort(groups.numpy(), kind="stable")
        q = q[np.ix_(order, order)]
    image = axes.imshow(q, cmap=COLOUR_MAP, vmin=0, vmax=np.quantile(q, 0.995), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if groups is not None:
        sizes = np.bincount(groups.numpy(), minlength=len(CIFAR100))
        ends = np.cumsum(sizes)
        named = [(name, end - size / 2 - 0.5) for name, size, end in zip(CIFAR100, sizes, ends, strict=True) if size]
        axes.set_yticks([middle for _, middle in named], [SHORT.get(name, name) for name, _ in named], fontsize=4)
        axes.tick_params(length=0, pad=2)
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color="white", linewidth=0.2)
            axes.axvline(end - 0.5, color="white", linewidth=0.2)
    return image
