"""Figure 7: top-1 against α, one panel per data set."""

from matplotlib.axes import Axes

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.schema import NOT_RECORDED

BEST_RANGE = (0.1, 0.4)  # the α of "the best overall performance", Appendix C


def draw(figure: Figure) -> Drawing:
    """Draw one curve per row of the figure, and shade the range of α that the paper calls best."""
    rows = list(dict.fromkeys(panel.row for panel in figure.panels))
    drawing, (line,) = make_figure(1, len(rows), height=2.0)
    for axes, row, colour in zip(line, rows, (COLOURS[0], COLOURS[3], COLOURS[6]), strict=False):
        panels = list({panel.run.id: panel for panel in figure.panels if panel.row == row}.values())
        finished = [p for p in panels if missing_reason(p.run, figure.needs) is None and "top1" in p.run.result]
        axes.set_title(f"{row} / {panels[0].run.cfg.network.name}", pad=4)
        if not finished:
            empty_panel(axes, missing_reason(panels[0].run, figure.needs) or NOT_RECORDED)
            continue
        _plot_curve(axes, finished, colour)
        alphas = [panel.run.cfg.method.alpha for panel in panels]
        axes.set_xticks(alphas, [f"{alpha:g}" for alpha in alphas])
        missing = len(panels) - len(finished)
        axes.set_xlabel(f"α ({missing} of {len(panels)} not run)" if missing else "α")
    line[0].set_ylabel("top-1 (%)")
    return drawing


def _plot_curve(axes: Axes, panels: list[Panel], colour: str) -> None:
    alphas, top1 = zip(*((p.run.cfg.method.alpha, p.run.result["top1"]) for p in panels), strict=True)
    axes.axvspan(*BEST_RANGE, color="#eeeeee", zorder=0)
    axes.plot(alphas, top1, marker="o", markersize=3, linewidth=1, color=colour)
    for alpha, value in zip(alphas, top1, strict=True):
        axes.annotate(f"{value:.2f}", (alpha, value), (0, 3), textcoords="offset points", ha="center", fontsize=5)
    axes.margins(y=0.2)
    axes.spines[["top", "right"]].set_visible(False)
