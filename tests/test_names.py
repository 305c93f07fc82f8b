"""Names in the code say what they name."""

import ast

import pytest
from paths import ROOT

VAGUE = set("found said own kept wanted seen every rest told there way ways how lesson look thing".split())
FILES = [*(path for folder in ("lls", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))]
FILES.append(ROOT / "train.py")


def identifiers(tree):
    """Yield the names that a module defines or uses, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias):
            yield node.asname or node.name, 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_vague(path):
    """As a whole or as a part between underscores."""
    names = identifiers(ast.parse(path.read_text(encoding="utf-8")))
    assert not [(name, line) for name, line in names if VAGUE & {*name.lower().split("_")}]


def test_a_vague_name_fails():
    names = [name for name, _ in identifiers(ast.parse("def look(how):\n    rest = how.kept_rows\n"))]
    assert {"look", "how", "rest", "kept_rows"} <= set(names)
