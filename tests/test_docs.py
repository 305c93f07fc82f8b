"""What README.md and the pages in docs/ promise: their commands, code, links, paths and sizes."""

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from lls.cli import check_arguments
from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import figures, tables
from lls.paper.tables.declaration import PAPER
from lls.runs.find import all_runs, tracked_files, tracked_ids
from lls.training.schedule import schedule

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/*.md")), ROOT / "data" / "README.md"]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)  # indentation, language, code
NEW_FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w*\n(.*?)^```$", re.M | re.S)  # path and text of a file to create
SHORT_EPOCHS = 3  # a command that trains digits for no longer is really run

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_blocks(page, language):
    return [code for _, name, code in FENCE.findall(page.read_text()) if name == language]


def prose(page):
    """The text without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def inline_code(page):
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


# -- commands --------------------------------------------------------------------------------------------------------


def shell_lines(code):
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]


def simple_commands(line):
    """The commands of a shell line as lists of words, without variables set before them and without comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            words.append([])
        elif words[-1] or not re.match(r"[A-Z_]+=", word):
            words[-1].append(word)
    return [command for command in words if command]


def is_template(line):
    """Whether the shell or the reader has to fill something in first."""
    return "$" in line or "..." in line or re.search(r"<\w|\bNAME\b", line)


@cache
def problem_of(line):
    """What is wrong with a line of a shell, or None."""
    for words in [] if is_template(line) else simple_commands(line):
        try:
            match words:
                case ["python", "train.py", *arguments]:
                    if not {"--help", "--hydra-help", "-sc"} & set(arguments):
                        check_arguments(arguments)
                case ["python", script, *arguments] if script.endswith(".py"):
                    check_script(ROOT / script, arguments)
                case ["python", "-m", module, *arguments]:
                    assert find_spec(module), f"there is no module {module}"
                    if module == "benchmarks":
                        check_script(ROOT / "benchmarks" / "__main__.py", arguments)
                case ["make", *arguments]:
                    check_make(arguments)
        except (UserError, AssertionError) as error:
            return f"{shlex.join(words)}: {error}"
    return None


class ParsedError(BaseException):
    """Stops a script once its command line is parsed: (parser, arguments)."""


def check_script(path, arguments):
    """Parse a script's command line with the script's own parser, and check the names in it."""
    assert path.exists(), "there is no such script"
    if "--help" in arguments:
        return
    parser, parsed = parse_with(path, arguments)
    names = [word for word in getattr(parsed, "words", []) if "=" not in word]
    overrides = [word for word in getattr(parsed, "words", []) if "=" in word]
    if path.name == "tables.py":
        overrides = [text for text in overrides if not text.startswith("hydra.launcher.")]
        for name in names or ["all"]:
            for table in (PAPER if overrides else ()) if name == "all" else [name] if name != "figures" else ():
                tables.load(table, overrides)
    elif path.name == "figures.py":
        for name in names:
            figures.load(name, overrides)
    elif path.name == "contact_sheet.py":
        compose(parsed.overrides)
    else:
        for name in [*getattr(parsed, "names", []), *getattr(parsed, "parts", [])]:
            assert name in re.findall(r"[\w-]+", parser.format_help()), f"its --help has no {name}"


def parse_with(path, arguments):
    """The parser of a script, and what it makes of the arguments; nothing else of the script is run."""

    def stopping(parse):
        def stop(parser, *args, **kwargs):
            raise ParsedError(parser, parse(parser, *args, **kwargs))

        return stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *arguments])
        for name in ("parse_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except ParsedError as stopped:
            return stopped.args
        except SystemExit as refused:
            raise AssertionError(f"its parser exits with {refused.code}") from None
    raise AssertionError("it parses no command line")


def check_make(arguments):
    """Ask make what it would run, and check that."""
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "ARGS", "SMOKE")}
    dry = subprocess.run(["make", "-n", "PYTHON=python", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    for line in re.findall(r"^\.venv/bin/(python (?:train\.py|scripts/|-m benchmarks).*)", dry.stdout, re.M):
        assert (problem := problem_of(line)) is None, problem


@every_page
def test_every_command_of_a_page_is_accepted_by_the_program_that_it_calls(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = [line for code in code_blocks(page, "bash") for line in shell_lines(code)]
    lines += [code for code in inline_code(page) if code.startswith(("python ", "make "))]
    problems = [problem for line in lines if (problem := problem_of(line))]
    assert not problems, "\n".join(problems)


@every_page
def test_every_shell_block_of_a_page_is_valid_syntax(page):
    for code in code_blocks(page, "bash"):
        assert subprocess.run(["bash", "-n"], input=re.sub(r"<\w+>", "X", code), text=True).returncode == 0, code


@every_page
def test_every_code_block_of_a_page_is_fenced_and_names_its_language(page):
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
                if schedule(cfg.train, cfg.budget).epochs <= SHORT_EPOCHS:
                    yield shlex.join(words[2:])


@pytest.mark.parametrize("line", sorted(set(short_digits_commands())))
def test_a_short_command_on_digits_trains(line, train_py, overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = train_py(*shlex.split(line), *overrides)
    assert status == 0, out + err
    assert list(tmp_path.glob("runs/*/result.json"))


# -- code ------------------------------------------------------------------------------------------------------------


@every_page
def test_the_python_blocks_of_a_page_run_one_after_another_as_pasted(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "pasted"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for code in code_blocks(page, "python"):
            exec(compile(code, str(page), "exec"), namespace)


def test_the_example_of_a_new_method_trains_with_its_two_files_alone(tmp_path, overrides):
    files = dict(NEW_FILE.findall((ROOT / "docs" / "add-a-method.md").read_text()))
    (name,) = (Path(path).stem for path in files if path.startswith("lls/methods/"))
    assert set(files) == {f"lls/methods/{name}.py", f"configs/method/{name}.yaml"}
    copy = tmp_path / "copy"
    for folder in ("lls", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", copy)
    for path, text in files.items():
        (copy / path).write_text(text)
    command = [sys.executable, "train.py", f"method={name}", "budget=0.1", *overrides]
    env = {**os.environ, "PYTHONPATH": str(copy)}
    trained = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    assert list(tmp_path.glob(f"runs/digits-lenet-{name}-*/result.json"))


@every_page
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


@every_page
def test_every_link_of_a_page_leads_to_a_file_or_a_heading(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@every_page
def test_every_path_of_the_repository_that_a_page_names_exists(page):
    folders = "|".join(("benchmarks", "configs", "docs", "lls", "scripts", "tests", "outputs"))
    missing, created = [], {path for path, _ in NEW_FILE.findall(page.read_text())}
    for path in set(inline_code(page)) - created:
        generated = path.startswith("outputs/") and not re.fullmatch(r"outputs/\w+\.md", path)  # by runs and scripts
        placeholder = re.search(r"[A-Z]{2,}|<", path)
        if re.fullmatch(rf"(?:{folders})/[\w./*-]*", path) and not list(ROOT.glob(path.rstrip("/"))):
            missing += [] if generated or placeholder else [path]
    assert not missing


def test_the_readme_links_every_page_of_the_documentation():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert set(ROOT.glob("docs/*.md")) <= linked


# -- size ------------------------------------------------------------------------------------------------------------


def test_the_readme_has_at_most_130_lines_and_1100_words():
    text = README.read_text()
    assert text.count("\n") <= 130
    assert len(text.split()) <= 1100


@every_page
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


def test_the_readmes_folder_map_has_every_top_folder_and_every_package_of_lls():
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
