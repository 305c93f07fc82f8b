"""Rendered tables as W&B Tables, in one W&B run: a window, like every other mirror, and never in the way."""

from collections.abc import Sequence
from pathlib import Path

from lls.paper.tables.declaration import Table
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.render import text_of, title
from lls.paper.tables.results import finished
from lls.paper.tables.values import values_of


def mirror(tables: Sequence[Table], output: Path, mode: str) -> None:
    """Log each table. W&B's trouble costs a line of text."""
    if mode == "disabled" or not tables:
        return
    try:
        _log(tables, output, mode)
    except Exception as error:  # whatever it is, the tables are written
        print(f"W&B gets no tables ({' '.join(str(error).split())[:100] or type(error).__name__})", flush=True)


def _log(tables: Sequence[Table], output: Path, mode: str) -> None:
    import os

    home = (output / "wandb").resolve()
    home.mkdir(parents=True, exist_ok=True)
    for variable, folder in (("WANDB_CACHE_DIR", "cache"), ("WANDB_DATA_DIR", "data")):
        os.environ.setdefault(variable, str(home / folder))
    import wandb

    quiet = wandb.Settings(silent=True, console="off", init_timeout=10)
    keys = {"project": "lls", "group": "tables", "job_type": "table", "name": "tables", "id": "tables"}
    with wandb.init(mode=mode, dir=str(output), resume="allow", settings=quiet, **keys) as run:
        for table in tables:
            values = values_of(table, finished)
            shown = wandb.Table(
                columns=[title(table), *(f"{c.name}{suffix}" for c in table.columns for suffix in ("", ", paper"))]
            )
            for row in table.rows:
                line = [row.name]
                for column in table.columns:
                    key = row.name, column.name
                    line += [
                        text_of(values[key], METRICS[column.metric].digits, METRICS[column.metric].of_runs),
                        table.cells[key].paper or "",
                    ]
                shown.add_data(*line)
            run.log({f"table-{table.name}": shown})
