"""The figures that the paper does not have: reliability diagrams, curves over epochs, projections, Q over epochs."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from results import compose_run, write_result

from lls.paper import figures
from lls.paper.report import page
from lls.training.execute import execute

DIGITS = ["dataset=digits", "network=lenet", "train.epochs=2", "train.warmup=1", "train.milestones=[1]"]
NAMES = ["epochs", "projection", "q-epochs", "reliability"]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Train LS and LLS on digits for two epochs. Returns the overrides that they share."""
    output = tmp_path_factory.mktemp("figures")
    machine = [f"machine.data={data}", f"machine.output={output}", "machine.wandb=disabled", "machine.device=cpu"]
    for method in ("ls", "lls"):
        execute(compose_run(*DIGITS, *machine, f"method={method}"))
    return [*DIGITS, *machine]


def texts(drawing):
    from matplotlib.text import Text

    return [text.get_text() for text in drawing.findobj(Text) if text.get_text()]


def load(name, overrides, classes=None):
    """Load a figure; its panels show these classes, if any are given."""
    figure = figures.load(name, overrides)
    return figure._replace(panels=[panel._replace(classes=classes or panel.classes) for panel in figure.panels])


def run_of(method, runs):
    return compose_run(*runs, f"method={method}")


def test_figures_without_a_number_are_not_the_papers():
    assert figures.paper_names() == ["3", "4", "5", "6", "7", "8", "9"]
    assert figures.names()[:7] == figures.paper_names()
    assert set(NAMES) < set(figures.names())


@pytest.mark.parametrize(("name", "missing"), [*zip(NAMES, (2, 1, 0, 2), strict=True)])
def test_a_figure_is_drawn_and_names_its_runs(name, missing, runs):
    figure = load(name, [*runs, "seed=0"])
    png, pdf = figures.draw(figure, dpi=60)
    assert len(figure.missing) == missing
    assert pdf.read_bytes().startswith(b"%PDF")
    with Image.open(png) as image:
        assert image.width == 5.5 * 60
        assert image.text["Title"].startswith(figure.title)
        methods = ["lls"] if name == "q-epochs" else ["lls", "ls"]
        assert image.text["Description"].split() == [run_of(method, [*runs, "seed=0"]).id for method in methods]


@pytest.mark.parametrize("name", NAMES)
def test_panels_without_a_run_show_the_reason(name, overrides):
    from importlib import import_module

    figure = figures.load(name, overrides)
    assert "not run" in texts(import_module(f"lls.paper.figures.{figure.drawing}").draw(figure))


def test_the_report_shows_them_after_the_papers(overrides, tmp_path):
    run = figures.load("8", overrides).panels[0].run  # without weights, it is drawn in part
    write_result(run, {"top1": 90.0})
    clusters = {"finished": None, "classes": ["a", "b"], "spread": [0, 0], "distances": [[0, 1], [1, 0]]}
    (run.folder / "clusters.json").write_text(json.dumps(clusters))
    for name in ("reliability", "4", "8"):
        figures.draw(figures.load(name, overrides), dpi=30)
    figures.draw(figures.load("4", [*overrides, "title=false"]), dpi=30)
    (tmp_path / "figures" / "q-of-a-run.png").write_bytes(b"no declared figure")
    text = page(tmp_path)
    section = text.partition('<section id="figures">')[2].partition("</section>")[0]
    assert 0 < section.index("Figure 4") < section.index("Reliability diagrams")
    assert section.count("Figure 4") == 1
    assert f"Drawn from {run.id}." in " ".join(section.split())
    assert "Figure 4, Reliability diagrams: no run can be drawn." in section


# -- reliability -------------------------------------------------------------------------------------------------------


def test_a_reliability_diagram_has_the_ece_of_the_result_in_its_title(runs):
    from lls.paper.figures import reliability

    ece = 100 * run_of("lls", runs).result["ece"]
    assert f"LLS\nECE {ece:.2f} %" in texts(reliability.draw(figures.load("reliability", runs)))


def test_a_run_without_reliability_csv_gets_it_from_its_weights(runs):
    from lls.paper.figures import reliability

    path = run_of("ls", runs).folder / "reliability.csv"
    recorded = path.read_text()
    path.unlink()
    assert figures.files_of([figures.load("reliability", runs)])[run_of("ls", runs).id] == {"last.pt"}
    reliability.draw(figures.load("reliability", runs))
    assert path.read_text() == recorded


def test_a_run_without_reliability_csv_and_weights_has_to_be_trained(overrides):
    figure = figures.load("reliability", overrides)
    run = figure.panels[0].run
    write_result(run, {"top1": 90.0})
    assert figures.missing_reason(run, figure.needs) == "no reliability.csv or last.pt"
    assert figures.files_of([figure])[run.id] == {"reliability.csv"}
    (run.folder / "last.pt").touch()
    assert figures.missing_reason(run, figure.needs) is None


# -- curves over epochs ------------------------------------------------------------------------------------------------


def write_rows(panel, rows):
    write_result(panel.run, {"top1": 90.0, "epochs": len(rows)})
    (panel.run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_line_is_the_mean_over_seeds_and_a_band_their_range(overrides):
    from lls.paper.figures import epochs

    figure = figures.load("epochs", overrides)
    ls = [panel for panel in figure.panels if panel.column == "LS"]
    for panel, top1 in zip(ls, (80, 84, 91), strict=True):
        write_rows(panel, [{"top1": top1 - 10, "train_top1": 50}, {"top1": top1, "train_top1": 60}])
    drawing = epochs.draw(figure)
    axes = next(axes for axes in drawing.axes if axes.get_ylabel() == "top-1 (%)")
    assert [list(line.get_ydata()) for line in axes.lines] == [[75, 85], [50, 60]]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert {70, 81, 80, 91} <= set(band)
    assert {"LS", "1-hot (not run)", "training batches"} <= set(texts(drawing))
    (ls[0].run.folder / "result.json").unlink()
    assert "LS (2 of 3 seeds)" in texts(epochs.draw(figure))


def test_measures_that_a_run_did_not_record_are_left_out(overrides):
    """A run of an older version, and a run that a later version resumed: its line begins where the measure does."""
    from lls.paper.figures import epochs

    figure = figures.load("epochs", [*overrides, "seed=0"])
    write_rows(figure.panels[0], [{"top1": 80}, {"top1": 90}])
    drawing = epochs.draw(figure)
    assert [axes.get_ylabel() for axes in drawing.axes if axes.axison] == ["top-1 (%)"]
    assert "not recorded: NLL (nats), ECE (%), mean $Q_{yy}$" in texts(drawing)
    write_rows(figure.panels[0], [{"top1": 80}, {"top1": 90, "ece": 0.1}])
    np.testing.assert_array_equal(epochs.curves([figure.panels[0].run], "ece"), [[np.nan, 0.1]])


# -- projections -------------------------------------------------------------------------------------------------------


def test_the_plane_of_three_templates():
    """Distances in the plane are kept; the first axis points to the second template, and the third is above."""
    from lls.paper.figures.projection import plane_basis

    templates = np.random.default_rng(0).normal(size=(3, 20))
    basis = plane_basis(templates)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    first, second, third = templates @ basis
    assert np.linalg.norm(third - first) == pytest.approx(np.linalg.norm(templates[2] - templates[0]))
    assert second - first == pytest.approx([np.linalg.norm(templates[1] - templates[0]), 0])
    assert third[1] > first[1]


def test_a_projection_shows_training_images_above_test_images(runs):
    from lls.paper.figures import projection

    figure = load("projection", runs, ["0", "1", "7"])
    drawing = projection.draw(figure)
    train, test = drawing.axes[2], drawing.axes[5]
    assert train.get_title() == "LLS"
    assert (train.get_xlim(), train.get_ylim()) == (test.get_xlim(), test.get_ylim())
    counts = [[len(points.get_offsets()) for points in axes.collections] for axes in (train, test)]
    assert min(counts[0]) > 100 > max(counts[1]) > 30
    assert "digits / lenet, train" in texts(drawing)
    assert any("no class\ncat, dog, truck" in text for text in texts(projection.draw(load("projection", runs))))


# -- Q over epochs -----------------------------------------------------------------------------------------------------


def test_the_strongest_classes_are_named_beside_the_lines(runs):
    from lls.paper.figures import q_epochs
    from lls.training.q_epochs import load_q_epochs

    recorded = load_q_epochs(run_of("lls", runs).folder / "q_epochs.safetensors")
    q = recorded.logits[:, 3].double().softmax(-1).numpy()
    others = [j for j in np.argsort(-q[-1]) if j != 3]
    drawing = q_epochs.draw(load("q-epochs", runs, ["3"]))
    axes = drawing.axes[0]
    assert [text.get_text() for text in axes.texts] == [str(j) for j in others[:4]]
    assert sorted(tuple(line.get_ydata()) for line in axes.lines) == sorted(tuple(q[:, j]) for j in others)
    assert f"epoch ($Q_{{yy}}$ from {q[0, 3]:.2f} to {q[1, 3]:.2f})" in texts(drawing)
    assert any("no class\nShirt" in text for text in texts(q_epochs.draw(load("q-epochs", runs))))


def test_q_that_was_not_recorded_from_the_first_epoch_on_says_where_it_begins(runs):
    from safetensors.torch import save_file

    from lls.paper.figures import q_epochs
    from lls.training.q_epochs import load_q_epochs

    path = run_of("lls", runs).folder / "q_epochs.safetensors"
    complete, recorded = path.read_bytes(), load_q_epochs(path)
    tensors = {"epochs": torch.tensor([101, 200]), "q_logits": recorded.logits}
    save_file(tensors, path, {"q": json.dumps({"classes": recorded.classes})})
    drawing = q_epochs.draw(load("q-epochs", runs, ["3"]))
    assert any(
        re.fullmatch(r"epoch \(\$Q_\{yy\}\$ from 0\.\d+ in epoch 101 to 0\.\d+\)", text) for text in texts(drawing)
    )
    path.write_bytes(complete[:200])
    assert "q_epochs.safetensors\nis broken" in texts(q_epochs.draw(load("q-epochs", runs, ["3"])))
    path.write_bytes(complete)


def test_names_beside_lines_do_not_overlap():
    from lls.paper.figures.q_epochs import spread_out

    assert spread_out([0.9, 0.5, 0.48, 0.1], 0.1) == pytest.approx([0.9, 0.5, 0.4, 0.1])


def test_a_run_that_lacks_the_file_is_trained_again_on_request(runs, run_script):
    path = run_of("lls", runs).folder / "q_epochs.safetensors"
    path.unlink()
    status, out, _ = run_script("figures.py", "q-epochs", *runs)
    assert (status, "no q_epochs.safetensors" in out) == (0, True)
    status, out, err = run_script("figures.py", "q-epochs", "--train", *runs)
    assert (status, path.exists()) == (0, True), err
    assert "missing" not in out
