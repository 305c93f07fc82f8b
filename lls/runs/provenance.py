"""The code that trained a run: its git commit, and a fingerprint of the code of the method and its loss."""

import ast
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PARTS = ("lls.methods.", "lls.losses.")  # the modules that belong to the code of a method
INTERFACE = "lls.methods.base"  # the same for all methods, so not part of the code of one


def commit(root: Path = PACKAGE.parent) -> str | None:
    """Return the git commit of the checkout at `root`, with '+' if lls/, configs/ or train.py have uncommitted changes.

    If `root` is no git checkout, return the environment variable LLS_COMMIT, or None."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == root.resolve():
            changed = git("status", "--porcelain", "--untracked-files=all", "--", "lls", "configs", "train.py")
            return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        pass
    return os.environ.get("LLS_COMMIT") or None


@cache
def method_code(name: str) -> str:
    """Return the fingerprint of the code of a method: see `code_fingerprint`."""
    return code_fingerprint(name)


def code_fingerprint(name: str, package: Path = PACKAGE) -> str:
    """Return a fingerprint of methods/<name>.py and of the methods and losses that it imports: 12 hexadecimal digits.

    It hashes the syntax trees without docstrings and imports. So comments, formatting and the folder of a file do not
    change it. package: the folder of the package lls."""
    trees: dict[str, ast.Module] = {}

    def add(module: str) -> None:
        path = package.parent / (module.replace(".", "/") + ".py")
        if module not in trees and module.startswith(PARTS) and module != INTERFACE and path.exists():
            trees[module] = ast.parse(path.read_text(encoding="utf-8"))
            for imported in _imports(trees[module]):
                add(imported)

    add(f"lls.methods.{name}")
    ordered = [_to_lists(trees[module]) for module in sorted(trees, key=lambda module: module.rpartition(".")[2])]
    return hashlib.sha256(repr(ordered).encode()).hexdigest()[:12]


def _imports(tree: ast.Module) -> list[str]:
    """Return the modules that a syntax tree may import; `from a import b` gives a and a.b."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return modules


def _to_lists(node: object) -> object:
    """Convert a syntax tree to nested lists, without docstrings and imports.

    Empty fields are dropped because they differ between versions of Python."""
    if isinstance(node, list):
        return [_to_lists(part) for part in node if not _is_ignored(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, value) for name, value in ast.iter_fields(node) if name != "ctx" and value not in (None, [])]
    return [type(node).__name__, *([name, _to_lists(value)] for name, value in fields)]


def _is_ignored(node: object) -> bool:
    docstring = (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return docstring or isinstance(node, ast.Import | ast.ImportFrom)
