"""A table in memory: its cells, with their runs and the paper's numbers, as its yaml file declares them."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from lls.config.assemble import override_value, parse_overrides
from lls.errors import UserError
from lls.files import file_stem
from lls.paper.smoke import overrides as smoke_overrides
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.yaml_files import FOLDER, read
from lls.runs.planned import distinct_runs, run_of
from lls.runs.run import Run

PAPER = tuple("123456789")  # names of the paper's tables
TABLE_KEYS = ("seeds", "columns", "rows")  # overrides of a table, not of its runs
PARTS = ("columns=", "rows=")  # overrides that select a part of a table


class Column(NamedTuple):
    name: str
    metric: str
    run: dict[str, str]
    seeds: tuple[int, ...]


class Row(NamedTuple):
    name: str
    run: dict[str, str]
    when: dict[str, dict[str, str]]
    paper: tuple[str, ...] | None  # one text per column; None in a table that is not the paper's
    separate_spread: bool = False  # its spread between seeds is not pooled with that of other rows


class Cell(NamedTuple):
    row: str
    column: str
    metric: str
    paper: str | None  # the paper's number as printed, without its ±
    spread: str | None  # the paper's ± as printed
    runs: tuple[Run, ...]  # one per seed of the column; none where the paper has no number, unless all cells are loaded
    overrides: tuple[str, ...]  # of its runs, without the seed
    source: str | None  # of the paper's number, where the paper took it from another set-up


class Table(NamedTuple):
    name: str
    base: str  # the declared table that it is, or is a variant of
    title: str
    metric: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[str, str], Cell]  # by the names of row and column
    footnotes: tuple[dict[str, str], ...]
    compare: dict[str, tuple[str, ...]]  # by row, the rows it is compared with
    overrides: tuple[str, ...]  # those that the title states
    smoke: bool
    tag: str  # of its runs in W&B: table-NAME, with the overrides that change the runs


def load(
    name: str, overrides: Sequence[str] = (), *, all_cells: bool = False, smoke: bool = False, folder: Path = FOLDER
) -> Table:
    """Load a table and compose its runs.

    overrides: for all runs of the table, or for the table itself (TABLE_KEYS). They override the yaml file.
    all_cells: plan also the cells that have no number in the paper.
    smoke: load every run in its small form (smoke.py).
    folder: where the yaml file is.
    Raises UserError for a table, row, column or override that does not exist.
    """
    declared, overrides = read(name, folder), list(overrides)
    stem = file_stem(name, [text for text in overrides if not text.startswith("machine.")])
    tag = file_stem(f"table-{name}", [text for text in overrides if not text.startswith(("machine.", *PARTS))])
    base = declared.get("of", name)
    if "of" in declared:
        overrides = [*declared["overrides"], *overrides]
        declared = read(declared["of"], folder) | {k: v for k, v in declared.items() if k in ("title", "footnotes")}
    if any(text.startswith("machine.again=") for text in overrides):
        raise UserError("machine.again: not for a table; train one run again with python train.py")
    pairs = [text.partition("=")[::2] for text in overrides]
    of_table = {key: value for key, value in pairs if key in TABLE_KEYS}
    of_runs = {key: value for key, value in pairs if key not in TABLE_KEYS}
    columns = [_make_column(column, declared, of_table.get("seeds"), smoke) for column in declared["columns"]]
    rows = [_make_row(row) for row in declared["rows"]]
    if not of_runs:
        _check_conditions(name, rows, columns)

    selected_columns = _select(columns, of_table.get("columns"), f"table {name} has no such column")
    selected_rows = _select(rows, of_table.get("rows"), f"table {name} has no such row")
    other = declared.get("other_setup", [])
    sources = {key: entry["source"] for entry in other for key in product(entry["rows"], entry["columns"])}
    cells = {
        (row.name, column.name): _make_cell(row, column, paper, sources, of_runs, all_cells, smoke)
        for row in selected_rows
        for column, paper in zip(columns, row.paper or [None] * len(columns), strict=True)
        if column in selected_columns
    }
    return Table(
        stem,
        base,
        declared["title"],
        declared["metric"],
        tuple(selected_columns),
        tuple(selected_rows),
        cells,
        () if "dataset" in of_runs else tuple(declared.get("footnotes", ())),
        _rivals(declared, selected_rows),
        tuple(text for text in overrides if not text.startswith("machine.")),
        smoke,
        tag,
    )


def heading(table: Table, column: str) -> str:
    """Return a column's name, with the data set and network that the table's overrides put in place of its own."""
    replaced = [text.partition("=")[2] for text in table.overrides if text.startswith(("dataset=", "network="))]
    return f"{column}, here {' '.join(replaced)}" if replaced else column


def runs_of(tables: Iterable[Table]) -> list[Run]:
    """Return every distinct run that the cells of `tables` need, in their order. Teachers come before their students.

    Cells whose metric is not read from finished runs (parameters, minutes) need none.
    """
    return distinct_runs(
        run for table in tables for cell in table.cells.values() if METRICS[cell.metric].of_runs for run in cell.runs
    )


def _make_row(row: dict) -> Row:
    when = {condition: _override_values(more) for condition, more in row.get("when", {}).items()}
    paper = tuple(text.replace(" ", "") for text in row["paper"]) if "paper" in row else None
    separate_spread = row.get("separate_spread") == "true"
    return Row(row["name"], _override_values(row.get("run", {})), when, paper, separate_spread)


def _override_values(run: dict) -> dict[str, str]:
    return {key: override_value(value, typed=False) for key, value in run.items()}


def _make_column(column: dict, declared: dict, seeds: str | None, smoke: bool) -> Column:
    """seeds: replace the declared ones. In small form one seed is enough, unless `seeds` has more."""
    words = seeds.strip("[]").split(",") if seeds else column.get("seeds", declared["seeds"])
    if not all(word.strip().isdigit() for word in words):
        raise UserError(f"seeds={seeds}: must be whole numbers with commas between them, such as seeds=0,1,2")
    parsed = tuple(dict.fromkeys(map(int, words)))
    parsed = parsed[:1] if smoke and not seeds else parsed
    return Column(
        column["name"], column.get("metric", declared["metric"]), _override_values(column.get("run", {})), parsed
    )


def _make_cell(
    row: Row,
    column: Column,
    paper: str | None,
    sources: dict[tuple[str, str], str],
    of_runs: dict[str, str],
    all_cells: bool,
    smoke: bool,
) -> Cell:
    texts = tuple(f"{key}={value}" for key, value in _merge(column.run, row, of_runs).items())
    if smoke and column.metric != "parameters":  # parameters are counted on the real networks
        texts = tuple(smoke_overrides(texts))
    planned = all_cells or paper != "-"
    try:
        runs = tuple(run_of([*texts, f"seed={seed}"]) for seed in column.seeds) if planned else ()
    except UserError as error:
        place = (
            "" if of_runs else f"row {row.name}, column {column.name}: "
        )  # with overrides, the error is likely theirs
        raise UserError(f"{place}{error}") from None
    has_number = paper not in (None, "-") and "dataset" not in of_runs  # the paper's number is of its own data set
    number, _, spread = paper.partition("±") if has_number else (None, "", None)
    source = sources.get((row.name, column.name)) if has_number else None
    return Cell(row.name, column.name, column.metric, number, spread or None, runs, texts, source)


def _merge(column: dict, row: Row, of_runs: dict) -> dict[str, str]:
    """Merge a cell's overrides. Later ones win: the column's, the row's, the row's `when`, those of all runs."""
    merged = column | row.run | of_runs
    for condition, more in row.when.items():
        if _holds(condition, merged):
            merged |= more
    return merged | of_runs


def _check_conditions(name: str, rows: list[Row], columns: list[Column]) -> None:
    """Raise UserError for a condition of a row's `when` that no column meets."""
    for row in rows:
        for condition in row.when:
            if not any(_holds(condition, column.run | row.run) for column in columns):
                raise UserError(f"table {name}: row {row.name}: when: no column has {condition}")


def _holds(condition: str, overrides: dict[str, str]) -> bool:
    """Return whether a condition such as `train.milestones=[4, 5]` has the value of these overrides."""
    key, _, value = condition.partition("=")
    return key in overrides and _parse(value) == _parse(overrides[key])


def _parse(text: str) -> object:
    (override,) = parse_overrides([f"key={override_value(text, typed=False)}"])
    return override.value()


def _rivals(declared: dict, rows: list[Row]) -> dict[str, tuple[str, ...]]:
    present = [row.name for row in rows]
    pairs = declared.get("compare", {"LLS": [name for name in present if name != "LLS"]})
    return {
        row: tuple(rival for rival in rivals if rival in present) for row, rivals in pairs.items() if row in present
    }


def _select(entries: list, words: str | None, problem: str) -> list:
    """Select the entries whose names contain one of the words, which commas separate; all entries for None."""
    if words is None:
        return entries
    selected = [entry for entry in entries if any(word.lower() in entry.name.lower() for word in words.split(","))]
    if not selected:
        raise UserError(f"{words}: {problem} (there are: {', '.join(entry.name for entry in entries)})")
    return selected
