"""Figures: the declared runs, the panels of finished and of missing runs, features and distances."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results import write_result

from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import figures
from lls.runs.run import Run
from lls.training.confusion import load_confusion
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
    onehot, ls, lls = (Run(compose([*runs, f"method={method}"])).id for method in ("onehot", "ls", "lls"))
    assert pdf.read_bytes().startswith(b"%PDF")
    with Image.open(png) as image:
        assert image.width == 5.5 * 60
        drawn = image.text["Description"].split()
        assert drawn == ([lls] if name in "349" else [lls, ls, onehot])
        assert "Partly drawn" not in image.text
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
    assert not figure.drawable_runs
    (panel,) = texts(page.draw_command(figure))
    assert panel.startswith(
        "None of the 3 runs can be drawn (not run). To train them:\npython scripts/figures.py 5 budget"
    )
    assert panel.endswith("--train")


def test_figures_that_show_runs_which_are_missing_now_are_not_replaced(runs, run_script):
    """As in a fresh clone, which has no weights."""
    figure = figures.load("5", runs)
    png, _ = figures.paths_of(figure)
    png.parent.mkdir(exist_ok=True)
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


def test_an_override_may_need_another_one(tmp_path, overrides):
    """Without the data set, its root is no key; without the network, its model is none."""
    words = [*overrides, "dataset=imagefolder", f"dataset.root={tmp_path}/my images", "network=resnet18"]
    figure = figures.load("reliability", words)
    assert figure.deviations == [text for text in words if not text.startswith("machine.")]
    assert {panel.run.cfg.dataset.root for panel in figure.panels} == {f"{tmp_path}/my images"}


def metadata(**texts):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return info


def test_a_figure_of_distances_alone_names_its_runs_and_is_kept(overrides, run_script):
    """Without weights, clusters.json is enough for the lower half of Figure 8."""
    figure = figures.load("8", overrides)
    _, ls, lls = figures.runs_of([figure])
    clusters = {"finished": None, "classes": ["a", "b"], "spread": [0, 0], "distances": [[0, 1], [1, 0]]}
    for run in (ls, lls):
        write_result(run, {"top1": 90.0})
        (run.folder / "clusters.json").write_text(json.dumps(clusters))
    png, _ = figures.draw(figure, dpi=30)
    with Image.open(png) as image:
        assert image.text["Description"] == image.text["Partly drawn"] == f"{lls.id} {ls.id}"
    assert figures.lost_runs(figure) == []
    (ls.folder / "clusters.json").unlink()
    assert figures.lost_runs(figure) == [ls.id]
    assert "is not replaced" in run_script("figures.py", "8", *overrides)[1]
    Image.new("RGB", (8, 8)).save(png, pnginfo=metadata(Description=lls.id))
    assert figures.lost_runs(figure) == [lls.id]  # the PNG shows its t-SNE, too


def test_a_run_without_clusters_and_without_a_time_has_no_distances(overrides):
    from lls.paper.figures.features import read_clusters

    (run, *_) = figures.runs_of([figures.load("8", overrides)])
    write_result(run, {"top1": 90.0})  # as old results, it has no key finished
    assert read_clusters(run) is None


def test_runs_of_several_figures_are_trained_with_the_tags_of_all(overrides, run_script, monkeypatch):
    from lls.training import execute as training

    tags = {}
    monkeypatch.setattr(training, "execute", lambda run, *_: tags.setdefault(run.id, run.cfg.machine.wandb_tags))
    status, out, err = run_script("figures.py", "4", "9", "dataset=digits", "network=lenet", "--train", *overrides)
    assert status == 0, err
    figure = "-dataset-digits-network-lenet"
    shared = figures.load("4", ["dataset=digits", "network=lenet", *overrides]).panels[0].run.id
    assert tags[shared] == [f"figure-4{figure}", f"figure-9{figure}"]
    assert "4-dataset-digits-network-lenet.png; 1 missing run:\n" in out
    assert "; 9 missing runs:\n" in out


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
    run = figures.load("4", runs).panels[0].run
    counts, classes = load_confusion(run.folder / "confusion.csv")
    assert np.sum(counts) == 360
    assert classes == [str(digit) for digit in range(10)]
    assert 100 * np.trace(counts) / 360 == pytest.approx(run.result["top1"])


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
