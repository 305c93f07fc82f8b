"""A copy of rendered tables, drawn figures and judged claims in Weights & Biases (W&B).

Each of them is one W&B run per day (UTC), such as `table-3-2026-07-01`. What is logged later that day is added to that
W&B run, which shows the last version.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.errors import one_line
from lls.paper.figures import Figure
from lls.paper.tables.declaration import Table
from lls.paper.tables.grid import format_cell
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.render import title
from lls.paper.tables.values import table_values
from lls.paper.tables.write import result_or_failure
from lls.training.wandb_run import start

if TYPE_CHECKING:
    from lls.paper.claims import JudgedClaim

NAME_LENGTH = 90  # of a name in the id of a W&B run; W&B names a W&B Table by this id, in at most 128 characters


def default_setting(key: str) -> str:
    """Return the value of `machine.KEY` in configs/train.yaml."""
    return str(OmegaConf.load(CONFIGS / "train.yaml").machine[key])


def mirror_tables(tables: Sequence[Table], output: Path, project: str, mode: str) -> None:
    """Log each table as a W&B Table.

    - output: the output folder, which gets W&B's files.
    - project: the W&B project.
    - mode: online, offline or disabled."""
    _mirror("table", {f"table-{table.name}": partial(_table, table) for table in tables}, output, project, mode)


def mirror_figures(drawn: Sequence[tuple[Figure, Path]], output: Path, project: str, mode: str) -> None:
    """Log figures, each with its PNG, as images. See mirror_tables for the other arguments."""
    contents = {f"figure-{png.stem}": partial(_image, figure, png) for figure, png in drawn}
    _mirror("figure", contents, output, project, mode)


def mirror_claims(
    full: Sequence["JudgedClaim"], short: Sequence["JudgedClaim"], output: Path, project: str, mode: str
) -> None:
    """Log the claims, and apart from them those that short runs judge, as W&B Tables. See mirror_tables."""
    _mirror("claims", {"claims": partial(_claims, full, short)}, output, project, mode)


def _mirror(job_type: str, contents: Mapping[str, Callable[[], dict]], output: Path, project: str, mode: str) -> None:
    """Log what each function of `contents` returns to the W&B run of that name and of today.

    An error of W&B is printed in one line and ends the logging."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for name, content in contents.items():
        keys = {"name": name, "id": f"{name[:NAME_LENGTH]}-{today}", "group": job_type, "job_type": job_type}
        run = start(output, mode, f"for {name}", dir=str(output), project=project, reinit="finish_previous", **keys)
        if run is None:
            return
        try:
            with run:
                mode = run.settings.mode  # if W&B could not be reached, the next W&B run does not try it again
                run.log(content())
        except Exception as error:  # the files are already written
            print(f"W&B does not get {name} ({one_line(error, 100)})", flush=True)
            return


def _table(table: Table) -> dict:
    import wandb

    values = table_values(table, result_or_failure)
    columns = [f"{column.name}{suffix}" for column in table.columns for suffix in ("", ", paper")]
    wandb_table = wandb.Table(columns=[title(table), *columns])
    for row in table.rows:
        line = [row.name]
        for column in table.columns:
            key, metric = (row.name, column.name), METRICS[column.metric]
            line += [format_cell(values[key], metric.digits, metric.of_runs), table.cells[key].paper or ""]
        wandb_table.add_data(*line)
    return {"table": wandb_table}


def _image(figure: Figure, png: Path) -> dict:
    import wandb

    from lls.paper.figures.page import figure_title

    return {"figure": wandb.Image(str(png), caption=figure_title(figure))}


def _claims(full: Sequence["JudgedClaim"], short: Sequence["JudgedClaim"]) -> dict:
    import wandb

    from lls.paper.claims.render import answer, reason, short_runs_label

    def line(judged: "JudgedClaim") -> list[str]:
        return [judged.claim.name, judged.claim.says, judged.claim.where, judged.claim.paper, judged.evidence.measured]

    head = ["name", "claim", "where", "the paper", "ours"]
    by_protocol = [[*line(judged), judged.verdict.label, reason(judged)] for judged in full]
    tables = {"claims": wandb.Table(columns=[*head, "verdict", "reason"], data=by_protocol)}
    if short:
        by_short_runs = [[*line(judged), answer(judged), short_runs_label(judged.claim)] for judged in short]
        tables["claims-by-short-runs"] = wandb.Table(columns=[*head, "short runs", "overrides"], data=by_short_runs)
    return tables
