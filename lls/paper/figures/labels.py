"""Class names beside the clusters of a scatter plot, each with a thin line to its cluster."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from lls.heatmap import side_in_points

FONT_SIZE = 5.5
PADDING = 1.5  # points around a name that stay free
MARGIN = 0.16  # of the range of the points, free on each side for names
GRID = 50  # steps across the panel: candidates for the centre of a name, and the resolution of the points
CANDIDATES = 200  # best ones of a name, regardless of the other names
ORDERS = 40  # in which the names are placed
LINE = {"color": "black", "linewidth": 0.5, "path_effects": [withStroke(linewidth=1.2, foreground="white")]}
LINE_POINTS = 20  # where a line is compared with points and names
# The costs of a place, in lengths of a line across the panel.
OVERLAP, COVERED_POINT, CROSSING, POINT_ON_LINE = 10, 1, 0.3, 0.03


def label_classes(axes: Axes, points: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """Write the name of each class at a free place near its points, and draw a line from there to its median point.

    points, y: `[N, 2]` and `[N]`, the points and their classes.
    The same points give the same places."""
    low, high = points.min(0), points.max(0)
    margin = MARGIN * np.maximum(high - low, 1e-9)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    points = (points - low + margin) / (high - low + 2 * margin)  # in coordinates of the axes
    side = side_in_points(axes)  # the layout makes it larger, if at all
    present = [label for label in range(len(names)) if (y == label).any()]
    anchors = [_median_point(points[y == label]) for label in present]
    candidates = [
        _candidates(anchor, _size(names[label]) / side, _rounded(points), _rounded(points[y != label]))
        for label, anchor in zip(present, anchors, strict=True)
    ]
    style = {"ha": "center", "va": "center", "fontsize": FONT_SIZE, "parse_math": False, "zorder": 3}
    for label, anchor, box in zip(present, anchors, _choose(candidates, anchors), strict=True):
        axes.text(*box.mean(0), names[label], transform=axes.transAxes, **style)
        axes.plot(*_lines(anchor, box[None])[0].T, transform=axes.transAxes, zorder=2, **LINE)


def _candidates(
    anchor: np.ndarray, size: np.ndarray, points: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best places of one name: boxes `[M, 2, 2]` (lower left and upper right corner) and costs `[M]`.

    others: the points of other classes, which the line to the anchor avoids."""
    x, y = (np.linspace(length / 2, 1 - length / 2, GRID) for length in size)
    boxes = np.stack(np.meshgrid(x, y), -1).reshape(-1, 1, 2) + np.stack([-size, size]) / 2
    lines = _lines(anchor, boxes)
    costs = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=-1) + COVERED_POINT * _inside(points, boxes).sum(0)
    best = np.argsort(costs, kind="stable")[:CANDIDATES]
    near = 0.5 / GRID
    squares = np.stack([others - near, others + near], 1)
    return boxes[best], costs[best] + POINT_ON_LINE * _line_crosses_box(lines[best], squares).sum(1)


def _choose(candidates: list[tuple[np.ndarray, np.ndarray]], anchors: list[np.ndarray]) -> np.ndarray:
    """Choose one candidate per name such that names and lines do not cross each other, `[names, 2, 2]`.

    The names are placed one after another, in several orders. The order with the lowest total cost wins."""
    random, best, lowest = np.random.default_rng(0), None, np.inf
    for _ in range(ORDERS):
        order, total = random.permutation(len(anchors)), 0.0
        placed, lines = np.zeros((0, 2, 2)), np.zeros((0, 2, 2))
        for index in order:
            boxes, costs_alone = candidates[index]
            new_lines = _lines(anchors[index], boxes)
            overlaps = ((boxes[:, None, 0] < placed[:, 1]) & (boxes[:, None, 1] > placed[:, 0])).all(-1).sum(1)
            overlaps += _line_crosses_box(lines, boxes).sum(0) + _line_crosses_box(new_lines, placed).sum(1)
            costs = costs_alone + OVERLAP * overlaps + CROSSING * _line_crosses_line(new_lines, lines).sum(1)
            chosen = costs.argmin()
            total += costs[chosen]
            placed = np.concatenate([placed, boxes[chosen, None]])
            lines = np.concatenate([lines, new_lines[chosen, None]])
        if total < lowest:
            best, lowest = placed[np.argsort(order)], total
    return best


def _lines(anchor: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the line from the nearest point of each box to the anchor, `[M, 2, 2]`."""
    start = np.clip(anchor, boxes[:, 0], boxes[:, 1])
    return np.stack([start, np.broadcast_to(anchor, start.shape)], 1)


def _inside(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return which points `[N, 2]` are inside which boxes `[M, 2, 2]`, as `[N, M]`."""
    x, y = points.T[..., None]
    (left, bottom), (right, top) = boxes.transpose(1, 2, 0)
    return (x > left) & (x < right) & (y > bottom) & (y < top)


def _line_crosses_box(lines: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return which lines `[N, 2, 2]` cross which boxes `[M, 2, 2]`, as `[N, M]`."""
    steps = np.linspace(lines[:, 0], lines[:, 1], LINE_POINTS)
    return np.any([_inside(points, boxes) for points in steps], axis=0)


def _line_crosses_line(lines: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which lines `[N, 2, 2]` cross which others `[M, 2, 2]`, as `[N, M]`."""
    (start, end), (other_start, other_end) = lines.swapaxes(0, 1)[:, :, None], others.swapaxes(0, 1)
    splits_other = _is_left(start, end, other_start) != _is_left(start, end, other_end)
    return splits_other & (_is_left(other_start, other_end, start) != _is_left(other_start, other_end, end))


def _is_left(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return whether a point is on the left of the line through `start` and `end`."""
    along, to_point = end - start, point - start
    return along[..., 0] * to_point[..., 1] > along[..., 1] * to_point[..., 0]


def _rounded(points: np.ndarray) -> np.ndarray:
    """Round points to a grid and return each of them once, which leaves fewer."""
    return np.unique(np.round(points * GRID), axis=0) / GRID


def _median_point(points: np.ndarray) -> np.ndarray:
    """Return the point that is nearest to the median of the points, so that it lies in the cluster."""
    return points[np.square(points - np.median(points, axis=0)).sum(1).argmin()]


def _size(name: str) -> np.ndarray:
    """Return width and height of a box with the name, in points of length."""
    extents = TextPath((0, 0), name, size=FONT_SIZE).get_extents()
    return np.array([extents.width, FONT_SIZE]) + 2 * PADDING
