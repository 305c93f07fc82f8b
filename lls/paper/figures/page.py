"""Parts that all figures share: size, fonts, colours, heatmaps, empty panels."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.image import AxesImage

from lls.paper.figures.declaration import Figure

WIDTH = 5.5  # inches: the text width of the paper, so that font sizes are true when a figure is included unscaled
# Paul Tol's "muted" colours, which colour-blind readers can tell apart.
COLOURS = [
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#555555",
]
MARKERS = "osD^vP*X<>"
COLOUR_MAP = "cividis"
MAX_PRINTED_CLASSES = 12  # a larger heatmap has no room for numbers


def style():
    """Return the context manager of matplotlib settings in which a figure is drawn and saved."""
    return rc_context(
        {
            "font.size": 6.5,
            "axes.titlesize": 7.5,
            "axes.linewidth": 0.5,
            "xtick.major.width": 0.5,
            "ytick.major.width": 0.5,
            "xtick.major.size": 2,
            "ytick.major.size": 2,
            "pdf.fonttype": 42,
            "svg.hashsalt": "lls",
        }
    )


def make_figure(rows: int, columns: int, height: float, **grid) -> tuple[Drawing, np.ndarray]:
    """Make a matplotlib figure of the paper's width and `height` inches, with rows x columns axes."""
    drawing = Drawing((WIDTH, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(rows, columns, squeeze=False, **grid)


def figure_title(figure: Figure) -> str:
    """Return the figure's title. A second line says in what its runs differ from the paper's."""
    subjects = {f"{panel.row} / {panel.run.cfg.network.name}" for panel in figure.panels}
    title = figure.title + (f": {', '.join(subjects)}" if len(subjects) == 1 else "")
    if not figure.deviations:
        return title
    results = [panel.run.result or {} for panel in figure.panels]
    epochs = sorted({result["epochs"] for result in results if "epochs" in result})
    length = f", {' or '.join(map(str, epochs))} epochs" if epochs else ""
    note = "generated images and narrow networks" if "SMOKE=1" in figure.deviations else "not the paper's protocol"
    return f"{title}\n{note}: {' '.join(figure.deviations)}{length}"


def empty_panel(axes: Axes, reason: str) -> None:
    """Draw an empty panel with the reason in its middle."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.set_facecolor("#f4f4f4")
    for spine in axes.spines.values():
        spine.set(linestyle=(0, (4, 3)), color="#999999")
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="#666666", fontsize=8)


def heatmap(
    axes: Axes,
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    digits: int = 2,
    largest: float | None = None,
    plain_diagonal: bool = False,
    xlabels: bool = True,
    ylabels: bool = True,
) -> AxesImage:
    """Draw a K x K matrix with class names at its axes, and its values if K is at most MAX_PRINTED_CLASSES.

    largest: the value at the end of the colour scale (default: the largest value drawn).
    plain_diagonal: leave the diagonal without colour, where it would dwarf the other entries.
    Returns the matplotlib image, which `colour_bar` takes."""
    k = len(names)
    diagonal = np.eye(k, dtype=bool)
    coloured = np.ma.masked_where(diagonal, matrix) if plain_diagonal else matrix
    image = axes.imshow(coloured, cmap=COLOUR_MAP, vmin=0, vmax=largest or coloured.max(), interpolation="nearest")
    axes.set_facecolor("#e8e8e8")
    side = axes.get_position().width * axes.figure.get_figwidth()  # inches, before labels take their share
    labels = [str(name).replace("_", " ") for name in names]
    text = {"fontsize": min(6.5, 0.7 * 72 * side / k), "parse_math": False}
    rotation = 90 if k > 4 and max(map(len, labels)) > 2 else 0
    axes.set_xticks(range(k) if xlabels else [], labels if xlabels else [], rotation=rotation, **text)
    axes.set_yticks(range(k) if ylabels else [], labels if ylabels else [], **text)
    axes.tick_params(length=0, pad=2)
    if k <= MAX_PRINTED_CLASSES:
        _print_values(axes, image, matrix, digits, min(6.5, 0.34 * 72 * side / k))
    return image


def colour_bar(axes: Axes, image: AxesImage, label: str = "") -> None:
    """Add a slim colour bar beside the axes, with a label above it."""
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=5, length=1.5)
    bar.ax.set_title(label, fontsize=6)


def _print_values(axes: Axes, image: AxesImage, matrix: np.ndarray, digits: int, fontsize: float) -> None:
    """Print each value without its leading zero, black on a light colour and white on a dark one."""
    masked = np.ma.getmaskarray(image.get_array())
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = image.cmap(image.norm(value))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 or masked[row, column]
        text = f"{value:.{digits}f}"
        text = text[1:] if text.startswith("0.") else text
        axes.text(column, row, text, ha="center", va="center", fontsize=fontsize, color="black" if light else "white")
