"""Figure 6: t-SNE of three classes, one row of panels per data set.

The label below a panel gives three numbers: the cosine distance between the centres of the first two classes, their
mean distance to the third, and the ratio of both."""

from matplotlib.axes import Axes

from lls.paper.figures.clusters import scatter, subsample, tsne
from lls.paper.figures.declaration import Figure, Panel, missing_reason
from lls.paper.figures.features import clusters, embed_images
from lls.paper.figures.page import Drawing, empty_panel, make_figure

POINTS = 900  # test images in a panel


def draw(figure: Figure) -> Drawing:
    """Draw one panel per run. Data set and network are named on the left, methods above the first row."""
    down = len(figure.panels) // figure.across
    drawing, grid = make_figure(down, figure.across, height=2.15 * down + 0.4)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=True)):
        if index < figure.across:
            axes.set_title(panel.column, pad=4)
        axes.set_box_aspect(1)
        if index % figure.across == 0:
            axes.set_ylabel(f"{panel.row} / {panel.run.cfg.network.name}")
        if reason := missing_reason(panel.run, figure.needs):
            empty_panel(axes, reason)
        else:
            _draw_panel(axes, panel)
    return drawing


def _draw_panel(axes: Axes, panel: Panel) -> None:
    measured = clusters(panel.run)
    if absent := [name for name in panel.classes if name not in measured.classes]:
        empty_panel(axes, f"the data set has no class\n{', '.join(absent)}")
        return
    embedded = subsample(embed_images(panel.run, "test"), POINTS, panel.classes)
    scatter(axes, tsne(embedded.features), embedded, size=4)
    first, second, third = (measured.classes.index(name) for name in panel.classes)
    near = measured.distances[first, second]
    far = (measured.distances[first, third] + measured.distances[second, third]) / 2
    names = [name.replace("_", " ") for name in panel.classes]
    text = f"{names[0]}–{names[1]} {near:.2f}\nto {names[2]} {far:.2f}, ratio {near / far:.2f}"
    axes.set_xlabel(text, fontsize=5.5, parse_math=False)
