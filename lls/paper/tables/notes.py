"""The texts around a table: title, facts and notes. They are about the rows and columns that the table shows."""

from collections.abc import Sequence

from lls.paper.tables.agreement import Values
from lls.paper.tables.declaration import PAPER, Table
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.values import Difference

NOT_RUN, MISSING_VALUE = "·", "–"
INSIDE, OUTSIDE, OTHER_SETUP = "≈", "≠", "†"
INTERVAL = (
    f"{INSIDE} or {OUTSIDE}: the paper's number is inside or outside our 95 % prediction interval for one more run. "
    "The spread between seeds is pooled over cells of the same data set, network and subset, of this table "
    "if one of them has two seeds, else of the other tables."
)

CI = ", with its 95 % confidence interval (Student's t)"


def label(table: Table) -> str:
    """Return a table's number or name, and its overrides of the paper's set-up."""
    words = f"Table {table.base}" if table.base in PAPER else table.base[:1].upper() + table.base[1:]
    if table.overrides:
        words += f" with {', '.join(table.overrides)}"
    return f"{'SMOKE, no results: ' if table.smoke else ''}{words}"


def title(table: Table) -> str:
    """Return a table's label and its declared title."""
    return f"{label(table)}: {table.title}"


def facts(table: Table, values: Values) -> list[str]:
    """Return the metrics, the budget, the seeds and, for minutes, the device, as texts.

    Where the paper's numbers are compared with our prediction intervals, one text counts those that are inside."""
    runs = [run for cell in table.cells.values() for run in cell.runs]
    texts = ["; ".join(METRICS[name].words for name in dict.fromkeys(column.metric for column in table.columns))]
    texts.append(f"budget {', '.join(f'{budget:g}' for budget in sorted({run.cfg.budget for run in runs}))}")
    texts.append(_seeds(table))
    if timed := [run for cell in table.cells.values() if cell.metric == "minutes" for run in cell.runs]:
        from lls.paper.tables.timing import timed_on

        devices = sorted({device for run in timed if (device := timed_on(run))})
        texts.append(f"timed on {'; '.join(devices)}" if devices else "not timed yet")
    if inside := [value.paper_inside for value in values.values() if value.paper_inside is not None]:
        counted = f"{sum(inside)} of {len(inside)} cell{'s' * (len(inside) > 1)}"
        texts.append(f"the paper's number is inside our 95 % prediction interval in {counted}")
    return texts


def origin(table: Table, values: Values) -> list[str]:
    """Return the commits of the runs as a text, or none if the table shows no results of runs."""
    if not any(METRICS[column.metric].of_runs for column in table.columns):
        return []
    commits = sorted({commit for value in values.values() for commit in value.commits})
    return [f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}" if commits else "no finished runs yet"]


def _seeds(table: Table) -> str:
    """Return the seeds that most columns have; and, in parentheses, the columns with others."""
    names: dict[str, list[str]] = {}
    for column in table.columns:
        names.setdefault(", ".join(map(str, column.seeds)), []).append(column.name)
    usual = max(names, key=lambda seeds: len(names[seeds]))
    others = [f"{', '.join(columns)}: {seeds}" for seeds, columns in names.items() if seeds != usual]
    word = "seeds" if others or "," in usual else "seed"
    return f"{word} {usual} ({'; '.join(others)})" if others else f"{word} {usual}"


def unfinished(table: Table, values: Values) -> str:
    """Return the cells that have some of their runs but not all, by column; '' if there are none."""
    rows: dict[str, list[str]] = {}
    for (row, column), value in values.items():
        if METRICS[table.cells[row, column].metric].of_runs and 0 < len(value.values) < value.planned:
            rows.setdefault(f"{column} {len(value.values)}/{value.planned}", []).append(row)
    texts = [f"{counts} ({', '.join(names)})" for counts, names in rows.items()]
    return (
        f"Runs done / runs planned: {'; '.join(texts)}. The other cells with a number have all runs." if texts else ""
    )


def numbered_notes(table: Table) -> list[tuple[int, str, set[tuple[str | None, str | None]]]]:
    """Number the footnotes of the rows, columns and cells that the table shows.

    Footnotes with the same text share a number. Return the number, the text and the (row, column) of each."""
    rows, columns = {row.name for row in table.rows} | {None}, {column.name for column in table.columns} | {None}
    targets: dict[str, set[tuple[str | None, str | None]]] = {}
    for note in table.footnotes:
        target = note.get("row"), note.get("column")
        if target != (None, None) and target[0] in rows and target[1] in columns:
            targets.setdefault(note["text"], set()).add(target)
    return [(number, text, targets[text]) for number, text in enumerate(targets, 1)]


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


def differences_head(table: Table, compared: Sequence[Difference]) -> str:
    """Return the sentence above the differences `compared`: what they are, for each metric among them."""
    metrics = {column.name: column.metric for column in table.columns}
    shown = {metrics[d.column] for d in compared}
    parts = []
    if of_runs := [d for d in compared if METRICS[metrics[d.column]].of_runs]:
        lacking = sum(d.ci_halfwidth is None for d in of_runs)
        interval = (
            f"{CI}{'; n=1 has none' if lacking else ''}" if lacking < len(of_runs) else "; one seed gives no interval"
        )
        parts.append(f"mean of the paired differences over the seeds that both rows have{interval}")
    if "minutes" in shown:
        parts.append(f"mean difference of minutes over paired rounds of steps{CI}")
    if "parameters" in shown:
        parts.append("difference of parameters")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
