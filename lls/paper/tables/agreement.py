"""Whether the paper's accuracies agree with ours: are they inside our prediction intervals?"""

from lls.paper.rules import Spread, pool, prediction_halfwidth
from lls.paper.tables.declaration import TABLE_KEYS, Cell, Table
from lls.paper.tables.values import Value

Values = dict[tuple[str, str], Value]  # by the names of row and column


def paper_inside(table: Table, values: Values) -> dict[tuple[str, str], bool]:
    """Return, by cell, whether the paper's number is inside our 95 % prediction interval for one more run.

    The interval is mean ± prediction_halfwidth(n, spread). The spread between seeds is pooled over the table's cells
    with the same data set, network and subset. A row with a separate spread pools its own cells alone.

    A cell is left out if no such cell has two seeds, or if one of the two numbers is missing or of another set-up.
    """
    if table.smoke or any(text.partition("=")[0] not in TABLE_KEYS for text in table.overrides):
        return {}
    cells = {key: cell for key, cell in table.cells.items() if cell.metric == "top1" and values[key].values}
    separate = {row.name for row in table.rows if row.separate_spread}
    groups = {key: _group(cell, separate) for key, cell in cells.items()}
    spreads = {
        group: pool(values[key].values.values() for key in cells if groups[key] == group) for group in groups.values()
    }
    return {
        key: _inside(float(cell.paper), values[key], spread)
        for key, cell in cells.items()
        if cell.paper and not cell.source and (spread := spreads[groups[key]]) is not None
    }


def _group(cell: Cell, separate: set[str]) -> tuple:
    """Return what the cells have in common over which the spread is pooled."""
    cfg = cell.runs[0].cfg
    return cfg.dataset.name, cfg.network.name, cfg.dataset.subset, cell.row if cell.row in separate else None


def _inside(number: float, value: Value, spread: Spread) -> bool:
    return abs(number - value.mean) <= prediction_halfwidth(len(value.values), spread)
