"""The report: self-contained, complete, escaped, and free of errors in a headless Chromium (if one is installed)."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT
from PIL import Image, PngImagePlugin
from results import compose_run, write_failed, write_result

from lls.paper import report
from lls.paper.report.runs import run_groups
from lls.paper.report.tables import table_html
from lls.qmatrix import QMatrix, save_q

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
HOSTILE = "<!--<script>'\"><img src=x onerror=alert(1)></script>\u2028&amp;"
HOSTILE_ID = HOSTILE.replace("/", "")  # the name of a folder
LLS, ONEHOT, LS = (f"fashionmnist-lenet-{name}" for name in ("lls-s0-b410ef65", "onehot-s0-7db9ac01", "ls-s0-5cafa816"))
TABLE = f"""# Table 3

top-1 {HOSTILE}

|  | a < b | **c**<sup>1</sup> |
|---|---:|---|
| {HOSTILE} | <u>80.1</u> ± 0.2 | · |
| LLS | `x` \\| y | 81.2 |

<sup>1</sup> See [it](x.md) and ![it](http://image).{"  "}
<script>alert(1)</script>
"""

# PROBE collects errors. DRIVE operates the page and writes what it shows, as JSON, to the title.
PROBE = """
const errors = [];
window.addEventListener("error", (event) => {
  errors.push(String(event.message));
  document.title = JSON.stringify({ errors });
});
window.addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
console.error = (...words) => errors.push(words.join(" "));
"""
DRIVE = """
const element = (id) => document.getElementById(id);
const point = (target, x, y) => {
  const box = target.getBoundingClientRect();
  const position = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true };
  target.dispatchEvent(new PointerEvent("pointermove", position));
};
const change = (target, value, kind) => { target.value = value; target.dispatchEvent(new Event(kind)); };
const lines = () => element("c-chart").querySelectorAll("path").length;
const drive = () => {
  if (!lines()) { setTimeout(drive, 50); return; }  // the chart is drawn with the first frame, which may be late
  const answer = { errors };
  document.querySelectorAll("img").forEach((image) => { image.loading = "eager"; });
  point(element("q-canvas"), 0.05, 0.65);
  answer.row = element("q-title").textContent;
  answer.bars = [...element("q-bars").children].map((bar) => bar.textContent);
  answer.says = element("q-says").textContent;
  answer.mark = element("q-mark").style.top;
  element("q-canvas").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
  answer.below = element("q-title").textContent;
  answer.chosen = element("q-class").selectedOptions[0].textContent;
  change(element("q-class"), "0", "change");
  answer.first = element("q-title").textContent;
  answer.lines = lines();
  const path = element("c-chart").querySelector("path"), at = path.getPointAtLength(0);
  const view = element("c-chart").viewBox.baseVal;
  point(element("c-chart"), at.x / view.width, at.y / view.height);
  answer.tip = element("c-tip").hidden ? null : element("c-tip").textContent;
  change(element("c-filter"), "fashionmnist-lenet", "input");
  answer.legend = [...element("c-legend").children].map((button) => button.textContent);
  answer.rows = [...element("c-table").querySelectorAll("tr[id]")].map((row) => row.checkVisibility());
  change(element("c-filter"), "onehot", "input");
  answer.filtered = lines();
  element("c-legend").querySelector("button").click();
  answer.hidden = lines();
  change(element("c-metric"), "loss", "change");
  setTimeout(() => {
    answer.images = [...document.images].map((image) => image.naturalWidth);
    answer.wide = document.documentElement.scrollWidth - innerWidth;
    document.title = JSON.stringify(answer);
  }, 1000);
};
setTimeout(drive, 200);
"""


class Parsed(HTMLParser):
    """The elements, the text outside of scripts and styles, and the scripts of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.scripts, self.raw = [], "", [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.raw = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.raw = None

    def handle_data(self, data):
        if self.raw == "script":
            self.scripts.append(data)
        elif self.raw is None:
            self.text += data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def write_tables(folder):
    folder.mkdir()
    (folder / "3.md").write_text(TABLE)
    cells = [("1-Hot", "a", f"missing {ONEHOT} {LLS}"), ("1-Hot", "c", ""), ("LLS", "a", "missing"), ("LLS", "c", LLS)]
    (folder / "3.csv").write_text("".join(f"{','.join(row)}\n" for row in [("row", "column", "runs"), *cells]))
    return folder / "3.md"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """An output folder with three tracked runs, a figure of one of them, a table, and a run with hostile names."""
    from lls.paper import figures

    folder = tmp_path_factory.mktemp("report")
    for name in (LLS, ONEHOT, LS):
        run = ROOT / "outputs" / "runs" / name
        shutil.copytree(run, folder / "runs" / name, ignore=shutil.ignore_patterns("*.pt", "wandb"))
    figures.draw(figures.load("4", ["network=lenet", "budget=0.05", f"machine.output={folder}"]))
    hostile = shutil.copytree(folder / "runs" / LS, folder / "runs" / f"z{HOSTILE_ID}")
    cfg = OmegaConf.load(hostile / "config.yaml")
    cfg.dataset.name = cfg.method.name = HOSTILE
    OmegaConf.save(cfg, hostile / "config.yaml")
    save_q(hostile / "q.safetensors", QMatrix(torch.zeros(2, 2), [HOSTILE, "b"], {}))
    metadata = PngImagePlugin.PngInfo()
    metadata.add_itxt("Title", f"Figure 9: {HOSTILE}")
    metadata.add_itxt("Description", LLS)
    Image.new("RGB", (4, 4)).save(folder / "figures" / "9.png", pnginfo=metadata)
    Image.new("RGB", (4, 4)).save(folder / "figures" / "5.png")  # not drawn by scripts/figures.py
    write_tables(folder / "tables")
    return folder


@pytest.fixture(scope="module")
def page(output):
    return report.write(output).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


def test_the_page_is_self_contained(page, parsed):
    assert all(link.startswith(("#", "data:")) for name in ("src", "href") for link in parsed.attributes(name))
    assert "@import" not in page
    assert "fetch(" not in parsed.scripts[1]
    assert "{{" not in page
    urls = set(re.findall(r"https?://[^\"'\s<)]+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}  # the name of a namespace, which nothing loads


def test_the_page_has_all_runs_figures_and_claims(parsed, output):
    data = json.loads(parsed.scripts[0])
    assert [data["groups"][run["group"]]["name"] for run in data["runs"]][1:] == [
        f"fashionmnist / lenet: {method}, budget 0.05, a short run" for method in ("lls", "ls", "onehot")
    ]
    assert len(data["runs"][1]["curves"]["top1"]) == 10
    assert data["matrices"][0]["classes"][6] == "Shirt"
    images = [attrs["alt"] for tag, attrs in parsed.elements if tag == "img"]
    assert [title.partition(":")[0] for title in images] == ["Figure 4", "Figure 9"]
    assert "budget=0.05" in images[0]
    assert sum(attrs.get("class") == "claim" for _, attrs in parsed.elements) == len(report.judged_claims(output)[0])


def test_the_first_line_counts_cells_and_claims(parsed):
    count = re.search(r"(\d+) of (\d+) cells, (\d+) of (\d+) claims decided\.", parsed.text)
    verdicts = re.search(r"(\d+) reproduced, (\d+) not reproduced, (\d+) inconclusive, (\d+) not yet run", parsed.text)
    by_verdict = [*map(int, verdicts.groups())]
    assert [*map(int, count.groups())] == [0, 227, sum(by_verdict[:2]), sum(by_verdict)]  # the runs are short


def test_names_are_escaped(parsed):
    """In attributes, texts and JSON. A page without an escape would have more elements, or none after the name."""
    assert [tag for tag, _ in parsed.elements].count("script") == 2
    assert [tag for tag, _ in parsed.elements].count("img") == 2
    assert not parsed.attributes("onerror")
    assert not set("<>&\u2028") & set(parsed.scripts[0])
    data = json.loads(parsed.scripts[0])
    assert data["matrices"][1]["classes"] == [HOSTILE, "b"]
    assert data["groups"][0]["facts"]["dataset"] == HOSTILE
    assert f"run-z{HOSTILE_ID}" in parsed.attributes("id")
    assert f"Figure 9: {HOSTILE}" in parsed.attributes("alt")


def test_cells_and_figures_link_to_runs_with_command_and_commit(parsed):
    links = parsed.attributes("href")
    ids = {f"#{name}" for name in parsed.attributes("id")}
    assert {f"#run-{ONEHOT}", f"#run-{LLS}"} <= set(links)
    assert {link for link in links if link.startswith("#")} <= ids
    command = "python train.py dataset=fashionmnist network=lenet method=onehot budget=0.05 seed=0"
    assert re.search(rf"{ONEHOT}1088\.3443cfb026d8b4{command}", parsed.text)


def test_tables_are_converted_to_html(tmp_path):
    page = table_html(write_tables(tmp_path / "tables"), {ONEHOT, LLS})
    assert "<h3>Table 3</h3>" in page
    assert '<th style="text-align:right">a &lt; b</th>' in page
    assert "<th><strong>c</strong><sup>1</sup></th>" in page
    assert f'<td style="text-align:right"><a href="#run-{ONEHOT}"><u>80.1</u> ± 0.2</a></td>' in page
    assert '<td style="text-align:right"><code>x</code> | y</td>' in page
    assert "<td>·</td>\n</tr>\n<tr>\n<td>LLS</td>" in page
    assert f'<td><a href="#run-{LLS}">81.2</a></td>' in page
    assert "<sup>1</sup> See it and !it." in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not {"script", "img"} & {tag for tag, _ in Parsed(page).elements}


def test_a_table_without_its_csv_file_has_no_links(tmp_path):
    path = write_tables(tmp_path / "tables")
    path.with_suffix(".csv").write_text("row,column,runs\n")
    assert "href" not in table_html(path, {ONEHOT})
    path.with_suffix(".csv").unlink()
    assert "href" not in table_html(path, {ONEHOT})


def test_groups_of_runs_differ_in_more_than_the_seed(overrides):
    runs = [
        compose_run(*overrides, *more)
        for more in (["seed=1"], ["seed=0"], ["budget=0.5"], ["method.alpha=0.3"], ["method=ls", "augment=cutout"])
    ]
    for run in runs[:-1]:
        write_result(run, {"top1": 80.0, "epochs": 7, "commit": "abc"})
    write_failed(runs[-1])
    runs[3].cfg.network.name = "removed"
    full, other, short, removed = run_groups(runs)
    assert [run.seed for run in full.runs] == [0, 1]
    assert full.runs[1].command == "python train.py dataset=digits network=lenet method=lls seed=1"
    assert (other.runs[0].top1, other.runs[0].epochs, other.runs[0].commit) == ("diverged", "3", "abc")
    assert other.facts["augment"] == "augment=cutout"
    assert short.name.endswith("budget 0.5, a short run")
    assert removed.runs[0].command == "not known: one of its options was removed"


def test_a_page_without_runs_says_so(tmp_path):
    page = Parsed(report.page(tmp_path))
    assert "No finished run has learned a Q yet" in page.text
    assert "No run is finished yet" in page.text
    assert json.loads(page.scripts[0]) == {"groups": [], "matrices": [], "runs": []}


@pytest.fixture(scope="module")
def answers(page, tmp_path_factory):
    """Operate the page in a window of this width: answers(1200) -> what it shows."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    folder = tmp_path_factory.mktemp("chromium")
    path = folder / "page.html"
    probed = page.replace("<head>", f"<head><script>{PROBE}</script>")
    path.write_text(probed.replace("</body>", f"<script>{DRIVE}</script></body>"))

    def drive(width):
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        command += [f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        title = re.search(r"<title>(.*?)</title>", dom, re.S)[1]
        return json.loads(title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))

    return drive


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_reacts_in_a_browser(width, answers):
    answer = answers(width)
    assert answer["errors"] == []
    assert len(answer["images"]) == 2
    assert max(answer["images"]) > 1000
    assert answer["wide"] <= 0  # nothing makes the page wider than its window
    assert answer["row"] == "Shirt"
    assert answer["bars"][0].startswith("T-shirt/top0.361")
    assert "In return, T-shirt/top gives it 0.677" in answer["says"]
    assert "60%" in answer["mark"]
    assert answer["below"] == answer["chosen"] == "Sneaker"
    assert answer["first"] == "T-shirt/top"
    assert answer["lines"] == 4
    assert answer["legend"] == ["lls", "ls", "onehot"]  # what differs among the runs that match the filter
    assert answer["rows"] == [False, True, True, True]
    assert "seed 0" in answer["tip"]
    assert "epoch 1" in answer["tip"]
    assert (answer["filtered"], answer["hidden"]) == (1, 0)
