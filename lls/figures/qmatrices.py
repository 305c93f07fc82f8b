"""Figures 3 and 9: learned Q matrices with their classes' names; where there are many, ordered by superclass."""

import numpy as np
from matplotlib.axes import Axes

from lls.data.superclasses import CIFAR100, superclasses
from lls.figures import Figure, Panel, lacking
from lls.figures.page import MAP, Drawing, blank, colour_bar, heatmap, sheet
from lls.runs import Run


def draw(figure: Figure) -> Drawing:
    down = -(-len(figure.panels) // figure.across)
    side = 5.5 / figure.across
    drawing, grid = sheet(down, figure.across, height=down * side + 0.35)
    for axes, panel in zip(grid.flat, figure.panels, strict=False):
        _panel(axes, figure, panel)
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    return drawing


def probabilities(run: Run) -> tuple[np.ndarray, list[str]]:
    """softmax(Q), `[K, K]`, row: true class; and the classes."""
    from lls.qmatrix import load_q

    q = load_q(run.folder / "q.safetensors")
    return q.logits.double().softmax(-1).numpy(), q.classes


def _panel(axes: Axes, figure: Figure, panel: Panel) -> None:
    run = panel.run
    axes.set_title(f"{panel.column or panel.row} / {run.cfg.network.name}", pad=4)
    if said := lacking(run, figure.needs):
        return blank(axes, said)
    q, classes = probabilities(run)
    if panel.classes is not None:
        if absent := [name for name in panel.classes if name not in classes]:
            return blank(axes, f"these data have no class\n{', '.join(absent[:3])}")
        at = [classes.index(name) for name in panel.classes]
        q, classes = q[np.ix_(at, at)], panel.classes
    if len(classes) > 30:
        image = _many(axes, q, classes, run.cfg.dataset.name)
    else:
        image = heatmap(axes, q, classes)
    return colour_bar(axes, image)


def _many(axes: Axes, q: np.ndarray, classes: list[str], dataset: str):
    """A matrix of too many classes to name each: ordered by superclass, whose names stand beside; the colours end at the
    99.5th percentile."""
    groups = superclasses(dataset, classes)
    if groups is not None:
        order = np.argsort(groups.numpy(), kind="stable")
        q = q[np.ix_(order, order)]
    image = axes.imshow(q, cmap=MAP, vmin=0, vmax=np.quantile(q, 0.995), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if groups is not None:
        sizes = np.bincount(groups.numpy(), minlength=len(CIFAR100))
        ends = np.cumsum(sizes)
        named = [(name, end - size / 2 - 0.5) for name, size, end in zip(CIFAR100, sizes, ends, strict=True) if size]
        axes.set_yticks([middle for _, middle in named], [name for name, _ in named], fontsize=4.5)
        axes.tick_params(length=0, pad=2)
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color="white", linewidth=0.2)
            axes.axvline(end - 0.5, color="white", linewidth=0.2)
    return image
