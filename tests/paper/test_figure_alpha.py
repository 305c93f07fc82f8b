"""Figure 7: its runs, the means over common seeds, and what a panel says about missing runs."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from results import write_result

from lls.paper import figures


def test_figure_7_has_the_alphas_of_the_paper():
    panels = [panel for panel in figures.load("7").panels if panel.row == "CUB-200"]
    alphas = [panel.run.cfg.method.alpha for panel in panels if panel.run.cfg.method.name == "lls"]
    assert alphas == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_figure_7_has_the_1_hot_and_ls_runs_of_the_tables():
    from lls.paper import tables

    table_runs = {run.id for name in "12" for cell in tables.load(name).cells.values() for run in cell.runs}
    lines = [panel.run for panel in figures.load("7").panels if panel.run.cfg.method.name != "lls"]
    assert {run.cfg.method.name for run in lines} == {"onehot", "ls"}
    assert {run.id for run in lines} <= table_runs
    assert Counter(run.cfg.dataset.name for run in lines) == {"cifar100": 6, "flowers102": 2, "cub200": 2}


def finish(figure, top1, is_finished=lambda cfg: True):
    """Write a result for the runs for which `is_finished` is true: top1(cfg)."""
    for run in figures.runs_of([figure]):
        if is_finished(run.cfg):
            write_result(run, {"top1": top1(run.cfg)})


def draw_panel(figure):
    """Return the axes of the only panel, and its lines and error bars by their labels."""
    from lls.paper.figures import alpha

    (axes,) = alpha.draw(figure).axes
    handles, labels = axes.get_legend_handles_labels()
    return axes, dict(zip(labels, handles, strict=True))


def by_seed(cfg):
    return {"onehot": 80.0, "ls": 81.0, "lls": 82 + cfg.method.get("alpha", 0)}[cfg.method.name] + cfg.seed


@pytest.fixture
def figure(overrides):
    """Figure 7 with one panel, whose runs have three seeds."""
    return figures.load("7", ["dataset=digits", *overrides])


def test_a_panel_shows_the_mean_and_the_spread_of_the_seeds(figure):
    finish(figure, by_seed, lambda cfg: cfg.method.get("alpha") != 0.5)
    axes, drawn = draw_panel(figure)
    assert set(drawn["1-hot"].get_ydata()) == {81.0}
    assert set(drawn["LS"].get_ydata()) == {82.0}
    line, _, (bars,) = drawn["LLS"]
    np.testing.assert_allclose(line.get_xydata(), [[x, 83 + x] for x in (0.05, 0.1, 0.2, 0.3, 0.4)])
    np.testing.assert_allclose([np.ptp(segment[:, 1]) for segment in bars.get_segments()], 2)  # 2 sample deviations
    assert axes.get_xlabel() == "α (3 seeds, 3 of 24 runs missing)"


def test_means_are_over_the_seeds_that_all_points_and_lines_have(figure):
    """LLS is above LS at its only seed, and below the mean of LS over three seeds."""
    finish(figure, lambda cfg: by_seed(cfg) + 3 * cfg.seed, lambda cfg: cfg.method.name != "lls" or cfg.seed == 0)
    axes, drawn = draw_panel(figure)
    assert set(drawn["1-hot"].get_ydata()) == {80.0}
    assert set(drawn["LS"].get_ydata()) == {81.0}
    line, _, (bars,) = drawn["LLS"]
    np.testing.assert_allclose(line.get_xydata(), [[x, 82 + x] for x in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)])
    assert not any(len(segment) for segment in bars.get_segments())  # one seed has no spread
    assert axes.get_xlabel() == "α (1 seed, 12 of 24 runs missing)"
    png, _ = figures.draw(figure, dpi=30)
    with Image.open(png) as image:
        drawn_ids = image.text["Description"].split()
    assert len(drawn_ids) == 8
    assert all("-s0-" in run_id for run_id in drawn_ids)


def test_without_a_common_seed_all_seeds_are_shown_and_counted(figure):
    finish(figure, by_seed, lambda cfg: (cfg.method.name == "lls") == (cfg.seed == 0))
    axes, drawn = draw_panel(figure)
    assert set(drawn["LS"].get_ydata()) == {82.5}
    assert len(drawn["LLS"][0].get_xdata()) == 6
    label = axes.get_xlabel().replace("\n", " ")
    assert label == "α (no common seed, 1 to 2 seeds per mean, 14 of 24 runs missing)"


def test_lines_are_drawn_before_the_first_point_is_there(figure):
    finish(figure, by_seed, lambda cfg: cfg.method.name == "ls")
    axes, drawn = draw_panel(figure)
    assert set(drawn) == {"best α of the paper", "LS"}
    assert len(axes.get_xticks()) == 6


def test_a_panel_of_lines_only_is_empty(overrides):
    figure = figures.load("7", ["dataset=digits", "method=ls", *overrides])
    finish(figure, lambda cfg: 81.0)
    axes, drawn = draw_panel(figure)
    assert not drawn
    assert [text.get_text() for text in axes.texts] == ["no run of a method\nwith a curve over α"]
