"""Figures 5 and 8: t-SNE of the test images' features above the distances between the class centres."""

import numpy as np
from matplotlib.axes import Axes

from lls.heatmap import colour_bar, heatmap
from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.features import Embedded, clusters, embed_images, read_clusters, row_normalised, variation
from lls.paper.figures.labels import label_classes
from lls.paper.figures.page import COLOURS, MARKERS, Drawing, empty_panel, make_figure
from lls.runs.run import Run
from lls.runs.summary import format_measure

POINTS = 2000  # test images in a t-SNE plot, the same number from each class
MAX_NAMED_CLUSTERS = 20  # with more classes, their names would overlap


def draw(figure: Figure) -> Drawing:
    """Draw the t-SNE plots in the first row and the distance matrices, which share one colour scale, in the second."""
    drawing, (plots, heatmaps) = make_figure(2, figure.across, height=4.35)
    distances = [_distances(panel.run, figure.needs) for panel in figure.panels]
    off_diagonal = [matrix[~np.eye(len(matrix), dtype=bool)] for matrix, _ in filter(None, distances)]
    limits = {}
    if off_diagonal:
        limits = {"smallest": np.nanmin(off_diagonal), "largest": np.nanmax(off_diagonal)}
    image = None
    for index, panel in enumerate(figure.panels):
        reason = missing_reason(panel.run, figure.needs)
        result = panel.run.result
        top1 = f", top-1 {format_measure(result, 'top1', '.2f', ' %')}" if result else ""
        plots[index].set_title(panel.column + top1, pad=4)
        if reason:
            empty_panel(plots[index], reason)
        else:
            embedded = subsample(embed_images(panel.run, "test"), POINTS)
            scatter(plots[index], tsne(embedded.features), embedded)
        if distances[index] is None:
            empty_panel(heatmaps[index], reason)
            continue
        matrix, classes = distances[index]
        image = heatmap(heatmaps[index], matrix, classes, **limits, plain_diagonal=True, ylabels=index == 0)
        heatmaps[index].set_title(f"CV of distances {variation(matrix):.2f}", fontsize=6.5, pad=3)
    if image is not None:
        colour_bar(heatmaps[-1], image)
    return drawing


def _distances(run: Run, needs: list[str]) -> tuple[np.ndarray, list[str]] | None:
    """Return the row-normalised distances and the classes; without weights, those that an earlier drawing saved."""
    measured = clusters(run) if missing_reason(run, needs) is None else read_clusters(run)
    return None if measured is None else (row_normalised(measured.distances), measured.classes)


def subsample(embedded: Embedded, points: int, classes: list[str] | None = None) -> Embedded:
    """Select the first images of each class, at most `points` in total and the same number per class.

    `classes` restricts the result to these classes, in this order; the default is all."""
    classes = classes or embedded.classes
    per_class = points // len(classes)
    indices = [np.flatnonzero(embedded.y == embedded.classes.index(name))[:per_class] for name in classes]
    y = np.repeat(np.arange(len(classes)), [len(group) for group in indices])
    return Embedded(embedded.features[np.concatenate(indices)], y, classes)


def tsne(features: np.ndarray) -> np.ndarray:
    """Embed features `[N, D]` in two dimensions by t-SNE (van der Maaten & Hinton, 2008), initialized by PCA."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(features)


def scatter(axes: Axes, points: np.ndarray, embedded: Embedded, *, size: float = 1.5) -> None:
    """Plot points `[N, 2]`; each class has a colour and a marker, and its name stands beside its points."""
    for label in range(len(embedded.classes)):
        style = {"color": COLOURS[label % 10], "marker": MARKERS[(label + label // 10) % 10], "zorder": 1}
        axes.scatter(*points[embedded.y == label].T, s=size, linewidths=0, rasterized=True, **style)
    if len(embedded.classes) <= MAX_NAMED_CLUSTERS:
        label_classes(axes, points, embedded.y, [name.replace("_", " ") for name in embedded.classes])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
