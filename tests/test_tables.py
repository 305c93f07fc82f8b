"""The paper's tables as data: their numbers, their runs, and what is rendered of them."""

import csv
import json
import re
import runpy
import shlex
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from results import write_result

from lls import host
from lls.config import assemble as composition
from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import smoke
from lls.paper.tables import cost, declaration, load, names, runs_of
from lls.paper.tables.declaration import PAPER
from lls.paper.tables.mirror import mirror
from lls.paper.tables.plan import plan
from lls.paper.tables.render import format_cell, ranks, render, title
from lls.paper.tables.results import finished, stale, tracked
from lls.paper.tables.values import Value, differences, table_values
from lls.runs.planned import run_of
from lls.runs.run import identity, teacher_run
from lls.training.execute import execute

ROOT = Path(__file__).resolve().parent.parent
METHODS = {  # what published.csv calls a row, where that is not the row's name in lower case
    "fl-3": "fl3",
    "flsd-53": "flsd53",
    "tf-kd_self": "tfkd_self",
    "tf-kd_reg": "tfkd_reg",
    "co": "cutout",
    "mx": "mixup",
    "cx": "cutmix",
    "ra": "randaugment",
}


@pytest.fixture(scope="module")
def tables():
    return {name: load(name) for name in PAPER}


@pytest.fixture
def tables_py(monkeypatch, capsys):
    """Run scripts/tables.py in this process: tables_py("plan", "3") -> (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tables.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "scripts" / "tables.py"), run_name="__main__")
        out = capsys.readouterr()
        return stopped.value.code, out.out, out.err

    return run


# -- declarations ----------------------------------------------------------------------------------------------------


def published():
    with open(ROOT / "tests" / "published.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_there_are_239_published_numbers():
    assert len(published()) == 239


@pytest.mark.parametrize("name", PAPER)
def test_papers_numbers_are_the_published_ones_to_the_digit(name, tables):
    declared = []
    for (row, column), cell in tables[name].cells.items():
        if cell.paper is not None:
            run = OmegaConf.create(dict(text.split("=", 1) for text in cell.overrides))
            network = run.network
            if name == "5":
                network = f"{run['method.teacher.network']}>{network}"
            method = " + ".join(METHODS.get(part, part) for part in row.lower().split(" + ")).replace(" + ", "+")
            method = f"kd from {method}" if name == "5" and row != "LLS-ST" else row if name == "4" else method
            what = {"parameters": "trainable parameters", "minutes": "training time, minutes"}.get(cell.metric)
            declared.append((run.dataset, network, method, cell.paper, cell.spread or "", what or "", column))
    printed = [
        (p["dataset"], p["network"], p["method"], p["value"], p["std"], p["note"] if name == "9" else "")
        for p in published()
        if p["table"] == name
    ]
    assert sorted(entry[:-1] for entry in declared) == sorted(printed)


@pytest.mark.parametrize("name", names())
def test_every_declaration_is_whole(name):
    """Its footnotes and comparisons name rows and columns that there are; its comment says how to run it."""
    table = load(name)
    rows, columns = {row.name for row in table.rows}, {column.name for column in table.columns}
    text = (ROOT / "configs" / "table" / f"{name}.yaml").read_text()
    if "\nof:" not in text:
        assert {note.get("row") for note in table.footnotes} <= rows | {None}
        assert {note.get("column") for note in table.footnotes} <= columns | {None}
    assert set(table.compare) | {rival for rivals in table.compare.values() for rival in rivals} <= rows
    assert f"scripts/tables.py run {name}\n" in text or "scripts/tables.py time" in text
    assert all(len(cell.runs) == len(table.seeds) for cell in table.cells.values() if cell.paper)


# -- runs ------------------------------------------------------------------------------------------------------------


def test_the_nine_tables_are_280_runs_of_which_23_teach(tables):
    """32, 37, 90, 36, 40, 17, 16 and 20 of the eight tables with runs, of which Table 4 shares 4 (its LLS row) and
    Table 8 another 4 (its first two rows) with tables before. Table 6 counts the full-data LLS run of FashionMNIST with
    ResNet-18, which is in no table; all other teachers are some table's cells."""
    runs = runs_of(tables.values())
    assert len(runs) == len({run.id for run in runs}) == 280
    alone = {name: len(runs_of([table])) for name, table in tables.items()}
    assert alone["3"] == 90
    assert alone["9"] == 0
    before, new = set(), {}
    for name, table in tables.items():
        ids = {run.id for run in runs_of([table])}
        new[name], before = len(ids - before), before | ids
    assert list(new.values()) == [32, 37, 90, 32, 40, 17, 16, 16, 0]
    assert len({teacher.id for run in runs if (teacher := teacher_run(run))}) == 23


def test_a_teacher_comes_before_its_students(tables):
    runs = runs_of(tables.values())
    place = {run.id: i for i, run in enumerate(runs)}
    taught = [run for run in runs if teacher_run(run)]
    assert len(taught) == 50
    assert all(place[teacher_run(run).id] < place[run.id] for run in taught)
    assert [run.id for run in runs_of(tables.values())] == [run.id for run in runs]


def test_figures_are_trained_by_the_same_overrides(tables_py, tmp_path, monkeypatch):
    """`run figures` trains no table; the weights that a figure needs are asked for."""
    started = {}
    monkeypatch.setattr("lls.launch.start.train_missing", lambda runs, **keys: started.update(keys, runs=runs) or [])
    status, out, _ = tables_py("run", "figures", "budget=0.05", "seeds=1", f"machine.output={tmp_path}", "--jobs=2")
    assert (status, out, started["jobs"]) == (0, "", 2)
    assert len(started["runs"]) == 37
    assert {(run.cfg.budget, run.folder.parents[1]) for run in started["runs"]} == {(0.05, tmp_path)}
    (lenet,) = (r for r in started["runs"] if (r.cfg.network.name, r.cfg.dataset.name, r.cfg.method.name) ==
                ("lenet", "fashionmnist", "ls"))  # fmt: skip
    assert started["files"][lenet.id] == {"last.pt"}


def test_planned_runs_are_what_train_py_composes(tables):
    """Hydra's own composition, of every fifteenth run; the assembly of options changes nothing."""
    cells = [(cell, i) for table in tables.values() for cell in table.cells.values() for i in range(len(cell.runs))]
    for cell, i in cells[::15]:
        run = cell.runs[i]
        ours = composition.compose_with_hydra([*cell.overrides, f"seed={run.cfg.seed}"])
        assert identity(ours) == run.id
        assert OmegaConf.to_container(ours, resolve=True) == OmegaConf.to_container(run.cfg, resolve=True)
        assert OmegaConf.is_struct(run.cfg)
        if teacher := teacher_run(run):
            assert teacher_run(run).id == teacher.id


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=tinyimagenet", "method=zipf", "network.pool=global", "method.lam=1.0"],
        ["method=tfkd_reg_resnet50", "dataset=cub200", "network=resnet50", "seed=2"],
        ["method=kd", "dataset=cifar100", "method.teacher.network=resnet34", "method.teacher.overrides=['budget=0.5']"],
        ["network=resnet34", "dataset=animals10n", "augment=cutout", "method.terms=[1, 0, 0, 1]", "train.lr=1e-2"],
        ["dataset=imagenet100", "dataset.classes=cmc", "train.milestones=[1, 2]", "++seed=3"],
    ],
)
def test_assembled_is_what_hydra_composes(overrides):
    assembled, hydras = compose(overrides), composition.compose_with_hydra(overrides)
    assert OmegaConf.to_yaml(assembled) == OmegaConf.to_yaml(hydras)
    assert OmegaConf.is_struct(assembled)


def test_an_option_that_sets_more_than_its_own_keys_is_left_to_hydra():
    section = composition.option_section
    assert section("method", "ols").keys() == compose(["method=ols"]).method.keys()
    assert section("method", "ols_fine") == OmegaConf.to_container(compose(["method=ols_fine"]).method)
    assert section("dataset", "cifar100") is None  # it has a header
    default, same, other = (
        OmegaConf.to_container(composition.compose_with_hydra(words))
        for words in ([], ["method=ols_fine"], ["method=ols_fine", "dataset=cifar100"])
    )
    assert composition.changed_section("method", same, default) == section("method", "ols_fine")
    assert composition.changed_section("method", other, default) is None


def test_methods_follow_network_and_data(tables):
    def method(name, row, column):
        return tables[name].cells[row, column].runs[0].cfg

    assert method("1", "TF-KD_reg", "CUB-200 MV2").method.temperature == 40
    assert method("1", "TF-KD_reg", "CUB-200 R50").method.temperature == 6
    assert method("1", "OLS", "CUB-200 R50").method.cap == 0.88
    assert method("2", "TF-KD_self", "Tiny-ImageNet R50").method.multiplier == 1
    tiny, cifar = method("2", "Zipf", "Tiny-ImageNet R18"), method("2", "Zipf", "CIFAR100 R18")
    assert (tiny.method.lam, tiny.network.pool, cifar.method.lam, cifar.network.pool) == (1.0, "global", 0.1, "2x2")
    for column in ("ImageNet100", "FMNIST"):
        student = tables["7"].cells["LLS-ST", column].runs[0]
        assert (student.cfg.dataset.subset, teacher_run(student).cfg.dataset.subset) == ("classes", None)
    assert teacher_run(tables["5"].cells["LS", "CUB-200 R101→MV2"].runs[0]).id.startswith("cub200-resnet101-ls-")


def test_overrides_of_a_table_win_and_name_its_files():
    table = load("3", ["columns=FMNIST", "seeds=4,5", "network=lenet", "budget=0.05", "machine.device=cpu"])
    assert (len(table.cells), table.seeds) == (5, (4, 5))
    assert {(r.cfg.network.name, r.cfg.budget) for r in runs_of([table])} == {("lenet", 0.05)}
    assert table.name == "3-columns-FMNIST-seeds-4-5-network-lenet-budget-0.05"
    assert title(table).startswith("Table 3 with columns=FMNIST, seeds=4,5, network=lenet, budget=0.05: ")


def test_another_data_set_is_named_and_stands_beside_no_number_of_the_paper():
    table = load("3", ["columns=FMNIST", "rows=LLS", "dataset=digits", "network=lenet"])
    text = render(table, lambda run: None).md
    assert "| FMNIST AlexNet, here digits lenet |" in text
    assert "| LLS | · / – |" in text
    assert "<sup>" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("of: '3'\noverides: [budget=0.1]\n", "overides; did you mean 'overrides'?"),
        ("of: '3'\noverrides: budget=0.1\n", "overrides: must be a list"),
        ("of: '3'\n", "has no key overrides"),
        ("of: '3'\noverrides: []\nseeds: [0]\n", "no such key: seeds"),
        ("title: x\nmetric: top1\ncolumns: []\nrows: []\n", "has no key seeds"),
    ],
)
def test_a_yaml_of_ones_own_is_checked(text, said, tmp_path, monkeypatch):
    monkeypatch.setattr(declaration, "FOLDER", tmp_path)
    monkeypatch.setattr(declaration, "CONFIGS", tmp_path / "configs")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^mine.yaml: [^\n]*$") as error:
        declaration._declared.__wrapped__("mine")
    assert said in str(error.value)


def test_all_cells_are_planned_when_asked_for():
    some, every = load("2", ["columns=R101"]), load("2", ["columns=R101"], all_cells=True)
    assert sum(len(cell.runs) for cell in some.cells.values()) == 9
    assert sum(len(cell.runs) for cell in every.cells.values()) == 18


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("10", [], "10: no such table"),
        ("3", ["columns=MNISTT"], "MNISTT: table 3 has no such column (there are: SVHN LeNet"),
        ("3", ["rows=nothing"], "nothing: table 3 has no such row"),
        ("3", ["seeds=a"], "seeds=a: whole numbers with commas between them"),
        ("3", ["bugdet=1"], "no such key: bugdet; did you mean 'budget'?"),
    ],
)
def test_mistakes_are_one_line(name, overrides, words):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        load(name, overrides)
    assert words in str(error.value)


# -- the plan --------------------------------------------------------------------------------------------------------


def test_commands_are_the_runs(tables_py, tables):
    status, out, _ = tables_py("plan", "6", "2", "columns=FMNIST,R18")
    lines = [line for line in out.splitlines() if "python train.py" in line]
    assert status == 0
    assert lines
    for line in lines:
        command = shlex.split(line[line.index("python train.py") :])[2:]
        assert identity(composition.compose_with_hydra(command)) == line.split()[0]


def test_plan_tells_done_partial_and_to_do(tables_py, tmp_path):
    words = ["3", "columns=FMNIST", "rows=LLS", f"machine.output={tmp_path}", "budget=0.05"]
    runs = load("3", words[1:]).cells["LLS", "FMNIST AlexNet"].runs
    for run in runs[:2]:
        run.write_config()
        (run.folder / "metrics.jsonl").write_text("{}\n" * 4)
    result = {"dataset": "fashionmnist", "network": "alexnet", "device": "nowhere", "seconds": 1, "epochs": 1}
    write_result(runs[0], result)
    status, out, _ = tables_py("plan", *words)
    assert status == 0
    heading, *told = (re.split(r"  +", line) for line in out.splitlines()[:4])
    assert heading == ["run", "state", "time left", "command"]
    assert [state for _, state, *_ in told] == ["done", "4/10 epochs", "to do"]
    assert [len(cells) for cells in told] == [3, 4, 4]  # no time is left for what is done
    assert "3 runs, 0 of them teachers of others: 1 done, 1 partial, 1 to do" in out


def test_plan_tells_what_would_be_trained_again(tables_py, tmp_path):
    """A run that is done, of which a figure needs the weights; and `figures` alone are no tables."""
    output = f"machine.output={tmp_path}"
    run = run_of(["dataset=fashionmnist", "network=lenet", "method=ls", output])
    run.write_config()
    write_result(run, {"dataset": "fashionmnist", "network": "lenet", "device": "nowhere", "seconds": 1, "epochs": 200})
    status, out, _ = tables_py("plan", "figures", output, "columns=nothing")
    assert status == 0
    (line,) = (line for line in out.splitlines() if line.startswith(run.id))
    assert line.split()[1:3] == ["no", "last.pt"]
    assert f"python train.py dataset=fashionmnist network=lenet method=ls {output}" in line
    assert "37 runs, 0 of them teachers of others: 0 done, 0 partial, 37 to do" in out


def test_the_rate_is_measured_once_on_each_machine(tmp_path, monkeypatch):
    """The folder of what is known may be on a disk that several share, or be copied."""
    monkeypatch.setattr(cost, "FOLDER", tmp_path)
    measured = iter([cost.Rate("slow", 1e9), cost.Rate("fast", 1e12)])
    monkeypatch.setattr(cost, "_measure", lambda: next(measured))
    assert [cost.rate().device, cost.rate().device] == ["slow", "slow"]
    monkeypatch.setattr(host, "processor_name", lambda: "another")
    assert [cost.rate().device, cost.rate().device] == ["fast", "fast"]


def test_time_left_is_from_finished_runs_where_there_are_some(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "rate", lambda: cost.Rate("here", 1e12))
    table = load("3", ["columns=FMNIST", "rows=LLS", f"machine.output={tmp_path}"])
    by_flops = plan([table], tmp_path)
    flops = 60_000 * 3 * cost.size_of(by_flops[0].run).flops + 10_000 * cost.size_of(by_flops[0].run).flops
    assert by_flops[0].seconds == pytest.approx(200 * max(flops / 1e12, 468 * cost.STEP))
    run = by_flops[2].run
    run.write_config()
    write_result(
        run, {"dataset": "fashionmnist", "network": "alexnet", "device": "here", "seconds": 100.0, "epochs": 200}
    )
    seen = plan([table], tmp_path)
    assert [p.seconds for p in seen] == [100, 100, 0]
    assert seen[0].measured


def test_counts_are_table_9s(tables):
    assert cost.parameters(tables["9"].cells["LLS", "R18 parameters"].runs[0]) == 11_618_632


# -- rendering -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rendered(tmp_path):
    """Table 3's FashionMNIST column with results of our own: by row, its top-1 by seed."""

    def make(**top1):
        table = load("3", ["columns=FMNIST", f"machine.output={tmp_path}"])
        results = {}
        for row, values in top1.items():
            for run, value in zip(table.cells[row.replace("_", "-"), "FMNIST AlexNet"].runs, values, strict=False):
                results[run.id] = {"top1": value, "top1_best": value + 1, "commit": "abc, def+"}
        return table, render(table, lambda run: results.get(run.id)), results

    return make


def test_cells_are_ours_beside_the_papers(rendered):
    table, text, _ = rendered(LLS=[81, 82, 83], LS=[82.5], **{"1_Hot": [80, 81.5]})
    assert "| LLS | <u>82.00 ± 1.00 (3/3)</u> / 81.56 ± 0.23 |" in text.md
    assert "| LS | **82.50 (1/3)** / 81.15 ± 0.24 |" in text.md
    assert "| OLS | · / 81.21 ± 0.30 |" in text.md
    assert "top-1 accuracy (%), last epoch · budget 1 · seeds 0, 1, 2 · commits abc, def+" in text.md
    assert "SVHN" in title(table)
    row = next(csv.DictReader(text.csv.splitlines()[:1] + [line for line in text.csv.splitlines() if "LLS" in line]))
    assert (row["mean"], row["std"], row["n"], row["best_epoch_mean"]) == ("82.0000", "1.0000", "3", "83.0000")
    assert r"\underline{82.00 $\pm$ 1.00 (3/3)} / 81.56 $\pm$ 0.23" in text.tex


def test_differences_are_paired_over_seeds_with_students_interval(rendered):
    """d = 1, 2, 0.5 with n = 3: mean 1.1667, s = 0.7638, half = 4.3027 s / sqrt(3) = 1.8973."""
    _, text, _ = rendered(LLS=[82, 83, 81], LS=[81, 81, 80.5], **{"1_Hot": [80]})
    assert "| LLS − LS | +1.17 [−0.73, +3.06] (n=3) |" in text.md
    assert "| LLS − 1-Hot | +2.00 (n=1) |" in text.md
    assert "n=1 has none" in text.md


def test_one_seed_has_no_interval_and_says_so(rendered):
    _, text, _ = rendered(LLS=[82], LS=[81])
    assert "with one seed there is no interval" in text.md
    assert "[" not in text.md.split("LLS − LS")[1]


def test_equal_when_printed_is_equal_and_lower_can_be_better():
    table = load("calibration", ["columns=SVHN"])
    cells = {key: Value({}, (), 1, ()) for key in table.cells}
    for row, value in (("LLS", 2.001), ("LS", 2.004), ("OLS", 3.0), ("1-Hot", 4.0)):
        cells[row, "SVHN LeNet ECE"] = Value({0: value}, (), 1, ())
    places = {row: rank for (row, _), rank in ranks(table, cells).items()}
    assert places == {"LLS": 1, "LS": 1, "OLS": 2}
    assert format_cell(cells["Zipf", "SVHN LeNet ECE"], 2) == "·"


def test_minutes_are_paired(tmp_path):
    table = load("9", [f"machine.output={tmp_path}", "columns=R18"])
    seconds = {"onehot": [0.1, 0.2, 0.1], "ls": [0.1, 0.2, 0.1], "lls": [0.11, 0.21, 0.11]}
    (tmp_path / "timing").mkdir()
    (tmp_path / "timing" / "tinyimagenet-resnet18.json").write_text(json.dumps({"seconds_of_a_step": seconds}))
    found = {d.column: d for d in differences(table, table_values(table, finished))}
    minutes = found["R18 minutes"]
    assert minutes.mean == pytest.approx(0.01 * 1562 * 100 / 60)
    assert minutes.ci_halfwidth == pytest.approx(0, abs=1e-9)
    assert minutes.pairs == 3
    assert f"{found['R18 parameters'].percent:.3f}" == "0.345"


def test_methods_take_turns(tmp_path):
    """What `tables.py time` writes is what Table 9 shows, of small networks here."""
    from lls.paper.tables.timing import measure, minutes

    table = load("9", [f"machine.output={tmp_path}", "columns=R18 minutes"], smoke=True)
    runs = [cell.runs[0] for cell in table.cells.values()]
    measured = json.loads(measure(runs, 3).read_text())["seconds_of_a_step"]
    assert {name: len(seconds) for name, seconds in measured.items()} == {"onehot": 3, "ls": 3, "lls": 3}
    assert minutes(runs[2]) == [second * 10 * 2 / 60 for second in measured["lls"]]
    text = render(table, finished).md
    assert "· / 142" not in text
    assert "timed on cpu (" in text


def test_nothing_run_is_a_dot_and_nothing_in_the_paper_a_dash(rendered):
    text = render(load("2", ["columns=CIFAR100 R34", "machine.output=nowhere"]), finished).md
    assert "| OLS | · / 79.96 |" in text
    assert "| FL-3 | – |" in text


def test_the_same_results_give_the_same_bytes(rendered):
    assert rendered(LLS=[82, 83, 81])[1] == rendered(LLS=[82, 83, 81])[1]


def test_pipes_and_percent_are_escaped():
    tex = render(load("9", ["columns=R18"]), finished).tex
    assert r"+0.345 \%" in tex
    assert not [line for line in tex.splitlines() if not line.startswith("%") and "%" in line.replace(r"\%", "")]


# -- what is committed -----------------------------------------------------------------------------------------------


def test_committed_tables_are_those_of_the_committed_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert stale() == []


def test_check_finds_what_is_stale(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    for path in (ROOT / "outputs" / "tables").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "2.csv").write_text("")
    (tmp_path / "4.tex").unlink()
    assert stale(tmp_path) == ["2.csv is stale", "4.tex is missing"]


def test_fashionmnist_with_a_lenet_is_rendered_from_tracked_runs(monkeypatch):
    """Five methods, three seeds, budget 0.05, said in the title."""
    monkeypatch.chdir(ROOT)
    table = load("3-fashionmnist-lenet")
    values = table_values(table, tracked)
    assert [len(value.values) for value in values.values()] == [3] * 5
    text = (ROOT / "outputs" / "tables" / "3-fashionmnist-lenet.md").read_text()
    assert text.startswith("# Table 3 with columns=FMNIST, network=lenet, budget=0.05: ")
    assert "90.22 ± 0.42 (3/3)" in text


# -- smoke -----------------------------------------------------------------------------------------------------------


def test_smoke_keeps_all_runs_apart_and_away(tables):
    small = [load(name, smoke=True) for name in PAPER]
    runs = runs_of(small)
    assert len({run.id for run in runs}) == len(runs) == 280
    assert {str(run.cfg.machine.output) for run in runs} == {"outputs/smoke"}
    assert Counter(run.cfg.dataset.name for run in runs) == Counter(
        r.cfg.dataset.name for r in runs_of(tables.values())
    )
    assert {run.cfg.train.epochs for run in runs} == {2}
    assert all(run.cfg.network.get("width", 0.125) == 0.125 for run in runs)
    (count,) = small[8].cells["1-hot", "R101 parameters"].runs
    assert count.cfg.network.get("width") is None


@pytest.mark.parametrize("dataset", smoke.GENERATED)
def test_smoke_has_every_class_under_its_name(dataset):
    classes = smoke.class_names(dataset)
    assert len(classes) == len(set(classes)) == compose([f"dataset={dataset}"]).dataset.num_classes
    assert not any("/" in name for name in classes)


def test_smoke_has_a_form_for_images_of_ones_own_and_refuses_as_ever(tmp_path):
    (run, *_) = runs_of([load("3", ["dataset=imagefolder", f"dataset.root={tmp_path}"], smoke=True)])
    assert run.cfg.train.batch_size == 40
    assert cost.images_of(run) is None
    for word, nearest in (("network=leenet", "lenet"), ("dataset=cifar1000", "cifar100")):
        with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
            load("3", [word], smoke=True)
    with pytest.raises(UserError, match="resnet43"):
        runs_of([load("5", ["method.teacher.network=resnet43"], smoke=True)])


def test_smoke_trains_a_table_to_its_last_cell(tmp_path, monkeypatch, capsys):
    """Generated images, a narrow network, a Q of the full data that teaches a half of them; once is enough."""
    monkeypatch.setattr(smoke, "class_names", lambda dataset: [*"0123456789"] if dataset == "fashionmnist" else ["0"])
    smoke.make_data(tmp_path / "data")
    where = [f"machine.output={tmp_path}", f"machine.data={tmp_path / 'data'}"]
    table = load("6", ["columns=FMNIST", "rows=LLS", *where], smoke=True)
    before = render(table, finished)
    runs = runs_of([table])
    assert [run.cfg.method.name for run in runs] == ["lls", "lls", "lls_st"]
    for run in runs:
        execute(run)
    assert "· / 87.56" in before.md
    assert "·" not in render(table, finished).csv + render(table, finished).md.split("Ours:")[0].partition("commits")[2]
    capsys.readouterr()
    execute(runs[0])
    assert "already done" in capsys.readouterr().out
    assert not list((tmp_path / "data").glob(".*"))


# -- W&B -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch, tmp_path):
    """No key, no settings and no folder of the user's."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_runs_group_is_its_table():
    assert {run.cfg.machine.wandb_group for run in runs_of([load("8"), load("9")])} == {"table-8"}
    given = load("8", ["machine.wandb_group=mine"])
    assert {run.cfg.machine.wandb_group for run in runs_of([given])} == {"mine"}


def test_tables_are_mirrored(home, tmp_path):
    mirror([load("6"), load("7")], tmp_path, "offline")
    found = sorted(tmp_path.glob("wandb/offline-run-*/files/media/table/*.json"))
    assert [path.name.partition("_")[0] for path in found] == ["table-6", "table-7"]
    text = json.loads(found[0].read_text())
    assert text["columns"][:3] == [title(load("6")), "ImageNet100", "ImageNet100, paper"]
    assert text["data"][3][:3] == ["LLS-ST", "·", "79.02"]


def test_trouble_of_wandb_costs_no_table(home, tmp_path, monkeypatch, capsys):
    def broken(**_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("wandb.init", broken)
    mirror([load("6")], tmp_path, "offline")
    assert capsys.readouterr().out == "W&B is not used, for tables (out of order)\n"


def test_sync_sends_what_wandb_has_not_got(tmp_path, monkeypatch, capsys):
    runs = [run_of([f"machine.output={tmp_path}", f"seed={seed}"]) for seed in range(3)]
    for run in runs:
        run.write_config()
        (run.folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n')
    write_result(runs[2], {"top1": 90.0})
    sent = {}

    class Mirror:
        settings = SimpleNamespace(mode="online")

        def __init__(self, run):
            self.rows, self.summary = sent.setdefault(run.id, []), {}

        def log(self, row, step):
            self.rows.append((step, row["loss"]))

        def finish(self):
            self.rows.append(self.summary)

    known = [SimpleNamespace(id=runs[0].id, lastHistoryStep=2), SimpleNamespace(id=runs[1].id, lastHistoryStep=1)]
    monkeypatch.setattr("wandb.login", lambda **_: True)
    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(runs=lambda project, lazy: known))
    monkeypatch.setattr("lls.training.logger.start_wandb", Mirror)
    monkeypatch.setattr(sys, "argv", ["sync.py", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "scripts" / "sync.py"), run_name="__main__")
    assert not stopped.value.code
    rows = [(1, 0.5), (2, 0.25)]
    assert sent == {runs[1].id: [*rows, {}], runs[2].id: [*rows, {"top1": 90.0}]}
    assert "2 runs sent; W&B had the other 1" in capsys.readouterr().out


def test_sync_without_a_key_is_one_line(home, tmp_path, monkeypatch, capsys):
    run = run_of([f"machine.output={tmp_path}"])
    run.write_config()
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1}\n')
    monkeypatch.setattr("wandb.login", lambda **_: False)
    monkeypatch.setattr(sys, "argv", ["sync.py", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "scripts" / "sync.py"), run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: W&B can't be reached (no API key: run `wandb login`)\n"
