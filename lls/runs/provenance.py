"""Which code a run was made by: the commit, and a fingerprint of its method's and loss's source."""

import ast
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PARTS = ("lls.methods.", "lls.losses.")  # whose modules belong to a method's code, but for the interface


def commit() -> str | None:
    """The git commit of this code, with '+' where lls/, configs/ or train.py are not as committed. Where it is no git
    checkout, the environment variable LLS_COMMIT, or None."""
    root = PACKAGE.parent

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
    """Fingerprint of lls/methods/<name>.py and of the methods and losses that it imports: 12 hexadecimal digits.

    It is one of the syntax trees without docstrings and imports, so that neither comments nor formatting nor a file's
    place change it."""
    trees: dict[str, ast.Module] = {}

    def add(module: str) -> None:
        path = PACKAGE.parent / (module.replace(".", "/") + ".py")
        if module not in trees and module.startswith(PARTS) and module != "lls.methods.base" and path.exists():
            trees[module] = ast.parse(path.read_text(encoding="utf-8"))
            for imported in _imports(trees[module]):
                add(imported)

    add(f"lls.methods.{name}")
    ordered = [_plain(trees[module]) for module in sorted(trees, key=lambda module: module.rpartition(".")[2])]
    return hashlib.sha256(repr(ordered).encode()).hexdigest()[:12]


def _imports(tree: ast.Module) -> list[str]:
    """The modules that it may import: of `from a import b`, a and a.b."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _plain(node: object) -> object:
    """A syntax tree as nested lists, without docstrings, imports and empty fields, which differ between Pythons."""
    if isinstance(node, list):
        return [_plain(part) for part in node if not _left_out(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, value) for name, value in ast.iter_fields(node) if name != "ctx" and value not in (None, [])]
    return [type(node).__name__, *([name, _plain(value)] for name, value in fields)]


def _left_out(node: object) -> bool:
    string = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return string or isinstance(node, ast.Import | ast.ImportFrom)
