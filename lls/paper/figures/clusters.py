"""Figures 5 and 8: t-SNE of the test images' features above the distances between the classes' centres."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.features import Embedded, clusters, embed_images, read_clusters, row_normalised, variation
from lls.paper.figures.page import COLOURS, MARKERS, Drawing, colour_bar, empty_panel, heatmap, make_figure
from lls.runs.summary import format_measure

POINTS = 2000  # test images in a t-SNE, the same share of every class


def draw(figure: Figure) -> Drawing:
    drawing, (above, below) = make_figure(2, figure.across, height=4.35)
    shown = [_distances(panel.run, figure.needs) for panel in figure.panels]
    off = [matrix[~np.eye(len(matrix), dtype=bool)] for matrix, _ in filter(None, shown)]
    largest = max((np.nanmax(values) for values in off), default=None)
    image = None
    for index, panel in enumerate(figure.panels):
        said = missing_reason(panel.run, figure.needs)
        result = panel.run.result
        above[index].set_title(
            panel.column + (f", top-1 {format_measure(result, 'top1', '.2f', ' %')}" if result else ""), pad=4
        )
        if said:
            empty_panel(above[index], said)
        else:
            seen = subsample(embed_images(panel.run, "test"), POINTS)
            scatter(above[index], tsne(seen.features), seen)
        if shown[index] is None:
            empty_panel(below[index], said)
            continue
        matrix, classes = shown[index]
        image = heatmap(below[index], matrix, classes, largest=largest, ylabels=index == 0)
        below[index].set_title(f"CV of distances {variation(matrix):.2f}", fontsize=6.5, pad=3)
    if image is not None:
        colour_bar(below[-1], image)
    return drawing


def _distances(run, needs: list[str]) -> tuple[np.ndarray, list[str]] | None:
    found = clusters(run) if missing_reason(run, needs) is None else read_clusters(run)
    return None if found is None else (row_normalised(found.distances), found.classes)


def subsample(of: Embedded, points: int, classes: list[str] | None = None) -> Embedded:
    """The first images of each class, `points` of them in all or as many as there are; of `classes`, or all."""
    chosen = classes or of.classes
    at = [np.flatnonzero(of.y == of.classes.index(name))[: points // len(chosen)] for name in chosen]
    y = np.repeat(np.arange(len(chosen)), [len(indices) for indices in at])
    return Embedded(of.features[np.concatenate(at)], y, chosen)


def tsne(features: np.ndarray) -> np.ndarray:
    """Two dimensions of `[N, D]` by t-SNE (van der Maaten & Hinton, 2008), started from the principal components."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(features)


def scatter(axes: Axes, points: np.ndarray, of: Embedded, *, size: float = 1.5) -> None:
    """Points `[N, 2]` by class: colour, marker and, at the median of up to 20 classes' points, the class's name."""
    halo = [withStroke(linewidth=1.6, foreground="white")]
    for label, name in enumerate(of.classes):
        own = points[of.y == label]
        look = {"color": COLOURS[label % 10], "marker": MARKERS[label % 10], "zorder": 1}
        axes.scatter(*own.T, s=size, linewidths=0, rasterized=True, **look)
        if len(of.classes) <= 20 and len(own):
            where = {"ha": "center", "va": "center", "fontsize": 5.5, "zorder": 2, "path_effects": halo}
            axes.text(*np.median(own, axis=0), name.replace("_", " "), parse_math=False, **where)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.margins(0.1)
