"""What README.md and the pages in docs/ promise: their commands, code, links, paths and sizes."""

import re
import runpy
import shlex
import subprocess
import warnings
from pathlib import Path

import pytest
import yaml
from documents import (
    FENCE,
    NEW_FILE,
    PAGES,
    README,
    RECIPES_PAGE,
    code_blocks,
    inline_code,
    is_template,
    problem_of,
    prose,
    shell_lines,
    simple_commands,
)
from paths import ROOT

from lls.config.compose import compose
from lls.runs.find import all_runs, tracked_files, tracked_ids
from lls.training.schedule import make_schedule

SHORT_EPOCHS = 3  # commands that train digits for at most so many epochs are really run


def relative(page):
    return str(page.relative_to(ROOT))


all_pages = pytest.mark.parametrize("page", PAGES, ids=relative)


@all_pages
def test_the_program_accepts_the_commands_of_a_page(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = [line for code in code_blocks(page, "bash") for line in shell_lines(code)]
    lines += [code for code in inline_code(page) if code.startswith(("python ", "make "))]
    problems = [problem for line in lines if (problem := problem_of(line))]
    assert not problems, "\n".join(problems)


@all_pages
def test_the_shell_blocks_of_a_page_have_valid_syntax(page):
    for code in code_blocks(page, "bash"):
        assert subprocess.run(["bash", "-n"], input=re.sub(r"<\w+>", "X", code), text=True).returncode == 0, code


@all_pages
def test_the_code_blocks_of_a_page_are_fenced_and_name_their_language(page):
    languages = {name for _, name, _ in FENCE.findall(page.read_text())}
    assert languages <= {"bash", "python", "text", "yaml", "json", "csv", "mermaid"}
    assert not re.findall(r"^ {4,}(?:python|make) .*", prose(page), re.M)


@pytest.mark.parametrize(
    "line",
    [
        "python train.py dataset=cifar1000",
        "python train.py -m method=ls,no_method",
        "OMP_NUM_THREADS=1 python scripts/runs.py --no-flag",
        "python scripts/no_script.py",
        "python scripts/runs.py && python scripts/tables.py plan 99",
        "python scripts/tables.py run 3 columns=no_column",
        "python scripts/figures.py 99",
        "python scripts/prepare_data.py no_data",
        "python -m benchmarks no_part",
        "python -m no_module",
        "make no_target",
        'make data ARGS="no_data"  # a comment',
        "make table-99",
    ],
)
def test_a_wrong_command_in_a_page_is_noticed(line):
    assert problem_of(line)


def short_digits_commands():
    for line in [line for page in PAGES for code in code_blocks(page, "bash") for line in shell_lines(code)]:
        for words in [] if is_template(line) else simple_commands(line):
            options = [word for word in words if word.startswith(("-", "dataset="))]
            if words[:2] == ["python", "train.py"] and set(options) <= {"dataset=digits"}:
                cfg = compose(words[2:])
                if make_schedule(cfg.train, cfg.budget).epochs <= SHORT_EPOCHS:
                    yield shlex.join(words[2:])


@pytest.mark.parametrize("line", sorted(set(short_digits_commands())))
def test_a_short_command_on_digits_trains(line, train_py, overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = train_py(*shlex.split(line), *overrides)
    assert status == 0, out + err
    assert list(tmp_path.glob("runs/*/result.json"))


# -- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if page != RECIPES_PAGE], ids=relative)
def test_the_python_blocks_of_a_page_run_one_after_another_as_pasted(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "pasted"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for code in code_blocks(page, "python"):
            exec(compile(code, str(page), "exec"), namespace)


@all_pages
def test_the_yaml_blocks_of_a_page_can_be_read(page):
    for code in code_blocks(page, "yaml"):
        yaml.safe_load(code)


# -- links and paths -------------------------------------------------------------------------------------------------


def links(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [link for link in targets if not re.match(r"https?:|mailto:", link)]


def anchors(page):
    """The anchors that a git host gives the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@all_pages
def test_the_links_of_a_page_lead_to_a_file_or_a_heading(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@all_pages
def test_the_paths_that_a_page_names_exist(page):
    folders = "|".join(("benchmarks", "configs", "docs", "lls", "scripts", "tests", "outputs"))
    missing, created = [], {path for path, _ in NEW_FILE.findall(page.read_text())}
    for path in set(inline_code(page)) - created:
        generated = path.startswith("outputs/") and not re.fullmatch(r"outputs/\w+\.md", path)  # by runs and scripts
        placeholder = re.search(r"[A-Z]{2,}|<", path)
        if re.fullmatch(rf"(?:{folders})/[\w./*-]*", path) and not list(ROOT.glob(path.rstrip("/"))):
            missing += [] if generated or placeholder else [path]
    assert not missing


def test_the_readme_links_all_pages():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert set(ROOT.glob("docs/*.md")) <= linked


# -- size ------------------------------------------------------------------------------------------------------------


def test_the_readme_has_at_most_130_lines_and_1100_words():
    text = README.read_text()
    assert text.count("\n") <= 130
    assert len(text.split()) <= 1100


@all_pages
def test_a_page_has_at_most_1200_words_and_160_characters_in_a_line(page):
    text = page.read_text()
    assert len(text.split()) <= 1200
    written = re.sub(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", "", text, flags=re.S)  # without what scripts write
    assert not [line for line in written.splitlines() if len(line) > 160]


# -- the README ------------------------------------------------------------------------------------------------------


def test_ci_runs_the_readmes_test_command():
    assert re.search(r"^make test\b", "".join(code_blocks(README, "bash")), re.M)
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_the_readmes_folder_map_has_all_top_folders_and_packages():
    folder_map = README.read_text().split("\n## Folder map\n")[1].split("\n## ")[0]
    mapped = re.findall(r"^([\w/.]+) +\w", FENCE.search(folder_map)[3], re.M)
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("lls/*/__init__.py")}
    tracked = {f"{name.partition('/')[0]}/" for name in tracked_files() if "/" in name and not name.startswith(".")}
    assert sorted(mapped) == sorted(packages | (tracked - {"lls/"}) | {"docs/", "train.py"})


def test_the_readme_and_the_results_page_have_the_tables_of_the_tracked_runs(monkeypatch):
    """python scripts/runs.py --readme writes both."""
    monkeypatch.chdir(ROOT)
    script = runpy.run_path(str(ROOT / "scripts" / "runs.py"))
    runs = [run for run in all_runs(Path("outputs")) if run.id in tracked_ids()]
    assert runs
    for path, text in script["result_pages"](runs).items():
        assert path.read_text() == text, f"{path.name} is stale"
