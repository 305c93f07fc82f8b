"""Figure 7: top-1 against α, one panel per data set, with 1-hot and LS as horizontal lines."""

from collections.abc import Callable
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from omegaconf import DictConfig

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.schema import NOT_RECORDED

BEST_RANGE = (0.1, 0.4)  # the α of "the best overall performance", Appendix C
CURVE = COLOURS[0]
LINES = {"onehot": ("1-hot", COLOURS[9], "--"), "ls": ("LS", COLOURS[4], "-.")}  # methods that are horizontal lines


def draw(figure: Figure) -> Drawing:
    """Draw one panel per row of the figure: means over seeds, with error bars of one sample standard deviation.

    The range of α that the paper calls best is shaded."""
    rows = list(dict.fromkeys(panel.row for panel in figure.panels))
    drawing, (line,) = make_figure(1, len(rows), height=2.3)
    for axes, row in zip(line, rows, strict=True):
        panels = list({panel.run.id: panel for panel in figure.panels if panel.row == row}.values())
        finished = [p for p in panels if missing_reason(p.run, figure.needs) is None and "top1" in p.run.result]
        axes.set_title(f"{row} / {panels[0].run.cfg.network.name}", pad=4)
        if not finished:
            empty_panel(axes, missing_reason(panels[0].run, figure.needs) or NOT_RECORDED)
            continue
        _draw_panel(axes, finished)
        alphas = sorted({panel.run.cfg.method.alpha for panel in panels if panel.run.cfg.method.name not in LINES})
        axes.set_xticks(alphas, [f"{alpha:g}".removeprefix("0") for alpha in alphas], fontsize=6)
        axes.set_xlim(alphas[0] - 0.03, alphas[-1] + 0.03)
        axes.set_xlabel(_label(panels, finished))
    line[0].set_ylabel("top-1 (%)")
    handles = {label: handle for axes in line for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    drawing.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return drawing


def _draw_panel(axes: Axes, panels: list[Panel]) -> None:
    axes.axvspan(*BEST_RANGE, color="#eeeeee", zorder=0, label="best α of the paper")
    for method, (label, colour, style) in LINES.items():
        if values := _top1(panels, lambda cfg, method=method: cfg.method.name == method):
            axes.axhline(fmean(values), color=colour, linestyle=style, linewidth=1, zorder=1, label=label)
    curve = [panel for panel in panels if panel.run.cfg.method.name not in LINES]
    alphas = sorted({panel.run.cfg.method.alpha for panel in curve})
    means, spreads = [], []
    for alpha in alphas:
        values = _top1(curve, lambda cfg, alpha=alpha: cfg.method.alpha == alpha)
        means.append(fmean(values))
        spreads.append(stdev(values) if len(values) > 1 else 0)
    style = {"color": CURVE, "marker": "o", "markersize": 3, "linewidth": 1, "elinewidth": 0.7, "capsize": 1.5}
    axes.errorbar(alphas, means, spreads, zorder=2, label="LLS", **style)
    outline = [withStroke(linewidth=1.5, foreground="white")]
    for alpha, mean, spread in zip(alphas, means, spreads, strict=True):
        style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 5.5, "path_effects": outline, "zorder": 3}
        axes.annotate(f"{mean:.2f}", (alpha, mean + spread), (0, 3), textcoords="offset points", **style)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the values
    axes.spines[["top", "right"]].set_visible(False)


def _top1(panels: list[Panel], selects: Callable[[DictConfig], bool]) -> list[float]:
    return [panel.run.result["top1"] for panel in panels if selects(panel.run.cfg)]


def _label(panels: list[Panel], finished: list[Panel]) -> str:
    """Return the label of the axis, with the number of seeds and of missing runs."""
    seeds, missing = len({panel.run.cfg.seed for panel in panels}), len(panels) - len(finished)
    notes = [f"{seeds} seeds"] if seeds > 1 else []
    notes += [f"{missing} of {len(panels)} runs missing"] if missing else []
    return f"α ({', '.join(notes)})" if notes else "α"
