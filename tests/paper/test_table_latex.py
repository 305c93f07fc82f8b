"""LaTeX of tables: escapes, widths and contents; compiled if pdflatex is installed."""

import re
import shutil
import subprocess

import pytest
from paths import ROOT

from lls.paper.tables import load
from lls.paper.tables.grid import GridCell
from lls.paper.tables.latex import Tabular, document, escape
from lls.paper.tables.render import render

HOSTILE = r"[a_b] {c} $d$ ~e ^f \g h&i 5% #1 <x> |y| * é ü ł ß λ → 漢 “q” a" + "\n\nb"
CHARACTERS = 94  # digits of 5 pt in 6.5 in
COLUMNS = [
    f"{data} {network}" for data in ("Tiny-ImageNet", "Flowers-102", "FMNIST") for network in ("R18", "R101→MV2")
]
ARTICLE = r"""\documentclass[twocolumn]{article}
\usepackage[margin=1in, letterpaper]{geometry}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.fixture
def compiled(tmp_path):
    """Compile tables in a two-column article: compiled(texts) -> the log of pdflatex."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")

    def compile_tables(texts):
        floats = [f"\\begin{{table*}}[p]\\centering\n{text}\\end{{table*}}\\clearpage" for text in texts]
        (tmp_path / "article.tex").write_text(ARTICLE % "\n".join(floats))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
        subprocess.run(command, cwd=tmp_path, capture_output=True)
        return (tmp_path / "article.log").read_text(errors="replace")

    return compile_tables


def filled(ours="88.88 ± 0.88", paper="≈ 88.88 ± 0.88†", columns=COLUMNS, rows=("LS", "TF-KD_self")):
    """Return a grid whose cells all have the same texts."""
    header = [GridCell(""), *map(GridCell, columns)]
    return [header, *([GridCell(row), *(GridCell(ours, paper, 1, (1, 2)) for _ in columns)] for row in rows)]


def committed():
    return sorted((ROOT / "outputs" / "tables").glob("*.tex"))


def tabulars(tex):
    """Return the texts of the tabulars' cells: of each tabular, the number of columns and the lines."""
    plain = re.sub(r"\$[^$]*\$|\\dag\{\}", "x", tex)
    plain = re.sub(r"\\(top|mid|bottom)rule|\\cmidrule\S*|\\addlinespace\S*|\\textsuperscript\{[^}]*\}", "", plain)
    plain = re.sub(r"\\(footnotesize |textbf\{|underline\{|(?=[_%&#]))|\[-2pt\]", "", plain)
    bodies = re.findall(r"\\begin\{tabular\}\{l(r+)\}(.*?)\\end\{tabular\}", plain, re.S)
    return [
        (len(columns), [[cell.strip() for cell in line.split("&")] for line in body.split(r"\\") if line.strip()])
        for columns, body in bodies
    ]


def width(lines, columns):
    """Return the number of characters of a tabular's widest line, without shared headings, with the gaps."""
    lines = [line for line in lines if not any("multicolumn" in cell for cell in line)]
    assert {len(line) for line in lines} == {columns + 1}
    return sum(max(map(len, column)) for column in zip(*lines, strict=True)) + 2.4 * (columns + 1)


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.stem)
def test_lines_of_the_committed_tables_fit_the_page(path):
    for columns, lines in tabulars(path.read_text()):
        assert width(lines, columns) < CHARACTERS


def test_columns_that_do_not_fit_continue_in_a_tabular_below():
    tex = document([], [Tabular(filled())], [])
    blocks = tabulars(tex)
    assert [columns for columns, _ in blocks] == [3, 3]
    assert [line[0] for line in blocks[1][1]] == ["", "", "LS", "", "TF-KD_self", ""]
    assert [columns for columns, _ in tabulars(document([], [Tabular(filled("88.88", ""))], []))] == [6]
    for columns, lines in blocks:
        assert width(lines, columns) < CHARACTERS


def test_neighbours_share_the_heading_of_their_data_set():
    tex = document([], [Tabular(filled("8", "", columns=["A B R18", "A B R50", "C R18, here lenet", "D"]))], [])
    assert r" & \multicolumn{2}{c}{A B} & \multicolumn{1}{r}{C} & \multicolumn{1}{r}{} \\" in tex
    assert r"\cmidrule(lr){2-3}" in tex
    assert r" & R18 & R50 & R18, here lenet & D \\" in tex


def test_the_papers_number_is_below_ours_and_counts_are_in_a_note(tmp_path):
    table = load("3", ["columns=FMNIST", "rows=1-Hot,LLS", "budget=0.5", f"machine.output={tmp_path}"])
    top1 = dict(zip((run.id for cell in table.cells.values() for run in cell.runs), (81, 82, 83, 84, 85), strict=False))
    tex = render(table, lambda run: {"top1": top1[run.id]} if run.id in top1 else None).tex
    assert "1-Hot & 82.00 $\\pm$ 1.00 \\\\[-2pt]\n & \\footnotesize 80.94 $\\pm$ 0.22 \\\\\n" in tex
    assert "Runs done / runs planned: FMNIST AlexNet 2/3 (LLS). The other cells with a number have all runs." in tex
    assert r"LLS $-$ 1-Hot & +3.00 [+3.00, +3.00] \\" in tex
    assert "\nTable 3 with columns=FMNIST, rows=1-Hot,LLS, budget=0.5.\\par\n" in tex  # a short run says so on the page
    assert r"\usepackage{booktabs} and \usepackage[T1]{fontenc}" in tex.partition(r"\begin")[0]


def test_a_difference_of_one_seed_is_left_out(tmp_path):
    table = load("3", ["columns=FMNIST", "rows=LS,LLS", "seeds=0", f"machine.output={tmp_path}"])
    text = render(table, lambda run: {"top1": 80.0})
    assert "| LLS − LS |" in text.md
    assert "LLS $-$ LS" not in text.tex


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("{}$&%#_", r"\{\}\$\&\%\#\_"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("<|>", r"\textless{}\textbar{}\textgreater{}"),
        ("≈ ≠ ± − – † → λ", r"$\approx$ $\neq$ $\pm$ $-$ -- \dag{} $\to$ $\lambda$"),
        ("“Müller” łé e\u0301 漢", "“Müller” łé é ?"),
        ("two\nlines", "two lines"),
    ],
)
def test_characters_are_escaped(text, tex):
    assert escape(text) == tex


def test_tables_compile_without_overfull_lines(compiled):
    """Hostile names, long names, and cells that are all as long as they get; then the committed tables."""
    note = [("1", HOSTILE), ("", "a sentence " * 40)]
    texts = [
        document([HOSTILE], [Tabular(filled(columns=[HOSTILE, "[x]", "*"], rows=(HOSTILE, "[y]", "*")))], note),
        document(["x"], [Tabular(filled()), Tabular(filled("+0.88 [−0.88, +0.88]", ""), "A head.", small=True)], note),
        document(["x"], [Tabular(filled("44,444,444 ± 44", "−", rows=("a long name " * 6,)))], note),
        *(path.read_text() for path in committed()),
    ]
    log = compiled(texts)
    assert not re.findall(r"^(?:! |Overfull \\hbox|.*too large for page).*", log, re.M)
    assert f"Output written on article.pdf ({len(texts)} pages" in log
