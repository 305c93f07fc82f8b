"""Heatmaps: the colour scale of Q, names, values, and the ends of the colour bar."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lls.heatmap import MIN_FONT_SIZE, colour_bar, heatmap, q_heatmap, q_limits


def q_of(values, diagonal=0.0):
    """A matrix with these entries off the diagonal."""
    k = round(0.5 + (0.25 + len(values)) ** 0.5)
    q = np.full((k, k), diagonal)
    q[~np.eye(k, dtype=bool)] = values
    return q


def drawn(q, classes, *args, side=5.0, **options):
    axes = Figure((side, side)).subplots()
    return axes, q_heatmap(axes, q, classes, *args, **options)


def names_of(axes):
    return [[text.get_text() for text in labels] for labels in (axes.get_xticklabels(), axes.get_yticklabels())]


def test_a_nearly_uniform_q_uses_the_whole_colour_scale():
    values = np.linspace(0.098, 0.102, 90)
    _, image = drawn(q_of(values, 0.1), [str(i) for i in range(10)])
    assert image.get_clim() == (0.098, 0.102)


def test_a_uniform_q_has_a_scale_from_zero():
    assert q_limits(np.full((10, 10), 0.1)) == (0, 0.1)


def test_many_classes_saturate_at_half_a_per_cent():
    values = np.arange(9900.0)
    assert q_limits(q_of(values, -5)) == (49, 9850)


@pytest.mark.parametrize(
    ("diagonal", "extend"), [(0.0, "min"), (0.15, "neither"), (0.9, "max")], ids=["below", "inside", "above"]
)
def test_the_colour_bar_is_pointed_where_the_diagonal_is_outside_the_scale(diagonal, extend):
    axes, image = drawn(q_of(np.linspace(0.1, 0.2, 90), diagonal), [str(i) for i in range(10)])
    colour_bar(axes, image, "$Q_{yj}$")
    assert image.colorbar.extend == extend


def test_names_and_values_are_readable_or_left_out():
    q, classes = q_of(np.linspace(0.1, 0.2, 90)), [f"class_{i}" for i in range(10)]
    axes, _ = drawn(q, classes)
    assert names_of(axes) == [[name.replace("_", " ") for name in classes]] * 2
    assert len(axes.texts) == 100
    texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) >= MIN_FONT_SIZE
    small, _ = drawn(q, classes, side=0.8)
    assert names_of(small) == [[], []]
    assert not small.texts


def test_more_than_sixty_classes_have_no_names_but_superclasses():
    random = np.random.default_rng(0)
    q = random.dirichlet(np.ones(70), 70)
    axes, image = drawn(q, [str(i) for i in range(70)], side=20)
    assert names_of(axes) == [[], []]
    groups = ["odd" if i % 2 else "even" for i in range(70)]
    axes, image = drawn(q, [str(i) for i in range(70)], groups, side=20)
    assert names_of(axes) == [[], ["even", "odd"]]
    order = [*range(0, 70, 2), *range(1, 70, 2)]
    np.testing.assert_array_equal(image.get_array(), q[np.ix_(order, order)])


def test_a_plain_diagonal_has_no_colour_and_does_not_end_the_scale():
    axes = Figure((5, 5)).subplots()
    image = heatmap(axes, np.array([[90.0, 10.0], [5.0, 95.0]]), ["a", "b"], digits=0, plain_diagonal=True)
    assert image.get_clim() == (0, 10)
    np.testing.assert_array_equal(image.get_array().mask, np.eye(2, dtype=bool))
    assert [text.get_text() for text in axes.texts] == ["90", "10", "5", "95"]
