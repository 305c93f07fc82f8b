"""Figure 7: top-1 against α, one panel a data set."""

from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.schema import NOT_RECORDED

RANGE = (0.1, 0.4)  # "the best overall performance", Appendix C


def draw(figure: Figure) -> Drawing:
    rows = list(dict.fromkeys(panel.row for panel in figure.panels))
    drawing, (line,) = make_figure(1, len(rows), height=2.0)
    for axes, row, colour in zip(line, rows, (COLOURS[0], COLOURS[3], COLOURS[6]), strict=False):
        panels = list({panel.run.id: panel for panel in figure.panels if panel.row == row}.values())
        found = [p for p in panels if missing_reason(p.run, figure.needs) is None and "top1" in p.run.result]
        axes.set_title(f"{row} / {panels[0].run.cfg.network.name}", pad=4)
        if not found:
            empty_panel(axes, missing_reason(panels[0].run, figure.needs) or NOT_RECORDED)
            continue
        alphas, top1 = zip(*((p.run.cfg.method.alpha, p.run.result["top1"]) for p in found), strict=True)
        axes.axvspan(*RANGE, color="#eeeeee", zorder=0)
        axes.plot(alphas, top1, marker="o", markersize=3, linewidth=1, color=colour)
        for alpha, value in zip(alphas, top1, strict=True):
            axes.annotate(f"{value:.2f}", (alpha, value), (0, 3), textcoords="offset points", ha="center", fontsize=5)
        every = [panel.run.cfg.method.alpha for panel in panels]
        axes.set_xticks(every, [f"{alpha:g}" for alpha in every])
        axes.margins(y=0.2)
        axes.set_xlabel(
            "α" if len(found) == len(panels) else f"α ({len(panels) - len(found)} of {len(panels)} not run)"
        )
        axes.spines[["top", "right"]].set_visible(False)
    line[0].set_ylabel("top-1 (%)")
    return drawing
