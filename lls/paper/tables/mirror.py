"""Rendered tables as W&B Tables, in one W&B run: a window, like every other mirror, and never in the way."""

from collections.abc import Sequence
from pathlib import Path

from lls.errors import one_line
from lls.paper.tables.declaration import Table
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.render import format_cell, title
from lls.paper.tables.results import finished
from lls.paper.tables.values import table_values
from lls.training.wandb_run import start


def mirror(tables: Sequence[Table], output: Path, mode: str) -> None:
    """Log each table. W&B's trouble costs a line of text."""
    if not tables:
        return
    keys = {"project": "lls", "group": "tables", "job_type": "table", "name": "tables", "id": "tables"}
    run = start(output, mode, "for tables", dir=str(output), **keys)
    if run is None:
        return
    try:
        _log(tables, run)
    except Exception as error:  # the tables are written, whatever W&B's trouble is
        print(f"W&B gets no tables ({one_line(error, 100)})", flush=True)


def _log(tables: Sequence[Table], run) -> None:
    import wandb

    with run:
        for table in tables:
            values = table_values(table, finished)
            shown = wandb.Table(
                columns=[title(table), *(f"{c.name}{suffix}" for c in table.columns for suffix in ("", ", paper"))]
            )
            for row in table.rows:
                line = [row.name]
                for column in table.columns:
                    key = row.name, column.name
                    line += [
                        format_cell(values[key], METRICS[column.metric].digits, METRICS[column.metric].of_runs),
                        table.cells[key].paper or "",
                    ]
                shown.add_data(*line)
            run.log({f"table-{table.name}": shown})
