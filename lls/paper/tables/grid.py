"""The texts of a table's cells, which Markdown and LaTeX share."""

from collections.abc import Sequence
from typing import NamedTuple

from lls.paper.tables.agreement import Values
from lls.paper.tables.declaration import Cell, Row, Table, heading
from lls.paper.tables.metrics import METRICS, Metric
from lls.paper.tables.notes import INSIDE, MISSING_VALUE, NOT_RUN, OTHER_SETUP, OUTSIDE, numbered_notes
from lls.paper.tables.values import Difference, Value, difference
from lls.runs.schema import NOT_RECORDED


class GridCell(NamedTuple):
    """The texts of a heading, of a row's name or of a cell."""

    ours: str
    paper: str = ""  # the paper's number with its marks; '' where the cell shows none
    rank: int | None = None  # see `ranks`
    notes: tuple[int, ...] = ()  # numbers of its footnotes


Grid = list[list[GridCell]]  # the header, then the rows


def format_cell(value: Value, digits: int, counted: bool = True) -> str:
    """Format our number of a cell.

    `mean ± std (n/N)` for n of N runs, without (n/N) if not `counted`; `diverged (n/N)` if a run has diverged; a dot
    if no run is finished.
    """
    if value.diverged:
        return f"diverged ({value.diverged}/{value.planned})"
    if not value.values:
        return f"{NOT_RECORDED} ({value.unrecorded}/{value.planned})" if value.unrecorded else NOT_RUN
    spread = "" if value.spread is None else f" ± {value.spread:,.{digits}f}"
    counts = f" ({len(value.values)}/{value.planned})" if counted else ""
    return f"{value.mean:,.{digits}f}{spread}{counts}"


def format_paper(cell: Cell) -> str:
    """Format the paper's number of a cell that has one, with a dagger if it is of another set-up."""
    number = f"{int(cell.paper):,}" if cell.paper.isdigit() else cell.paper
    return f"{number}{f' ± {cell.spread}' if cell.spread else ''}{OTHER_SETUP if cell.source else ''}"


def ranks(table: Table, values: Values) -> dict[tuple[str, str], int]:
    """Rank the rows that are clearly the best in their column.

    1: better than every other row. 2: better than every other row but that one, which must exist. Better means that the
    95 % confidence interval of the paired differences over seeds excludes 0, so two common seeds are needed. Rows
    without a number do not count.
    """
    ranked = {}
    for column in table.columns:
        metric, means = METRICS[column.metric], {}
        for row in table.rows:
            if (value := values[row.name, column.name]).values and metric.of_runs:
                means[row.name] = value.mean
        rows = sorted(means, key=means.get, reverse=not metric.lower)
        for rank in (1, 2):
            row, others = rows[rank - 1 : rank], rows[rank:]
            if not others or not all(_better(*row, other, column.name, metric, values) for other in others):
                break
            ranked[row[0], column.name] = rank
    return ranked


def _better(row: str, rival: str, column: str, metric: Metric, values: Values) -> bool:
    d = difference(row, rival, column, values)
    if d is None or d.ci_halfwidth is None:
        return False
    return (-d.mean if metric.lower else d.mean) > d.ci_halfwidth


def grid(table: Table, values: Values, *, counted: bool) -> Grid:
    """Return the texts of a table. counted: our numbers show how many runs are done and planned."""
    rank, numbered = ranks(table, values), numbered_notes(table)

    def notes(row: str | None, column: str | None) -> tuple[int, ...]:
        return tuple(number for number, _, targets in numbered if (row, column) in targets)

    replaced = any(text.startswith("dataset=") for text in table.overrides)  # then the paper has no numbers
    header = [GridCell(heading(table, column.name), notes=notes(None, column.name)) for column in table.columns]
    lines = [[GridCell(""), *header]]
    for row in table.rows:
        line = [GridCell(row.name, notes=notes(row.name, None))]
        for column in table.columns:
            key, metric = (row.name, column.name), METRICS[column.metric]
            ours = format_cell(values[key], metric.digits, counted and metric.of_runs)
            paper = _paper_text(row, table.cells[key], values[key].paper_inside)
            if paper == MISSING_VALUE and ours == NOT_RUN and not replaced:
                ours, paper = MISSING_VALUE, ""  # nothing is planned
            line.append(GridCell(ours, paper, rank.get(key), notes(*key)))
        lines.append(line)
    return lines


def _paper_text(row: Row, cell: Cell, inside: bool | None) -> str:
    if row.paper is None:
        return ""
    mark = {True: f"{INSIDE} ", False: f"{OUTSIDE} ", None: ""}[inside]
    return f"{mark}{format_paper(cell)}" if cell.paper else MISSING_VALUE


def difference_grid(table: Table, compared: Sequence[Difference], *, counted: bool) -> Grid:
    """Return the texts of differences: a row for each pair of rows, a column for each column that has differences.

    counted: the texts show the number of pairs."""
    columns = [column for column in table.columns if any(d.column == column.name for d in compared)]
    texts = {(d.row, d.rival, d.column): d for d in compared}
    lines = [[GridCell(""), *(GridCell(heading(table, column.name)) for column in columns)]]
    for row, rival in dict.fromkeys((d.row, d.rival) for d in compared):
        line = [GridCell(f"{row} − {rival}")]
        for column in columns:
            d = texts.get((row, rival, column.name))
            line.append(GridCell(_format_difference(d, METRICS[column.metric], counted) if d else MISSING_VALUE))
        lines.append(line)
    return lines


def _format_difference(d: Difference, metric: Metric, counted: bool) -> str:
    text = f"{d.mean:+,.{metric.digits}f}"
    if d.ci_halfwidth is not None:
        low, high = (f"{d.mean + sign * d.ci_halfwidth:+,.{metric.digits}f}" for sign in (-1, 1))
        text += f" [{low}, {high}]"
    if not metric.of_runs and d.percent is not None:
        text += f" ({d.percent:+.2f} %)"
    elif metric.of_runs and counted:
        text += f" (n={d.pairs})"
    return text.replace("-", "−")
