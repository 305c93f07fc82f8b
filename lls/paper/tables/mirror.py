"""A copy of the rendered tables in Weights & Biases, as W&B Tables in one W&B run."""

from collections.abc import Sequence
from pathlib import Path

from lls.errors import one_line
from lls.paper.tables.declaration import Table
from lls.paper.tables.grid import format_cell
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.render import title
from lls.paper.tables.values import table_values
from lls.paper.tables.write import result_or_failure
from lls.training.wandb_run import start


def mirror(tables: Sequence[Table], output: Path, mode: str) -> None:
    """Log each table to W&B. An error of W&B is printed in one line and costs nothing else.

    mode: online, offline or disabled.
    """
    if not tables:
        return
    keys = {"project": "lls", "group": "tables", "job_type": "table", "name": "tables", "id": "tables"}
    run = start(output, mode, "for tables", dir=str(output), **keys)
    if run is None:
        return
    try:
        _log(tables, run)
    except Exception as error:  # the tables are already written
        print(f"W&B gets no tables ({one_line(error, 100)})", flush=True)


def _log(tables: Sequence[Table], run) -> None:
    import wandb

    with run:
        for table in tables:
            values = table_values(table, result_or_failure)
            wandb_table = wandb.Table(
                columns=[title(table), *(f"{c.name}{suffix}" for c in table.columns for suffix in ("", ", paper"))]
            )
            for row in table.rows:
                line = [row.name]
                for column in table.columns:
                    key, metric = (row.name, column.name), METRICS[column.metric]
                    line += [format_cell(values[key], metric.digits, metric.of_runs), table.cells[key].paper or ""]
                wandb_table.add_data(*line)
            run.log({f"table-{table.name}": wandb_table})
