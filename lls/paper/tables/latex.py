r"""LaTeX of a rendered table, to \input in a table* of a two-column article.

The paper's number stands in a smaller face below ours. Columns that do not fit in a line continue in a tabular below.
"""

import unicodedata
from collections.abc import Sequence
from itertools import groupby, zip_longest
from math import ceil
from textwrap import wrap
from typing import NamedTuple

from lls.paper.tables.grid import Grid, GridCell

# widths in digits of \normalsize, which have 5 pt
LINE_WIDTH = 94  # of 6.5 in, the width of a two-column article's text
SMALL = 0.85  # a digit of \footnotesize
CAPITAL, ARROW = 1.4, 2
GAP = 2.4  # between two columns: twice \tabcolsep
NAME_LENGTH = 24  # longer names of rows and columns are broken into lines
PREAMBLE = r"Preamble: \usepackage{booktabs} and \usepackage[T1]{fontenc}. It fits a table* of 6.5 in with 10 pt."
COMMANDS = {
    **{character: f"\\{character}" for character in "{}$&%#_"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "†": r"\dag{}", "…": r"\dots{}"},
    **{"±": r"$\pm$", "→": r"$\to$", "·": r"$\cdot$", "×": r"$\times$", "−": r"$-$", "½": r"$\frac12$"},
    **{"≈": r"$\approx$", "≠": r"$\neq$", "≤": r"$\leq$", "≥": r"$\geq$", "–": "--", "—": "---"},
}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
COMMANDS |= dict(zip("αβγδεζηθικλμνξπρστφχψω", (rf"$\{name}$" for name in GREEK.split()), strict=True))
# what pdflatex typesets of Unicode's Latin blocks with the font encoding T1, and quotation marks
LATIN = {chr(code) for code in range(0xA1, 0x180)} - set("ĦħĸĿŀŉŦŧſ") | set("‘’“”")


class Tabular(NamedTuple):
    """A grid, a text above it, and whether it is set in \\footnotesize."""

    grid: Grid
    head: str = ""
    small: bool = False


def escape(text: str) -> str:
    """Replace the characters that mean something to LaTeX. Letters that pdflatex cannot typeset become a `?`."""
    normal = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(COMMANDS.get(c) or (c if c.isascii() or c in LATIN else "?") for c in normal)


def document(comments: Sequence[str], tabulars: Sequence[Tabular], notes: Sequence[tuple[str, str]]) -> str:
    """Return comment lines, tabulars, and notes below them. The texts are not yet escaped.

    notes: the superscript in front of each note, or '', and its text."""
    lines = [f"% {' '.join(comment.split())}" for comment in [*comments, PREAMBLE]]
    for tabular in tabulars:
        lines += [rf"{{\footnotesize {escape(tabular.head)}\par}}\smallskip"] if tabular.head else []
        for block in blocks(tabular):
            lines += [r"{\footnotesize" if tabular.small else "{", *_block(block), r"\par}\medskip"]
    lines.append(r"\parbox{\linewidth}{\footnotesize\raggedright")
    lines += [rf"{_superscript(mark)}{escape(text)}\par" for mark, text in notes]
    return "\n".join([*lines, "}"]) + "\n"


def blocks(tabular: Tabular) -> list[Grid]:
    """Split the columns into the fewest blocks of equal size, the last one maybe smaller, that fit in a line."""
    columns = len(tabular.grid[0]) - 1
    for number in range(1, columns + 1):
        size = ceil(columns / number)
        starts = range(1, columns + 1, size)
        split = [[[line[0], *line[start : start + size]] for line in tabular.grid] for start in starts]
        if all(block_width(block, tabular.small) <= LINE_WIDTH for block in split):
            break
    return split


def block_width(block: Grid, small: bool = False) -> float:
    """Estimate the width of a block, in digits of \\normalsize."""
    face = SMALL if small else 1
    names, *columns = zip(*block, strict=True)
    width = GAP + face * max(_width(text) for name in names for text in wrap(name.ours, NAME_LENGTH))
    for group, members in groupby(columns, lambda column: _group(column[0])):
        widths = []
        for heading, *cells in members:
            texts = [*_heading(heading), *(cell.ours for cell in cells)]
            widths.append(max([*map(_width, texts), *(SMALL * _width(cell.paper) for cell in cells)]))
        width += GAP * len(widths) + max(face * sum(widths), face * _width(group) - GAP * (len(widths) - 1))
    return width


def _width(text: str) -> float:
    return sum(ARROW if character == "→" else CAPITAL if character.isupper() else 1 for character in text)


def _group(head: GridCell) -> str:
    """Return the part of a column's heading that neighbours may share: all but the last word before a comma."""
    group = head.ours.partition(",")[0].rpartition(" ")[0]
    return group if len(group) <= NAME_LENGTH else ""


def _heading(head: GridCell) -> list[str]:
    """Return the lines of a column's heading below that of its group."""
    return wrap(head.ours.removeprefix(_group(head)).strip(), NAME_LENGTH)


def _block(block: Grid) -> list[str]:
    head, *rows = block
    headings = [_with_notes([escape(text) for text in _heading(cell)], cell) for cell in head]
    height = max(map(len, headings))
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", *_groups(head)]
    lines += [*_rows([[""] * (height - len(heading)) + heading for heading in headings]), r"\midrule"]
    for i, (name, *cells) in enumerate(rows):
        lines += [r"\addlinespace[2pt]"] if i and any(cell.paper for cell in cells) else []
        names = _with_notes([escape(text) for text in wrap(name.ours, NAME_LENGTH)], name)
        lines += _rows([names, *map(_cell, cells)])
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _groups(head: Sequence[GridCell]) -> list[str]:
    """Return the line above the headings, with the parts that neighbours share, and the rules below these."""
    groups = [(group, len(list(members))) for group, members in groupby(map(_group, head[1:]))]
    if not any(group for group, _ in groups):
        return []
    line, rules, first = "", [], 2
    for group, columns in groups:
        line += rf" & \multicolumn{{{columns}}}{{{'c' if columns > 1 else 'r'}}}{{{escape(group)}}}"
        rules += [rf"\cmidrule(lr){{{first}-{first + columns - 1}}}"] if group and columns > 1 else []
        first += columns
    return [rf"{line} \\", *rules]


def _cell(cell: GridCell) -> list[str]:
    ours = escape(cell.ours)
    ours = {1: rf"\textbf{{{ours}}}", 2: rf"\underline{{{ours}}}"}.get(cell.rank, ours)
    return _with_notes([ours, rf"\footnotesize {escape(cell.paper)}"] if cell.paper else [ours], cell)


def _with_notes(lines: list[str], cell: GridCell) -> list[str]:
    """Append the numbers of a cell's footnotes to its last line."""
    *others, last = lines or [""]
    return [*others, last + _superscript(", ".join(map(str, cell.notes)))]


def _superscript(text: str) -> str:
    return rf"\textsuperscript{{{text}}}" if text else ""


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of one row, whose cells have one or more lines each."""
    lines = [" & ".join(texts) for texts in zip_longest(*cells, fillvalue="")]
    lines = [f"{{}}{line}" if line[0] in "[*" else line for line in lines]  # an argument of the \\ before it otherwise
    return [*(rf"{line} \\[-2pt]" for line in lines[:-1]), rf"{lines[-1]} \\"]
