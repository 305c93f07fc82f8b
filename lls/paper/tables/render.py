"""A table as Markdown, CSV and LaTeX: our numbers beside the paper's. The same results give the same bytes."""

import csv
import io
from typing import NamedTuple

from lls.paper.markdown import markdown_table
from lls.paper.tables import latex
from lls.paper.tables.agreement import Values, paper_inside
from lls.paper.tables.declaration import Table
from lls.paper.tables.grid import Grid, GridCell, difference_grid, grid
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.notes import (
    MISSING_VALUE,
    NOT_RUN,
    differences_head,
    facts,
    general_notes,
    label,
    numbered_notes,
    origin,
    title,
    unfinished,
)
from lls.paper.tables.values import ResultLookup, differences, table_values

BETTER = (
    "better than every other row with a number, with 95 % confidence intervals of the paired differences that exclude 0"
)
MEANINGS = {NOT_RUN: "not run", MISSING_VALUE: "not in the paper"}


class Rendered(NamedTuple):
    md: str
    csv: str
    tex: str


def render(table: Table, lookup: ResultLookup) -> Rendered:
    """Render a table from the results that `lookup` returns for its runs."""
    values = table_values(table, lookup)
    inside = paper_inside(table, values, lookup)
    values = {key: value._replace(paper_inside=inside.get(key)) for key, value in values.items()}
    return Rendered(_markdown(table, values), _csv(table, values), _tex(table, values))


def _markdown(table: Table, values: Values) -> str:
    cells = grid(table, values, counted=True)
    summary = " · ".join([*facts(table, values), *origin(table, values)])
    lines = [f"# {title(table)}", "", summary, "", *_pipes(cells), ""]
    lines += [_legend(cells, " (runs done / runs planned)", "then the paper's number"), ""]
    lines += [f"<sup>{number}</sup> {text}  " for number, text, _ in numbered_notes(table)]
    lines += [f"{text}  " for text in general_notes(table, values)]
    if compared := differences(table, values):
        lines += ["", differences_head(table, compared), ""]
        lines += _pipes(difference_grid(table, compared, counted=True))
    return "\n".join(lines).rstrip() + "\n"


def _pipes(cells: Grid) -> list[str]:
    head, *rows = [[_markdown_cell(cell) for cell in line] for line in cells]
    return markdown_table(head, rows)


def _markdown_cell(cell: GridCell) -> str:
    ours = {1: f"**{cell.ours}**", 2: f"<u>{cell.ours}</u>"}.get(cell.rank, cell.ours)
    paper = f" / {cell.paper}" if cell.paper else ""
    notes = f"<sup>{', '.join(map(str, cell.notes))}</sup>" if cell.notes else ""
    return f"{ours}{paper}{notes}"


def _legend(cells: Grid, counts: str, paper: str) -> str:
    """Return what a cell shows, and what the marks in it mean. counts, paper: words for these parts of a cell."""
    shown = [cell for line in cells[1:] for cell in line[1:]]
    ranks, texts = {cell.rank for cell in shown}, {text for cell in shown for text in (cell.ours, cell.paper)}
    place = f", {paper}" if any(cell.paper for cell in shown) else ""
    sentences = [f"A cell shows our mean ± sample standard deviation{counts}{place}."]
    if 1 in ranks:
        second = "; underlined: the same, apart from the bold row" if 2 in ranks else ""
        sentences.append(f"Bold: {BETTER}{second}.")
    sentences += [f"{mark}: {meaning}." for mark, meaning in MEANINGS.items() if mark in texts]
    return " ".join(sentences)


def _csv(table: Table, values: Values) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["row", "column", "metric", "mean", "std", "n", "diverged", "planned"]
    head += ["best_epoch_mean", "paper", "paper_std", "paper_setup", "paper_inside", "budget", "seeds", "runs"]
    writer.writerow(head)
    for (row, column), cell in table.cells.items():
        value, digits = values[row, column], METRICS[cell.metric].digits + 2
        numbers = [f"{value.mean:.{digits}f}" if value.values else ""]
        numbers += ["" if value.spread is None else f"{value.spread:.{digits}f}"]
        numbers += [len(value.values), value.diverged, value.planned]
        best = f"{sum(value.best) / len(value.best):.{digits}f}" if value.best else ""
        runs = " ".join(run.id for run in cell.runs) if METRICS[cell.metric].of_runs else ""
        budget = " ".join(sorted({f"{run.cfg.budget:g}" for run in cell.runs}))
        seeds = " ".join(map(str, value.values))
        paper = [cell.paper, cell.spread, "other" if cell.source else ""]
        paper += [{True: "yes", False: "no", None: ""}[value.paper_inside]]
        writer.writerow([row, column, cell.metric, *numbers, best, *paper, budget, seeds, runs])
    return out.getvalue()


def _tex(table: Table, values: Values) -> str:
    """Differences of a single seed are left out: they have no interval, and the table shows both numbers."""
    of_runs = {column.name: METRICS[column.metric].of_runs for column in table.columns}
    compared = [d for d in differences(table, values) if d.ci_halfwidth is not None or not of_runs[d.column]]
    cells = grid(table, values, counted=False)
    summary = f"{'; '.join(facts(table, values))}."
    texts = [f"{label(table)}."] if table.overrides or table.smoke else []
    texts += [summary[0].upper() + summary[1:], _legend(cells, "", "and below it, smaller, the paper's number")]
    texts += [text] if (text := unfinished(table, values)) else []
    notes = [("", text) for text in texts]
    notes += [(str(number), text) for number, text, _ in numbered_notes(table)]
    notes += [("", text) for text in general_notes(table, values)]
    tabulars = [latex.Tabular(cells)]
    if compared:
        head = differences_head(table, compared)
        tabulars.append(latex.Tabular(difference_grid(table, compared, counted=False), head, small=True))
    comments = [title(table), " · ".join([*facts(table, values), *origin(table, values)])]
    return latex.document(comments, tabulars, notes)
