"""Whether the paper's accuracies agree with ours: are they inside our prediction intervals?"""

from collections.abc import Iterator
from functools import cache

from lls.paper.rules import Spread, pool, prediction_halfwidth
from lls.paper.tables.declaration import PAPER, TABLE_KEYS, Cell, Table, load
from lls.paper.tables.values import ResultLookup, Value
from lls.paper.tables.yaml_files import read
from lls.runs.schema import is_failed

Group = tuple  # data set, network, subset, and the row if its spread is not pooled with that of others
Values = dict[tuple[str, str], Value]  # by the names of row and column


def paper_inside(table: Table, values: Values, lookup: ResultLookup) -> dict[tuple[str, str], bool]:
    """Return, by cell, whether the paper's number is inside our 95 % prediction interval for one more run.

    The interval is mean ± prediction_halfwidth(n, spread). The spread between seeds is pooled over the table's cells
    with the same data set, network and subset; if none of them has two seeds, over those of the paper's other tables.
    A row with a separate spread pools its own cells alone.

    A cell is left out if no such cell has two seeds, or if one of the two numbers is missing or of another set-up.
    """
    if table.smoke or any(text.partition("=")[0] not in TABLE_KEYS for text in table.overrides):
        return {}
    cells = {key: cell for key, cell in table.cells.items() if cell.metric == "top1" and values[key].values}
    separate = {row.name for row in table.rows if row.separate_spread}
    groups = {key: _group(cell, separate) for key, cell in cells.items()}
    inside, spreads = {}, {}
    for key, cell in cells.items():
        if not cell.paper or cell.source:
            continue
        if (group := groups[key]) not in spreads:
            here = pool(values[other].values.values() for other in cells if groups[other] == group)
            spreads[group] = here or pool(_elsewhere(group, table.name, cell, lookup))
        if (spread := spreads[group]) is not None:
            inside[key] = _inside(float(cell.paper), values[key], spread)
    return inside


def _group(cell: Cell, separate: set[str]) -> Group:
    """Return what the cells have in common over which the spread is pooled."""
    cfg = cell.runs[0].cfg
    return cfg.dataset.name, cfg.network.name, cfg.dataset.subset, cell.row if cell.row in separate else None


def _elsewhere(group: Group, table: str, cell: Cell, lookup: ResultLookup) -> Iterator[list[float]]:
    """Yield the top-1 of each cell of this group in the paper's other tables. Tables share cells, which count once."""
    cells: dict[tuple[str, ...], Cell] = {}
    for name in PAPER:
        columns = [column["run"] for column in read(name)["columns"]]
        if name != table and any((run["dataset"], run["network"]) == group[:2] for run in columns):
            other = _load(name, str(cell.runs[0].cfg.machine.output))
            separate = {row.name for row in other.rows if row.separate_spread}
            for theirs in other.cells.values():
                if theirs.runs and theirs.metric == "top1" and _group(theirs, separate) == group:
                    cells[tuple(run.id for run in theirs.runs)] = theirs
    for theirs in cells.values():
        ends = [end for run in theirs.runs if (end := lookup(run)) is not None]
        if not any(map(is_failed, ends)):
            yield [end["top1"] for end in ends if "top1" in end]


@cache
def _load(name: str, output: str) -> Table:
    return load(name, [f"machine.output={output}"])


def _inside(number: float, value: Value, spread: Spread) -> bool:
    return abs(number - value.mean) <= prediction_halfwidth(len(value.values), spread)
