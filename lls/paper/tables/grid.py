"""The texts of a table's cells and notes, which Markdown and LaTeX share."""

from collections.abc import Callable

from lls.paper.tables.agreement import Values
from lls.paper.tables.declaration import Cell, Row, Table, heading
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.values import Value
from lls.runs.schema import NOT_RECORDED

NOT_RUN, MISSING_VALUE = "·", "–"
INSIDE, OUTSIDE, OTHER_SETUP = "≈", "≠", "†"
INTERVAL = (
    f"{INSIDE} or {OUTSIDE}: the paper's number is inside or outside our 95 % prediction interval for one more run. "
    "The spread between seeds is pooled over cells of the same data set, network and subset, of this table "
    "if one of them has two seeds, else of the other tables."
)
Emphasis = Callable[[str, int | None], str]  # (text of a cell, its rank in its column) -> text


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


def ranks(table: Table, values: Values) -> dict[tuple[str, str], int]:
    """Rank our means in each column as they are printed: 1 for the best, 2 for the second best.

    Equal means share a rank. A column whose means are all equal has no ranks.
    """
    ranked = {}
    for column in table.columns:
        metric = METRICS[column.metric]
        means = {
            row.name: round(values[row.name, column.name].mean, metric.digits)
            for row in table.rows
            if values[row.name, column.name].values
        }
        distinct = sorted(set(means.values()), reverse=not metric.lower)
        if not metric.of_runs or len(distinct) < 2:
            continue
        for row, value in means.items():
            if value in distinct[:2]:
                ranked[row, column.name] = distinct.index(value) + 1
    return ranked


def grid(table: Table, values: Values, emphasis: Emphasis, mark: Callable[[str], str]) -> list[list[str]]:
    """Return the header and rows of texts `ours / paper`, with the marks of the footnotes."""
    rank, numbered = ranks(table, values), numbered_notes(table)

    def marks(row: str | None, column: str | None) -> str:
        targets = [(str(number), (note.get("row"), note.get("column"))) for number, note in numbered]
        return "".join(mark(number) for number, target in targets if target == (row, column))

    replaced = any(text.startswith("dataset=") for text in table.overrides)  # then the paper has no numbers
    lines = [["", *(heading(table, column.name) + marks(None, column.name) for column in table.columns)]]
    for row in table.rows:
        line = [row.name + marks(row.name, None)]
        for column in table.columns:
            key = row.name, column.name
            metric = METRICS[column.metric]
            text = emphasis(format_cell(values[key], metric.digits, metric.of_runs), rank.get(key))
            line.append(_beside_paper(text, row, table.cells[key], values[key].paper_inside, replaced) + marks(*key))
        lines.append(line)
    return lines


def _beside_paper(text: str, row: Row, cell: Cell, inside: bool | None, replaced: bool) -> str:
    """Put the paper's number behind ours, `text`. Where neither has one and both use the same data: a dash."""
    if row.paper is None:
        return text
    if cell.paper is None and text == NOT_RUN and not replaced:
        return MISSING_VALUE
    mark = {True: f"{INSIDE} ", False: f"{OUTSIDE} ", None: ""}[inside]
    return f"{text} / {mark}{format_paper(cell) if cell.paper else MISSING_VALUE}"


def format_paper(cell: Cell) -> str:
    """Format the paper's number of a cell that has one, with a dagger if it is of another set-up."""
    number = f"{int(cell.paper):,}" if cell.paper.isdigit() else cell.paper
    return f"{number}{f' ± {cell.spread}' if cell.spread else ''}{OTHER_SETUP if cell.source else ''}"


def numbered_notes(table: Table) -> list[tuple[int, dict[str, str]]]:
    """Number the footnotes of the rows, columns and cells that the table shows."""
    rows, columns = {row.name for row in table.rows} | {None}, {column.name for column in table.columns} | {None}
    notes = [
        note
        for note in table.footnotes
        if ("row" in note or "column" in note) and note.get("row") in rows and note.get("column") in columns
    ]
    return list(enumerate(notes, 1))


def general_notes(table: Table, values: Values) -> list[str]:
    """Return the notes below the table that have no number: what the marks mean, and those on the whole table."""
    notes = []
    if any(value.paper_inside is not None for value in values.values()):
        separate = ", ".join(row.name for row in table.rows if row.separate_spread)
        notes.append(INTERVAL + (f" {separate}: only over those of the same row." if separate else ""))
    for source in dict.fromkeys(cell.source for cell in table.cells.values() if cell.source):
        cells = [cell for cell in table.cells.values() if cell.source == source]
        rows = ", ".join(dict.fromkeys(cell.row for cell in cells))
        columns = ", ".join(dict.fromkeys(cell.column for cell in cells))
        notes.append(f"{OTHER_SETUP} From another set-up ({rows}; {columns}): {source}")
    return notes + [note["text"] for note in table.footnotes if "row" not in note and "column" not in note]
