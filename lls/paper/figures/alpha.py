"""Figure 7: top-1 against α, one panel per data set, with 1-hot and LS as horizontal lines."""

from statistics import fmean, stdev
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.page import COLOURS, Drawing, empty_panel, make_figure
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED
from lls.runs.summary import format_count

BEST_RANGE = (0.1, 0.4)  # the α of "the best overall performance", Appendix C
CURVE = COLOURS[0]
LINES = {"onehot": ("1-hot", COLOURS[9], "--"), "ls": ("LS", COLOURS[4], "-.")}  # methods that are horizontal lines
LABEL_LINE = 40  # characters that fit below a panel

# The runs of a point of the curve (by its α) or of a line (by its method), by seed.
Groups = dict[float | str, dict[int, Run]]


def draw(figure: Figure) -> Drawing:
    """Draw one panel per row of the figure: means over seeds, with error bars of one sample standard deviation.

    The means are over the seeds that all drawn points and lines of a panel have, if there are any. The range of α that
    the paper calls best is shaded."""
    rows = _rows(figure)
    drawing, (line,) = make_figure(1, len(rows), height=2.3)
    for axes, (row, panels) in zip(line, rows.items(), strict=True):
        axes.set_title(f"{row} / {panels[0].run.cfg.network.name}", pad=4)
        alphas = sorted({panel.run.cfg.method.alpha for panel in panels if panel.run.cfg.method.name not in LINES})
        groups = _groups(panels, figure.needs)
        if not groups:
            reason = missing_reason(panels[0].run, figure.needs) or NOT_RECORDED
            empty_panel(axes, reason if alphas else "no run of a method\nwith a curve over α")
        else:
            _draw_panel(axes, groups)
            axes.set_xticks(alphas, [f"{alpha:g}".removeprefix("0") for alpha in alphas], fontsize=6)
            axes.set_xlim(alphas[0] - 0.03, alphas[-1] + 0.03)
            axes.set_xlabel(_label(panels, groups, figure.needs))
    line[0].set_ylabel("top-1 (%)")
    handles = {label: handle for axes in line for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        drawing.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return drawing


def drawn_runs(figure: Figure) -> list[str]:
    """Return the sorted ids of the runs that are drawn. Finished runs of other seeds are not."""
    groups = [group for panels in _rows(figure).values() for group in _groups(panels, figure.needs).values()]
    return sorted({run.id for group in groups for run in group.values()})


def _rows(figure: Figure) -> dict[str, list[Panel]]:
    """Return the panels of each row, one per run."""
    rows: dict[str, dict[str, Panel]] = {}
    for panel in figure.panels:
        rows.setdefault(panel.row, {})[panel.run.id] = panel
    return {row: list(panels.values()) for row, panels in rows.items()}


def _finished(panels: list[Panel], needs: list[str]) -> list[Run]:
    return [p.run for p in panels if missing_reason(p.run, needs) is None and "top1" in p.run.result]


def _groups(panels: list[Panel], needs: list[str]) -> Groups:
    """Group the finished runs, with the seeds that all groups have; with all of their seeds if none is common.

    There are no groups if the panel has lines only."""
    groups: Groups = {}
    if all(panel.run.cfg.method.name in LINES for panel in panels):
        return groups
    for run in _finished(panels, needs):
        method = run.cfg.method
        groups.setdefault(method.name if method.name in LINES else method.alpha, {})[run.cfg.seed] = run
    common = set.intersection(*map(set, groups.values())) if groups else set()
    return {
        key: {seed: run for seed, run in runs.items() if seed in common or not common} for key, runs in groups.items()
    }


def _draw_panel(axes: Axes, groups: Groups) -> None:
    axes.axvspan(*BEST_RANGE, color="#eeeeee", zorder=0, label="best α of the paper")
    top1 = _top1(groups)
    for method, (label, colour, style) in LINES.items():
        if method in top1:
            axes.axhline(fmean(top1[method]), color=colour, linestyle=style, linewidth=1, zorder=1, label=label)
    if alphas := sorted(groups.keys() - LINES.keys()):
        _draw_curve(axes, groups, alphas)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the values
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, groups: Groups, alphas: list[float]) -> None:
    top1 = _top1(groups)
    means = [fmean(top1[alpha]) for alpha in alphas]
    spreads = [stdev(top1[alpha]) if len(top1[alpha]) > 1 else np.nan for alpha in alphas]  # nan: no error bar
    method = next(iter(groups[alphas[0]].values())).cfg.method.name
    style = {"color": CURVE, "marker": "o", "markersize": 3, "linewidth": 1, "elinewidth": 0.7, "capsize": 1.5}
    axes.errorbar(alphas, means, spreads, zorder=2, label="LLS" if method == "lls" else method, **style)
    outline = [withStroke(linewidth=1.5, foreground="white")]
    for alpha, mean, top in zip(alphas, means, np.add(means, np.nan_to_num(spreads)), strict=True):
        style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 5.5, "path_effects": outline, "zorder": 3}
        axes.annotate(f"{mean:.2f}", (alpha, top), (0, 3), textcoords="offset points", **style)


def _top1(groups: Groups) -> dict[float | str, list[float]]:
    return {key: [run.result["top1"] for run in runs.values()] for key, runs in groups.items()}


def _label(panels: list[Panel], groups: Groups, needs: list[str]) -> str:
    """Return the label of the axis, with the number of seeds behind each mean and of missing runs."""
    counts = [len(runs) for runs in groups.values()]
    if len({frozenset(runs) for runs in groups.values()}) == 1:
        notes = [format_count(counts[0], "seed")]
    else:
        notes = [f"no common seed, {min(counts)} to {max(counts)} seeds per mean"]
    missing = len(panels) - len(_finished(panels, needs))
    notes += [f"{missing} of {len(panels)} runs missing"] if missing else []
    return fill(f"α ({', '.join(notes)})", LABEL_LINE)
