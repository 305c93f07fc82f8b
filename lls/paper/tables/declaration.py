"""A table as configs/table/NAME.yaml declares it: rows x columns of overrides, and the paper's numbers beside them.

    title: CIFAR-100 and Tiny-ImageNet
    metric: top1                        # of lls/paper/tables/metrics.py; a column may have its own
    seeds: [0]
    columns:
      - {name: CIFAR100 R18, run: {dataset: cifar100, network: resnet18}}
    rows:
      - name: Zipf
        run: {method: zipf}             # merged over the column's
        when: {dataset=tinyimagenet: {method.lam: 1.0}}        # merged where a cell's overrides say so
        paper: [77.38]                  # a text for each column, `79.98±0.17` or `-`: none, so not planned by itself
    compare: {LLS: [1-Hot]}             # rows and their rivals; without it, LLS and all others
    footnotes:
      - {row: Zipf, column: CIFAR100 R18, text: ...}           # without row or column: of the other, or of the table

A variant is `of: "3"` and `overrides: [...]`, as on the command line: of the runs, and seeds=, columns=, rows=. Values
are read as text, so that 89.40 stays 89.40 and an override is what one would type.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import yaml

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError
from lls.files import file_stem
from lls.paper import smoke as small
from lls.paper.tables.metrics import METRICS
from lls.runs.planned import distinct_runs, run_of
from lls.runs.run import Run

FOLDER = CONFIGS / "table"
PAPER = tuple("123456789")
TABLE_KEYS = ("seeds", "columns", "rows")  # overrides of a table, not of its runs
REQUIRED_KEYS = {"title", "metric", "seeds", "columns", "rows", "compare", "footnotes"}  # keys of a table
VARIANT_KEYS = {"of", "overrides", "title", "footnotes"}


class Column(NamedTuple):
    name: str
    metric: str
    run: dict[str, str]


class Row(NamedTuple):
    name: str
    run: dict[str, str]
    when: dict[str, dict[str, str]]
    paper: tuple[str, ...] | None  # a text for each column; None in a table of ours


class Cell(NamedTuple):
    row: str
    column: str
    metric: str
    paper: str | None  # as printed, without the spread
    spread: str | None  # the paper's ±, as printed
    runs: tuple[Run, ...]  # one a seed; none where the paper has no number, unless all cells were asked for
    overrides: tuple[str, ...]  # of its runs, without the seed


class Table(NamedTuple):
    name: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[str, str], Cell]  # by the names of row and column
    footnotes: tuple[dict[str, str], ...]
    compare: dict[str, tuple[str, ...]]  # rows, and those that each is compared with
    overrides: tuple[str, ...]  # what the title has to say
    smoke: bool


def names() -> list[str]:
    """Every table there is a yaml of: the paper's, then ours."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = (), *, all_cells: bool = False, smoke: bool = False) -> Table:
    """The table that configs/table/<name>.yaml declares, with its runs; `overrides` hold for all of them, and win.

    all_cells: with the cells that the paper leaves empty. smoke: every run in its small form (smoke.py). UserError
    for a table, row, column or override that is not there."""
    declared, overrides = _declared(name), list(overrides)
    stem = file_stem(name, [text for text in overrides if not text.startswith("machine.")])
    if "of" in declared:
        overrides = [*declared["overrides"], *overrides]
        declared = _declared(declared["of"]) | {k: v for k, v in declared.items() if k in ("title", "footnotes")}
    if any(text.startswith("machine.again=") for text in overrides):
        raise UserError("machine.again: trains one run again, by its own command: python train.py")
    own = {key: value for key, _, value in (text.partition("=") for text in overrides) if key in TABLE_KEYS}
    every = dict(text.partition("=")[::2] for text in overrides if text.partition("=")[0] not in TABLE_KEYS)
    seeds = _seeds(own.get("seeds"), declared["seeds"])
    columns = [Column(c["name"], c.get("metric", declared["metric"]), c.get("run", {})) for c in declared["columns"]]
    rows = [Row(r["name"], r.get("run", {}), r.get("when", {}), r.get("paper")) for r in declared["rows"]]
    _check(name, columns, rows)

    kept_columns = _chosen(columns, own.get("columns"), f"table {name} has no such column")
    kept_rows = _chosen(rows, own.get("rows"), f"table {name} has no such row")
    cells = {}
    for row in kept_rows:
        for column, paper in zip(columns, row.paper or [None] * len(columns), strict=True):
            if column in kept_columns:
                merged = _merged(column.run, row, {"machine.wandb_group": f"table-{name}"} | every)
                texts = tuple(f"{key}={value}" for key, value in merged.items())
                if smoke and column.metric != "parameters":  # which are the real networks'
                    texts = tuple(small.overrides(texts))
                planned = all_cells or paper != "-"
                runs = tuple(run_of([*texts, f"seed={seed}"]) for seed in seeds) if planned else ()
                printed = _printed("-" if "dataset" in every else paper)  # the paper's is of another data set
                cells[row.name, column.name] = Cell(row.name, column.name, column.metric, *printed, runs, texts)
    return Table(
        stem,
        declared["title"],
        declared["metric"],
        seeds,
        tuple(kept_columns),
        tuple(kept_rows),
        cells,
        () if "dataset" in every else tuple(declared.get("footnotes", ())),
        _compared(declared, kept_rows),
        tuple(text for text in overrides if not text.startswith("machine.")),
        smoke,
    )


def heading(table: Table, column: str) -> str:
    """A column's name, with the data set and network that stand in for its own where the table's overrides say so."""
    here = [text.partition("=")[2] for text in table.overrides if text.startswith(("dataset=", "network="))]
    return f"{column}, here {' '.join(here)}" if here else column


def runs_of(tables: Iterable[Table]) -> list[Run]:
    """Every distinct run that the cells of `tables` want, in their order; a teacher comes before its students."""
    wanted = [
        run for table in tables for cell in table.cells.values() if METRICS[cell.metric].of_runs for run in cell.runs
    ]
    return distinct_runs(wanted)


def _compared(declared: dict, rows: list[Row]) -> dict[str, tuple[str, ...]]:
    there = [row.name for row in rows]
    pairs = declared.get("compare", {"LLS": [name for name in there if name != "LLS"]})
    return {row: tuple(rival for rival in rivals if rival in there) for row, rivals in pairs.items() if row in there}


def _printed(paper: str | None) -> tuple[str | None, str | None]:
    """The paper's number and its ±."""
    if paper in (None, "-"):
        return None, None
    value, _, spread = paper.partition("±")
    return value, spread or None


def _merged(column: dict, row: Row, every: dict) -> dict[str, str]:
    """One cell's overrides: the column's, the row's over them, what the row says `when` it meets these, and on top what
    holds for the whole table."""
    said = column | row.run | every
    for condition, more in row.when.items():
        key, _, value = condition.partition("=")
        if said.get(key) == value:
            said |= more
    return said | every


@cache
def _declared(name: str) -> dict:
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        raise UserError(f"{name}: no such table{did_you_mean(name, names())} (there are: {', '.join(names())})")
    declared = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    known, needed = (
        (VARIANT_KEYS, {"of", "overrides"})
        if "of" in declared
        else (REQUIRED_KEYS, REQUIRED_KEYS - {"compare", "footnotes"})
    )
    if wrong := [*(declared.keys() - known), *(needed - declared.keys())]:
        problem = "has no key" if wrong[0] in needed else "no such key:"
        raise UserError(f"{path.relative_to(CONFIGS.parent)}: {problem} {wrong[0]}{did_you_mean(wrong[0], known)}")
    if not isinstance(declared.get("overrides", []), list):
        raise UserError(
            f"{path.relative_to(CONFIGS.parent)}: overrides: must be a list, such as [budget=0.05, seeds=0]"
        )
    return declared


def _check(name: str, columns: list[Column], rows: list[Row]) -> None:
    for row in rows:
        if row.paper is not None and len(row.paper) != len(columns):
            raise UserError(f"table {name}: {row.name} has {len(row.paper)} numbers for {len(columns)} columns")
    for what in (columns, rows):
        if len({entry.name for entry in what}) < len(what):
            raise UserError(f"table {name}: two of its rows or columns have the same name")
    for column in columns:
        if column.metric not in METRICS:
            raise UserError(f"table {name}: metric {column.metric}{did_you_mean(column.metric, METRICS)}")


def _chosen(entries: list, words: str | None, problem: str) -> list:
    """Those whose names have one of the words, separated by commas; all of them for None."""
    if words is None:
        return entries
    found = [entry for entry in entries if any(word.lower() in entry.name.lower() for word in words.split(","))]
    if not found:
        raise UserError(f"{words}: {problem} (there are: {', '.join(entry.name for entry in entries)})")
    return found


def _seeds(given: str | None, declared: list[str]) -> tuple[int, ...]:
    words = declared if given is None else given.strip("[]").split(",")
    if not all(word.strip().isdigit() for word in words):
        raise UserError(f"seeds={given}: whole numbers with commas between them, such as seeds=0,1,2")
    return tuple(dict.fromkeys(int(word) for word in words))
