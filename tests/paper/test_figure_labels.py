"""Class names beside the clusters of a t-SNE plot."""

import numpy as np
import pytest

from lls.paper.figures import page
from lls.paper.figures.clusters import MAX_NAMED_CLUSTERS, scatter
from lls.paper.figures.features import Embedded


def clusters_of(classes, seed=0):
    """Clusters with centres on a circle, so that there is room beside each."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), 30)
    angles = 2 * np.pi * y / classes
    return 10 * np.stack([np.cos(angles), np.sin(angles)], 1) + random.normal(0, 0.7, (len(y), 2)), y


def plot(points, y, names):
    """Plot in the first of three panels, and return the panel and the boxes of its names, in pixels."""
    with page.style():
        drawing, ((axes, *_),) = page.make_figure(1, 3, height=2)
        scatter(axes, points, Embedded(points, y, names))
        drawing.draw_without_rendering()
        return axes, [text.get_window_extent() for text in axes.texts]


@pytest.mark.parametrize("seed", [0, 1])
def test_names_cover_no_points_and_no_names_and_stay_in_the_frame(seed):
    points, y = clusters_of(10, seed)
    axes, boxes = plot(points, y, [f"class_{label}" for label in range(10)])
    pixels, frame = axes.transData.transform(points), axes.get_window_extent()
    assert len(boxes) == 10
    for index, box in enumerate(boxes):
        assert not any(box.contains(*point) for point in pixels)
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


def test_a_line_leads_from_a_name_to_a_point_of_its_class():
    points, y = clusters_of(5)
    axes, _ = plot(points, y, list("abcde"))
    for label, line in enumerate(axes.lines):
        end = (line.get_transform() - axes.transData).transform(line.get_xydata())[-1]
        assert np.abs(points[y == label] - end).sum(1).min() < 1e-6


def test_equal_points_give_equal_places():
    points, y = clusters_of(4)
    first, second = (plot(points, y, list("abcd"))[0].texts for _ in range(2))
    assert [text.get_position() for text in first] == [text.get_position() for text in second]


def test_many_classes_have_no_names():
    points, y = clusters_of(MAX_NAMED_CLUSTERS + 1)
    axes, boxes = plot(points, y, [str(label) for label in range(MAX_NAMED_CLUSTERS + 1)])
    assert not boxes
    assert not axes.lines


def test_a_class_without_points_has_no_name():
    points, y = clusters_of(3)
    _, boxes = plot(points[y != 1], y[y != 1], list("abc"))
    assert len(boxes) == 2
