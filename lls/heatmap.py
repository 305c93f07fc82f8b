"""Heatmaps of K x K matrices with class names. All pictures of Q have the colours of `q_heatmap`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

COLOUR_MAP = "cividis"
MAX_PRINTED_CLASSES = 12  # a larger heatmap has no room for numbers
MAX_NAMED_CLASSES = 60
MIN_FONT_SIZE = 5.0  # points; text that would have to be smaller is left out
FONT_SIZE = 6.5


def heatmap(
    axes: Axes,
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    digits: int = 2,
    smallest: float = 0.0,
    largest: float | None = None,
    plain_diagonal: bool = False,
    xlabels: bool = True,
    ylabels: bool = True,
    font_size: float = FONT_SIZE,
) -> AxesImage:
    """Draw a K x K matrix with class names at its axes, and its values if K is at most MAX_PRINTED_CLASSES.

    Names and values that would need a font below MIN_FONT_SIZE are left out, and the names of more than
    MAX_NAMED_CLASSES classes.

    smallest, largest: the values at the ends of the colour scale (default: 0 and the largest value drawn).
    plain_diagonal: leave the diagonal without colour, where it would dwarf the other entries.
    font_size: of the names and values, in points, where there is room.
    Returns the matplotlib image, which `colour_bar` takes."""
    k = len(names)
    coloured = np.ma.masked_where(np.eye(k, dtype=bool), matrix) if plain_diagonal else matrix
    largest = coloured.max() if largest is None else largest
    image = axes.imshow(coloured, cmap=COLOUR_MAP, vmin=smallest, vmax=largest, interpolation="nearest")
    axes.set_facecolor("#e8e8e8")
    cell = side_in_points(axes) / k
    named = names_fit(axes, k)
    labels = [str(name).replace("_", " ") for name in names]
    text = {"fontsize": min(font_size, 0.8 * cell), "parse_math": False}
    rotation = 90 if k > 4 and max(map(len, labels)) > 2 else 0
    axes.set_xticks(
        range(k) if named and xlabels else [], labels if named and xlabels else [], rotation=rotation, **text
    )
    axes.set_yticks(range(k) if named and ylabels else [], labels if named and ylabels else [], **text)
    axes.tick_params(length=0, pad=2)
    value_size = min(font_size, 0.56 * cell)
    if k <= MAX_PRINTED_CLASSES and value_size >= MIN_FONT_SIZE:
        _print_values(axes, image, matrix, digits, value_size)
    return image


def q_heatmap(
    axes: Axes,
    q: np.ndarray,
    classes: Sequence[str],
    superclasses: Sequence[str] | None = None,
    **options,
) -> AxesImage:
    """Draw softmax(Q), `[K, K]`: rows are true classes y, columns are classes j.

    The colour scale is that of `q_limits`, so a nearly uniform Q shows its structure, too. Entries outside it have the
    colour of its end, and `colour_bar` ends in an arrow there.

    superclasses: the superclass of each class. If the classes are too many to be named, they are sorted by superclass,
    and the superclasses are named.
    options: keyword arguments of `heatmap`.
    Returns the matplotlib image."""
    smallest, largest = q_limits(q)
    limits = {"smallest": smallest, "largest": largest}
    if superclasses is None or names_fit(axes, len(classes)):
        return heatmap(axes, q, classes, **limits, **options)
    order = sorted(range(len(classes)), key=lambda index: superclasses[index])
    image = heatmap(axes, q[np.ix_(order, order)], classes, **limits, **options)
    _name_superclasses(axes, [superclasses[index] for index in order], options.get("font_size", FONT_SIZE))
    return image


def q_limits(q: np.ndarray) -> tuple[float, float]:
    """Return the ends of the colour scale of softmax(Q), `[K, K]`: its 0.5th and 99.5th percentile off the diagonal.

    Up to 14 classes these are the smallest and the largest entry. LLS drives the diagonal towards 0, so it does not
    count. For a uniform Q, whose entries differ by less than a thousandth of 1/K, the scale begins at 0."""
    off_diagonal = q[~np.eye(len(q), dtype=bool)]
    smallest = np.quantile(off_diagonal, 0.005, method="inverted_cdf")
    largest = np.quantile(off_diagonal, 0.995, method="inverted_cdf")
    return (smallest if largest - smallest > 0.001 / len(q) else 0.0), largest


def colour_bar(axes: Axes, image: AxesImage, label: str = "", *, font_size: float = MIN_FONT_SIZE) -> None:
    """Add a slim colour bar beside the axes, with a label above it. An end is an arrow if values lie beyond it."""
    values, (smallest, largest) = image.get_array(), image.get_clim()
    below, above = np.nanmin(values) < smallest, np.nanmax(values) > largest
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, aspect=25, format="%g", extend=extend)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=font_size, length=1.5)
    bar.ax.set_title(label, fontsize=font_size + 1)


def names_fit(axes: Axes, classes: int) -> bool:
    """Return whether this many names fit beside the axes, in lines of at least MIN_FONT_SIZE points."""
    return classes <= MAX_NAMED_CLASSES and 0.8 * side_in_points(axes) / classes >= MIN_FONT_SIZE


def side_in_points(axes: Axes) -> float:
    """Return the side of square axes in points, before the labels take their share."""
    return 72 * axes.get_position(original=True).width * axes.figure.get_figwidth()


def _name_superclasses(axes: Axes, superclasses: Sequence[str], font_size: float) -> None:
    """Draw lines between the superclasses of sorted classes, and name them on the left if the names fit."""
    names, sizes = np.unique(superclasses, return_counts=True)
    ends = np.cumsum(sizes)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=0.2)
        axes.axvline(end - 0.5, color="white", linewidth=0.2)
    if names_fit(axes, len(names)):
        axes.set_yticks(ends - sizes / 2 - 0.5, names, fontsize=min(font_size, 0.8 * side_in_points(axes) / len(names)))


def _print_values(axes: Axes, image: AxesImage, matrix: np.ndarray, digits: int, font_size: float) -> None:
    """Print each value without its leading zero, black on a light colour and white on a dark one."""
    masked = np.ma.getmaskarray(image.get_array())
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = image.cmap(image.norm(value))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 or masked[row, column]
        text = f"{value:.{digits}f}"
        text = text[1:] if text.startswith("0.") else text
        axes.text(column, row, text, ha="center", va="center", fontsize=font_size, color="black" if light else "white")
