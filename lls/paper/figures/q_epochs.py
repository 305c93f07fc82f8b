"""The row of Q of one class over the epochs: a line per class with which it shares its label."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.training.q_epochs import Q_EPOCHS, load_q_epochs

NAMED = 4  # lines with a colour and a name: the largest after the last epoch
LINE_COLOURS = [COLOURS[i] for i in (0, 6, 3, 8)]
LABEL_GAP = 0.09  # the least distance between two names, as a part of the axis


def draw(figure: Figure) -> Drawing:
    """Draw one panel per run, for the one class that the figure declares."""
    across = figure.across
    down = -(-len(figure.panels) // across)
    drawing, grid = make_figure(down, across, height=1.75 * down + 0.3)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=False)):
        (name,) = panel.classes
        axes.set_title(f"{panel.row} / {panel.run.cfg.network.name}: {name.replace('_', ' ')}", pad=4)
        if index % across == 0:
            axes.set_ylabel("$Q_{yj}$, $j ≠ y$")
        if reason := missing_reason(panel.run, figure.needs):
            empty_panel(axes, reason)
        else:
            _draw_panel(axes, panel, name)
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    return drawing


def spread_out(values: list[float], gap: float) -> list[float]:
    """Return positions near values in descending order, each at least `gap` below the one before."""
    positions: list[float] = []
    for value in values:
        positions.append(min(value, positions[-1] - gap) if positions else value)
    return positions


def _draw_panel(axes: Axes, panel: Panel, name: str) -> None:
    try:
        recorded = load_q_epochs(panel.run.folder / Q_EPOCHS)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        empty_panel(axes, f"{Q_EPOCHS}\nis broken")
        return
    if name not in recorded.classes:
        empty_panel(axes, f"the data set has no class\n{name}")
        return
    y = recorded.classes.index(name)
    q = recorded.logits[:, y].double().softmax(-1).numpy()
    others = [j for j in np.argsort(-q[-1], kind="stable") if j != y]
    for j in others[NAMED:]:
        axes.plot(recorded.epochs, q[:, j], color="#bbbbbb", linewidth=0.5)
    for j, colour in zip(others, LINE_COLOURS, strict=False):
        axes.plot(recorded.epochs, q[:, j], color=colour, linewidth=0.9)
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    first = recorded.epochs[0]
    start = "" if first == 1 else f" in epoch {first}"  # a run that an older version started lacks the first epochs
    axes.set_xlabel(f"epoch ($Q_{{yy}}$ from {q[0, y]:.2f}{start} to {q[-1, y]:.2f})")
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    heights = spread_out([float(value - low) / (high - low) for value in q[-1, others[:NAMED]]], LABEL_GAP)
    for j, colour, height in zip(others, LINE_COLOURS, heights, strict=False):
        style = {"color": colour, "fontsize": 5.5, "va": "center", "parse_math": False}
        axes.text(1.03, height, recorded.classes[j].replace("_", " "), transform=axes.transAxes, **style)
