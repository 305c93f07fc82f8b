"""Figure 6: three classes alone, each data set a line of panels.

Below a panel: the cosine distance of the first two classes' centres, their mean distance to the third, their ratio."""

from lls.paper.figures.clusters import scatter, subsample, tsne
from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.features import clusters, embed_images
from lls.paper.figures.page import Drawing, empty_panel, make_figure

POINTS = 900


def draw(figure: Figure) -> Drawing:
    down = len(figure.panels) // figure.across
    drawing, grid = make_figure(down, figure.across, height=2.15 * down + 0.4)
    for index, (axes, panel) in enumerate(zip(grid.flat, figure.panels, strict=True)):
        run = panel.run
        if index < figure.across:
            axes.set_title(panel.column, pad=4)
        axes.set_box_aspect(1)
        if index % figure.across == 0:
            axes.set_ylabel(f"{panel.row} / {run.cfg.network.name}")
        if said := missing_reason(run, figure.needs):
            empty_panel(axes, said)
            continue
        found = clusters(run)
        if absent := [name for name in panel.classes if name not in found.classes]:
            empty_panel(axes, f"these data have no class\n{', '.join(absent)}")
            continue
        seen = subsample(embed_images(run, "test"), POINTS, panel.classes)
        scatter(axes, tsne(seen.features), seen, size=4)
        first, second, third = (found.classes.index(name) for name in panel.classes)
        near, far = found.distances[first, second], (found.distances[first, third] + found.distances[second, third]) / 2
        names = [name.replace("_", " ") for name in panel.classes]
        apart = f"{names[0]}–{names[1]} {near:.2f}, {names[2]} {far:.2f} away: {near / far:.2f}"
        axes.set_xlabel(apart, fontsize=5.5)
    return drawing
