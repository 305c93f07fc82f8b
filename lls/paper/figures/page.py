"""What all figures share: paper size, type, colours that the colour-blind tell apart, heatmaps, empty panels."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from lls.paper.figures.declaration import Figure

WIDTH = 5.5  # inches: the text width of the paper's style, so that type has its true size
DPI = 250
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
]  # Paul Tol's muted
MARKERS = "osD^vP*X<>"
COLOUR_MAP = "cividis"


def style():
    """The context a figure is drawn and saved in."""
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
    """A drawing of the paper's width and `height` inches, with rows x columns axes."""
    drawing = Drawing((WIDTH, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(rows, columns, squeeze=False, **grid)


def figure_title(figure: Figure) -> str:
    """The figure's title and, on a second line, what its runs do otherwise than the paper's."""
    of = {f"{panel.row} / {panel.run.cfg.network.name}" for panel in figure.panels}
    named = figure.title + (f": {', '.join(of)}" if len(of) == 1 else "")
    if not figure.stated:
        return named
    results = [panel.run.result or {} for panel in figure.panels]
    epochs = sorted({result["epochs"] for result in results if "epochs" in result})
    length = f", {' or '.join(map(str, epochs))} epochs" if epochs else ""
    other = "generated images and narrow networks" if "SMOKE=1" in figure.stated else "not the paper's protocol"
    return f"{named}\n{other}: {' '.join(figure.stated)}{length}"


def empty_panel(axes: Axes, said: str) -> None:
    """An empty panel that says why."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.set_facecolor("#f4f4f4")
    for spine in axes.spines.values():
        spine.set(linestyle=(0, (4, 3)), color="#999999")
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", color="#666666", fontsize=8)


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
):
    """A K x K matrix with its classes; up to 12 of them the values are printed, without their leading zero.

    largest: where the colours end; the matrix's own maximum by default. plain_diagonal: leave the diagonal uncoloured,
    because it would drown the rest. Returns the image, for a colour bar."""
    k = len(names)
    off = ~np.eye(k, dtype=bool)
    shown = np.ma.masked_where(~off, matrix) if plain_diagonal else matrix
    image = axes.imshow(shown, cmap=COLOUR_MAP, vmin=0, vmax=largest or shown.max(), interpolation="nearest")
    axes.set_facecolor("#e8e8e8")
    side = axes.get_position().width * axes.figure.get_figwidth()  # inches, before the names take their share
    font = min(6.5, 0.7 * 72 * side / k)
    spoken = [str(name).replace("_", " ") for name in names]
    upright = k > 4 and max(map(len, spoken)) > 2
    turn = 90 if upright else 0
    axes.set_xticks(
        range(k) if xlabels else [], spoken if xlabels else [], rotation=turn, fontsize=font, parse_math=False
    )
    axes.set_yticks(range(k) if ylabels else [], spoken if ylabels else [], fontsize=font, parse_math=False)
    axes.tick_params(length=0, pad=2)
    if k <= 12:
        _print_values(axes, image, matrix, digits, min(6.5, 0.34 * 72 * side / k))
    return image


def colour_bar(axes: Axes, image, label: str = "") -> None:
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=5, length=1.5)
    bar.ax.set_title(label, fontsize=6)


def _print_values(axes: Axes, image, matrix: np.ndarray, digits: int, font: float) -> None:
    masked = np.ma.getmaskarray(image.get_array())
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = image.cmap(image.norm(value))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 or masked[row, column]
        text = f"{value:.{digits}f}"
        text = text[1:] if text.startswith("0.") else text
        axes.text(column, row, text, ha="center", va="center", fontsize=font, color="black" if light else "white")
