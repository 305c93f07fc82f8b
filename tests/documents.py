"""The blocks of README.md and the pages in docs/, and a check of their commands."""

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import pytest
from paths import ROOT

from lls.cli import check_arguments
from lls.config.compose import compose
from lls.errors import UserError
from lls.paper import figures, tables
from lls.paper.tables.declaration import PAPER

README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/*.md")), ROOT / "data" / "README.md"]
RECIPES_PAGE = ROOT / "docs" / "use-the-loss.md"  # test_recipes.py runs its Python blocks
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)  # indentation, language, code
NEW_FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w*\n(.*?)^```$", re.M | re.S)  # path and text of a file to create


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
