"""The rendered tables as HTML. Their cells link to their runs."""

import csv
from collections.abc import Collection
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup

from lls.paper.report.runs import anchor

TAGS = {f"<{slash}{name}>" for slash in ("", "/") for name in ("u", "sub", "sup", "br")}  # all others are escaped
OPEN = '<div class="wide" role="region" aria-label="table" tabindex="0"><table>\n'  # the keyboard can scroll it


def table_html(path: Path, ids: Collection[str]) -> Markup:
    """Convert NAME.md to HTML. A cell links to the first of its runs, which NAME.csv lists, that is in `ids`.

    Links and images of the Markdown text are left out: they point into the repository, not into the page."""
    tokens = _MARKDOWN.parse(path.read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h3"
        if token.type == "inline":
            token.children = [child for child in token.children if child.type not in ("link_open", "link_close")]
    for cell, runs in zip(*_cells_and_runs(tokens, path.with_suffix(".csv")), strict=True):
        if first := next((id for id in runs if id in ids), None):
            opening = Token("link_open", "a", 1, attrs={"href": anchor(first)})
            cell.children = [opening, *cell.children, Token("link_close", "a", -1)]
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _cells_and_runs(tokens: list[Token], path: Path) -> tuple[list[Token], list[list[str]]]:
    """Return the cells of the first table, row by row without the names of the rows, and the ids of their runs.

    Both lists are empty if the csv file is missing or has another number of cells."""
    end = next((i for i, token in enumerate(tokens) if token.type == "table_close"), 0)
    columns = sum(token.type == "th_open" for token in tokens[:end])
    inside = [tokens[i + 1] for i in range(end) if tokens[i].type == "td_open"]
    cells = [cell for i, cell in enumerate(inside) if i % columns]
    if not path.exists():
        return [], []
    with open(path, encoding="utf-8", newline="") as file:
        runs = [(row.get("runs") or "").split() for row in csv.DictReader(file)]
    return (cells, runs) if len(cells) == len(runs) else ([], [])


def _inline_html(self: object, tokens: list[Token], index: int, *_: object) -> str:
    text = tokens[index].content
    return text if text in TAGS else escapeHtml(text)


def _make_markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark").enable("table").disable("image")
    markdown.add_render_rule("html_inline", _inline_html)
    markdown.add_render_rule("html_block", lambda _, tokens, i, *__: f"<p>{escapeHtml(tokens[i].content)}</p>\n")
    markdown.add_render_rule("table_open", lambda *_: OPEN)
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return markdown


_MARKDOWN = _make_markdown()
