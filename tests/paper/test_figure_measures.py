"""Distances between class centres, the spread of a class, t-SNE, and the colours of the figures."""

import numpy as np
import pytest


def embedded(features, y, classes="ab"):
    from lls.paper.figures.features import Embedded

    return Embedded(np.array(features, np.float32), np.array(y), list(classes))


def test_distances_between_class_centres():
    """Centres at 0, 90 and 45 degrees; the expected distances are computed by hand."""
    from lls.paper.figures.features import measure, row_normalised, variation

    measured = measure(embedded([[2, 0], [4, 0], [0, 1], [1, 1]], [0, 0, 1, 2], "abc"))
    near = 1 - 0.5**0.5
    np.testing.assert_allclose(measured.distances, [[0, 1, near], [1, 0, near], [near, near, 0]], atol=1e-7)
    np.testing.assert_allclose(measured.spread, 0, atol=1e-7)
    rows = row_normalised(measured.distances)
    np.testing.assert_allclose(rows.sum(1), 1)
    assert rows[0, 2] != pytest.approx(rows[2, 0])  # resolution: the paper's formula is not symmetric
    assert variation(1 - np.eye(4)) == 0
    assert variation(measured.distances) == pytest.approx(np.std([1, near, near]) / np.mean([1, near, near]))


def test_spread_is_measured_within_a_class():
    from lls.paper.figures.features import measure

    measured = measure(embedded([[1, 1], [1, -1], [0, 1], [0, 2]], [0, 0, 1, 1]))
    np.testing.assert_allclose(measured.spread, [1 - 0.5**0.5, 0], atol=1e-7)


def test_tsne_is_deterministic():
    from lls.paper.figures.clusters import tsne

    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.testing.assert_array_equal(tsne(features), tsne(features))


DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"])
def test_colour_blind_readers_can_tell_the_colours_apart(matrix):
    """Simulated in linear RGB as by Machado et al. (2009); a difference of 2 in CIELAB is just visible."""
    from matplotlib.colors import to_rgb

    from lls.paper.figures.page import COLOURS, MARKERS

    rgb = np.array([to_rgb(colour) for colour in COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = cielab((linear @ np.transpose(matrix)).clip(0, 1))
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1)[~np.eye(10, dtype=bool)]
    assert distances.min() > 20
    assert len(set(MARKERS)) == len(COLOURS) == 10


def cielab(linear):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(linear @ np.transpose(to_xyz) / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
