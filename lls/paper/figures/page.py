"""Parts that all figures share: size, fonts, colours, title, empty panels."""

import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from lls.heatmap import FONT_SIZE, MIN_FONT_SIZE
from lls.paper.figures.declaration import Figure, missing_reason
from lls.runs.summary import format_count

LINE = 88  # characters that fit into the width
WIDTH = 5.5  # inches: the text width of the paper, so that font sizes are true when a figure is included unscaled
# Paul Tol's "muted" colours with blue and black in place of rose and grey, which colour-blind readers confuse with teal
# and wine.
COLOURS = [
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#3377FF",
    "#882255",
    "#AA4499",
    "#000000",
]
MARKERS = "osD^vP*X<>"


def style():
    """Return the context manager of matplotlib settings in which a figure is drawn and saved."""
    return rc_context(
        {
            "font.size": FONT_SIZE,
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
    drawing = Drawing((WIDTH, height), layout="compressed")  # removes the space between square panels
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(rows, columns, squeeze=False, **grid)


def figure_title(figure: Figure) -> str:
    """Return the figure's title. More lines say in what its runs differ from the paper's."""
    subjects = {f"{panel.row} / {panel.run.cfg.network.name}" for panel in figure.panels}
    title = figure.title + (f": {', '.join(subjects)}" if len(subjects) == 1 else "")
    note = deviations_note(figure)
    return f"{title}\n{note}" if note else title


def deviations_note(figure: Figure) -> str:
    """Return in what the runs of the figure differ from the paper's, in lines that fit; "" if they do not."""
    if not figure.deviations:
        return ""
    results = [panel.run.result or {} for panel in figure.panels]
    epochs = sorted({result["epochs"] for result in results if "epochs" in result})
    length = f", {' or '.join([*map(str, epochs[:-1]), format_count(epochs[-1], 'epoch')])}" if epochs else ""
    note = "generated images and narrow networks" if "SMOKE=1" in figure.deviations else "not the paper's protocol"
    return textwrap.fill(f"{note}: {' '.join(figure.deviations)}{length}", LINE, break_long_words=False)


def add_title(drawing: Drawing, figure: Figure) -> None:
    """Write the title above the figure. A figure without title has the note of its deviations in the lower corner.

    The height of the figure becomes that of its content, because square panels may need less than was planned."""
    if not figure.with_title and (note := deviations_note(figure)):
        drawing.supxlabel(note, fontsize=MIN_FONT_SIZE, x=0.995, ha="right", color="#666666")
    for _ in range(2):  # the layout of square panels needs two passes
        drawing.draw_without_rendering()
    height = drawing.get_tightbbox().height + 0.1
    if figure.with_title:
        title = drawing.suptitle(figure_title(figure), fontsize=8, linespacing=1.4)
        height += title.get_window_extent().height / drawing.dpi + 0.1
    drawing.set_figheight(height)


def draw_command(figure: Figure) -> Drawing:
    """Draw a small panel with the command that trains the runs, for a figure without a run that can be drawn."""
    drawing, ((axes,),) = make_figure(1, 1, height=1.2)
    reasons = sorted({missing_reason(panel.run, figure.needs) for panel in figure.panels})
    runs = len({panel.run.id for panel in figure.panels})
    lines = [
        f"None of the {runs} runs can be drawn ({', '.join(reasons)}). To train them:",
        *textwrap.wrap(figure.command, LINE),
    ]
    empty_panel(axes, "\n".join(lines))
    axes.set_box_aspect(None)
    return drawing


def empty_panel(axes: Axes, reason: str) -> None:
    """Draw an empty panel with the reason in its middle."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.set_facecolor("#f4f4f4")
    for spine in axes.spines.values():
        spine.set(linestyle=(0, (4, 3)), color="#999999")
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="#555555", fontsize=7)
