"""Figures: the declared runs, the panels of finished and of missing runs, features and distances."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results import write_result

from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import figures
from lls.runs.run import Run
from lls.training.execute import execute

DIGITS = ["dataset=digits", "network=lenet", "train.epochs=2", "train.warmup=1", "train.milestones=[1]"]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Train three short runs on digits: 1-hot, LS, LLS. Returns the overrides that they share."""
    output = tmp_path_factory.mktemp("figures")
    machine = [f"machine.data={data}", f"machine.output={output}", "machine.wandb=disabled", "machine.device=cpu"]
    for method in ("onehot", "ls", "lls"):
        execute(Run(compose([*DIGITS, *machine, f"method={method}"])))
    return [*DIGITS, *machine]


def texts(drawing):
    from matplotlib.text import Text

    return [text.get_text() for text in drawing.findobj(Text) if text.get_text()]


def test_the_figures_of_the_paper_are_declared():
    assert figures.paper_names() == ["3", "4", "5", "6", "7", "8", "9"]
    declared = [figures.load(name) for name in figures.paper_names()]
    runs = figures.runs_of(declared)
    assert len({run.id for run in runs}) == len(runs) == 57
    assert Counter(run.cfg.dataset.name for run in runs)["fashionmnist"] == 4
    ablation = [run for run in runs if run.cfg.dataset.name == "cifar10" and run.cfg.method.name == "lls"]
    assert {run.cfg.method.terms for run in ablation} >= {"no_fce", "no_rce", "forward_kl", "reverse_kl", "lls"}
    assert {run.cfg.budget for run in runs} == {1.0}


def test_figure_4_uses_alexnet_and_figure_8_lenet():
    networks = {name: {p.run.cfg.network.name for p in figures.load(name).panels} for name in ("4", "8")}
    assert networks == {"4": {"alexnet"}, "8": {"lenet"}}


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


def test_figure_7_shows_the_mean_and_the_spread_of_the_seeds(overrides):
    from lls.paper.figures import alpha

    figure = figures.load("7", ["dataset=digits", *overrides])
    for panel in figure.panels:
        cfg = panel.run.cfg
        top1 = {"onehot": 80.0, "ls": 81.0, "lls": 82 + cfg.method.get("alpha", 0)}[cfg.method.name] + cfg.seed
        if not panel.run.ended and cfg.method.get("alpha") != 0.5:
            write_result(panel.run, {"top1": top1})
    (axes,) = alpha.draw(figure).axes
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    assert set(drawn["1-hot"].get_ydata()) == {81.0}
    assert set(drawn["LS"].get_ydata()) == {82.0}
    line, _, (bars,) = drawn["LLS"]
    np.testing.assert_allclose(line.get_xydata(), [[x, 83 + x] for x in (0.05, 0.1, 0.2, 0.3, 0.4)])
    np.testing.assert_allclose([np.ptp(segment[:, 1]) for segment in bars.get_segments()], 2)  # 2 sample deviations
    assert axes.get_xlabel() == "α (3 seeds, 3 of 24 runs missing)"


def test_a_figure_names_exactly_the_overrides_that_change_its_runs():
    figure = figures.load("4", ["network=lenet", "budget=0.05", "seed=0", "machine.output=elsewhere"])
    assert figure.deviations == ["network=lenet", "budget=0.05"]
    assert figures.load("8", ["network=lenet"]).deviations == []


def test_a_row_with_another_data_set_has_its_name():
    assert {panel.row for panel in figures.load("9", ["dataset=fashionmnist"]).panels} == {"fashionmnist"}


@pytest.mark.parametrize(("words", "message"), [("12", "not declared"), ("4 netwrok=lenet", "did you mean")])
def test_a_user_error_is_one_line(words, message, run_script):
    status, out, err = run_script("figures.py", *words.split())
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not out


@pytest.mark.parametrize("name", figures.paper_names())
def test_a_figure_is_drawn_as_png_and_pdf(name, runs, monkeypatch):
    """The first two features replace t-SNE, which would take most of the time."""
    from lls.paper.figures import clusters

    monkeypatch.setattr(clusters, "tsne", lambda features: features[:, :2])
    figure = figures.load(name, runs)
    png, pdf = figures.draw(figure, dpi=60)
    assert pdf.read_bytes().startswith(b"%PDF")
    with Image.open(png) as image:
        assert image.width == 5.5 * 60
        drawn = {panel.run.id for panel in figure.panels} - set(figure.missing)
        assert set(image.text["Description"].split()) == drawn
        assert drawn
        assert "dataset=digits" in image.text["Title"]
        assert np.asarray(image.convert("L")).std() > 10
    assert len(figure.missing) == {"7": 21, "9": 8}.get(name, 0)


def test_a_missing_run_is_printed_with_its_command(overrides, run_script):
    output = next(text for text in overrides if "machine.output" in text)
    status, out, _ = run_script("figures.py", "8", "budget=0.05", "network=lenet", output, "--wandb=disabled")
    assert status == 0
    assert f"not run: python train.py dataset=fashionmnist network=lenet method=ls budget=0.05 {output}" in out
    with Image.open(Path(output.partition("=")[2]) / "figures" / "8-budget-0.05.png") as image:
        assert image.text["Description"] == ""
        assert image.width > 2 * image.height  # a small panel with the command, not a page of empty ones


def test_a_figure_without_runs_shows_the_command_that_trains_them(overrides):
    from lls.paper.figures import page

    figure = figures.load("5", ["budget=0.1", "title=false", *overrides])
    assert not figure.drawable
    (panel,) = texts(page.draw_command(figure))
    assert panel.startswith(
        "None of the 3 runs can be drawn (not run). To train them:\npython scripts/figures.py 5 budget"
    )
    assert panel.endswith("--train")


def test_figures_that_show_runs_which_are_missing_now_are_not_replaced(runs, run_script):
    """As in a fresh clone, which has no weights."""
    figure = figures.load("5", runs)
    png, _ = figures.paths_of(figure)
    Image.new("RGB", (8, 8)).save(
        png, pnginfo=metadata(Description=" ".join(run.id for run in figures.runs_of([figure])))
    )
    before, weights = png.read_bytes(), figure.panels[0].run.folder / "last.pt"
    assert figures.lost_runs(figure) == []
    weights.rename(weights.with_suffix(".away"))
    try:
        assert figures.lost_runs(figure) == [figure.panels[0].run.id]
        status, out, _ = run_script("figures.py", "5", *runs)
    finally:
        weights.with_suffix(".away").rename(weights)
    assert status == 0
    assert f"{png} is not replaced, because it shows runs that cannot be drawn now (weights not kept)" in out
    assert figure.command in out
    assert out.count("\n") == 1
    assert png.read_bytes() == before


def metadata(**texts):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return info


def test_a_finished_run_without_weights_is_printed_with_the_command_that_trains_it_again(overrides, run_script):
    figure = figures.load("8", overrides)
    write_result(figure.panels[0].run, {"top1": 90.0})
    _, out, _ = run_script("figures.py", "8", *overrides)
    assert out.count("machine.again=true") == 1


def test_without_title_a_short_run_is_noted_in_the_corner(runs):
    figure = figures.load("4", [*runs, "budget=0.5", "title=false"])
    write_result(figure.panels[0].run, {"top1": 90.0, "epochs": 1})
    png, _ = figures.paths_of(figure)
    assert png.name.startswith("no-title-4-dataset-digits")

    from lls.paper.figures import page

    drawing = page.draw_command(figure)
    page.add_title(drawing, figure)
    assert not drawing.get_suptitle()
    assert " ".join(drawing.get_supxlabel().split()).endswith("budget=0.5, 1 epoch")
    page.add_title(drawing, figure._replace(with_title=True))
    assert drawing.get_suptitle().startswith("Confusions on the test images")
    with pytest.raises(UserError, match="title=no: must be true or false"):
        figures.load("4", ["title=no"])


def test_an_empty_panel_shows_the_reason(overrides):
    from lls.paper.figures import clusters

    assert texts(clusters.draw(figures.load("8", overrides))).count("not run") == 6
    for panel in figures.load("8", overrides).panels:
        panel.run.folder.mkdir(parents=True)
        (panel.run.folder / "metrics.jsonl").write_text("{}\n" * 3)
    assert texts(clusters.draw(figures.load("8", overrides))).count("not run (3/200 epochs)") == 6
    for panel in figures.load("8", overrides).panels:
        write_result(panel.run, {"top1": 90.0, "epochs": 200, "finished": "2026"})
    assert texts(clusters.draw(figures.load("8", overrides))).count("weights not kept") == 6


def test_a_panel_names_the_classes_that_the_data_set_lacks(runs):
    from lls.paper.figures import trios

    assert any("no class\ncat, dog, truck" in text for text in texts(trios.draw(figures.load("6", runs))))


def test_a_row_of_the_confusion_matrix_is_a_true_class(runs):
    from lls.paper.figures.confusion import read_confusion

    run = figures.load("4", runs).panels[0].run
    counts, classes = read_confusion(run.folder / "confusion.csv")
    assert counts.sum() == 360
    assert classes == [str(digit) for digit in range(10)]
    assert 100 * np.trace(counts) / 360 == pytest.approx(run.result["top1"])


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


def test_distances_are_saved_until_the_run_is_trained_again(runs):
    from lls.paper.figures.features import clusters, embed_images, measure, read_clusters

    run = figures.load("8", runs).panels[2].run
    (run.folder / "clusters.json").unlink(missing_ok=True)
    assert read_clusters(run) is None
    computed = clusters(run)
    np.testing.assert_allclose(computed.distances, measure(embed_images(run, "train")).distances, atol=1e-5)
    saved = json.loads((run.folder / "clusters.json").read_text())
    (run.folder / "clusters.json").write_text(json.dumps(saved | {"finished": "another time"}))
    assert read_clusters(run) is None


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


def test_loading_an_unknown_figure_lists_the_declared_ones():
    with pytest.raises(UserError, match="there are: 3, 4"):
        figures.load("10")
