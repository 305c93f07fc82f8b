"""The report: self-contained, complete, and free of errors in a headless Chromium (if one is installed)."""

import json
import re
import shutil
import subprocess

import pytest
from paths import ROOT

from lls.paper import report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

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


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """An output folder with three tracked runs, a figure of one of them, and a table."""
    from lls.paper import figures

    folder = tmp_path_factory.mktemp("report")
    for name in ("lls-s0-b410ef65", "onehot-s0-7db9ac01", "ls-s0-5cafa816"):
        run = ROOT / "outputs" / "runs" / f"fashionmnist-lenet-{name}"
        shutil.copytree(run, folder / "runs" / run.name, ignore=shutil.ignore_patterns("*.pt", "wandb"))
    figures.draw(figures.load("4", ["network=lenet", "budget=0.05", f"machine.output={folder}"]))
    (folder / "tables").mkdir()
    (folder / "tables" / "3.md").write_text(
        "# Table 3\n\n| a < b | **c** |\n|---|---:|\n| `x` \\| y | <u>80.1</u> ± 0.2 |\n"
    )
    return folder


@pytest.fixture(scope="module")
def page(output):
    return report.write(output).read_text()


def test_the_page_is_self_contained(page):
    script = page.split("</style>")[1]
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert "@import" not in page
    assert "fetch(" not in script
    assert not re.findall(r"\{\{\w+\}\}", page)
    urls = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}  # the name of a namespace, which nothing loads


def test_the_page_has_all_runs_figures_and_claims(page, output):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert [run["method"] for run in data["runs"]] == ["lls", "ls", "onehot"]
    assert len(data["runs"][0]["curves"]["top1"]) == 10
    assert [figure["runs"] for figure in data["figures"]] == [[data["runs"][0]["id"]]]
    assert "budget=0.05" in data["figures"][0]["title"]
    assert len(data["claims"]) == len(report.judged_claims(output)[0])
    (matrix,) = data["matrices"]
    assert matrix["classes"][6] == "Shirt"


def test_tables_are_converted_to_html():
    text = "# T & U\n\n| a < b | **c** |\n|---|---:|\n| `x` \\| y | <u>80.1</u> |\n\nSee [it](x.md) <script>."
    assert report.markdown_html(text).splitlines() == [
        "<h3>T &amp; U</h3>",
        '<div class="wide"><table><thead><tr><th>a &lt; b</th><th><strong>c</strong></th></tr></thead>'
        "<tbody><tr><td><code>x</code> | y</td><td><u>80.1</u></td></tr></tbody></table></div>",
        "<p>See it &lt;script&gt;.</p>",
    ]


def test_a_page_without_runs_says_so(tmp_path):
    assert "No finished run has learned a Q yet" in report.page(tmp_path)


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
    assert len(answer["images"]) == 1
    assert min(answer["images"]) > 1000
    assert answer["wide"] <= 0  # nothing makes the page wider than its window
    assert answer["row"] == "Shirt"
    assert answer["bars"][0].startswith("T-shirt/top0.361")
    assert "In return, T-shirt/top gives it 0.677" in answer["says"]
    assert "60%" in answer["mark"]
    assert answer["below"] == answer["chosen"] == "Sneaker"
    assert answer["first"] == "T-shirt/top"
    assert answer["lines"] == 3
    assert "seed 0" in answer["tip"]
    assert "epoch 1" in answer["tip"]
    assert (answer["filtered"], answer["hidden"]) == (1, 0)
