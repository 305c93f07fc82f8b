"""Markdown tables of runs: all results of an output folder, and those that the paper has a number for."""

from collections.abc import Iterable
from functools import cache
from statistics import mean, stdev

from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import GROUPS, flatten
from lls.config.compose import compose
from lls.errors import UserError
from lls.paper.markdown import markdown_table
from lls.paper.tables import Cell, Table, load
from lls.paper.tables.declaration import PAPER
from lls.paper.tables.grid import format_cell, format_paper
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.notes import OTHER_SETUP
from lls.paper.tables.values import ResultLookup, Value, table_values
from lls.paper.tables.write import tracked_result_or_failure
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED, Failed, Result, is_failed
from lls.training.schedule import make_schedule

MEASURES = (  # of result.json: key, digits, factor, whether with its standard deviation
    ("top1", 2),
    ("top1_best", 2),
    ("nll", 4),
    ("ece", 2, 100),
    ("images_per_second", 0, 1, False),
    ("seconds", 0, 1, False),
)


def results_markdown(runs: Iterable[Run]) -> str:
    """Return a Markdown table of the finished and diverged runs. Runs that differ only in their seed are one row.

    A number is the mean ± sample standard deviation over the seeds. A row with a diverged run has no mean."""
    rows: dict[tuple[str, ...], list[Result | Failed]] = {}
    for run in runs:
        if (ended := run.failed or run.result) is not None:
            rows.setdefault(_label(run), []).append(ended)
    columns = ["data set", "network", "method", "budget", "epochs", "top-1, last epoch (%)", "top-1, best epoch (%)"]
    columns += ["NLL", "ECE (%)", "images/s", "seconds per run", "device"]
    lines = []
    for label, ended in sorted(rows.items()):
        if diverged := sum(map(is_failed, ended)):
            measures = [f"diverged ({diverged}/{len(ended)})", *["·"] * (len(columns) - len(label) - 1)]
        else:
            measures = [_over_seeds(ended, *form) for form in MEASURES]
            measures.append(", ".join(sorted({r.get("device", NOT_RECORDED) for r in ended})))
            measures[0] += f" (n={len(ended)})"
        lines.append((*label, *measures))
    return "\n".join(markdown_table(columns, lines))


def beside_the_paper(
    lookup: ResultLookup = tracked_result_or_failure, folder: str = "tables", limit: int | None = None
) -> str:
    """Return a Markdown table of the paper's accuracies that full-protocol runs cover: ours beside the paper's.

    lookup: returns a run's result or failure; the default returns those that git tracks. folder: of the rendered
    tables, for links. limit: the largest number of rows; a line counts all rows."""
    columns = ["table", "data set", "network", "method", "ours", "paper"]
    cells = paper_accuracies(lookup)
    lines = [
        (f"[{table.name}]({folder}/{table.name}.md)", *_comparison(cell, value))
        for table, cell, value in cells
        if value.values or value.diverged
    ]
    counted = f"The paper's tables have {len(cells)} accuracies. {len(lines)} of them have a full-protocol run so far."
    if any(OTHER_SETUP in paper for *_, paper in lines[:limit]):
        counted += f" {OTHER_SETUP}: the paper took the number from another set-up; the table says from where."
    if limit is not None and len(lines) > limit:
        counted += f" Here are the first {limit}."
    return "\n".join([counted, "", *markdown_table(columns, lines[:limit])])


def paper_accuracies(lookup: ResultLookup) -> list[tuple[Table, Cell, Value]]:
    """Return the cells of the paper's tables in which the paper has an accuracy, each with its table and our value."""
    return [
        (table, table.cells[key], value)
        for table in _tables_of_accuracies()
        for key, value in table_values(table, lookup).items()
        if table.cells[key].paper is not None
    ]


def differences(cfg: DictConfig) -> list[str]:
    """Return `key=value` for each scientific key whose value differs from its option's yaml file, sorted.

    The list is empty where an option does not exist any more."""
    choices = (*(f"{group}={cfg[group].name}" for group in GROUPS), f"seed={cfg.seed}", f"budget={cfg.budget}")
    try:
        values, defaults = flatten(OmegaConf.to_container(cfg, resolve=True)), _of_options(choices)
    except UserError:
        return []
    ignored = ("seed", "budget", "machine")
    return sorted(
        f"{key}={value}"
        for key, value in values.items()
        if not isinstance(value, dict) and key.split(".")[0] not in ignored and value != defaults.get(key)
    )


@cache
def _of_options(choices: tuple[str, ...]) -> dict[str, object]:
    return flatten(OmegaConf.to_container(compose(choices), resolve=True))


@cache
def _tables_of_accuracies() -> list[Table]:
    return [table for table in map(load, PAPER) if table.metric == "top1"]


def _comparison(cell: Cell, value: Value) -> tuple[str, ...]:
    """Data set, network, method, our number and the paper's."""
    return *_label(cell.runs[0])[:3], format_cell(value, METRICS[cell.metric].digits), format_paper(cell)


def _label(run: Run) -> tuple[str, ...]:
    """Data set, network, method with every differing key, budget and epochs."""
    cfg = run.cfg
    augment = [] if cfg.augment.name == "none" else [f"augment={cfg.augment.name}"]
    method = " ".join([cfg.method.name, *augment, *differences(cfg)])
    return (
        cfg.dataset.name,
        cfg.network.name,
        method,
        f"{cfg.budget:g}",
        str(make_schedule(cfg.train, cfg.budget).epochs),
    )


def _over_seeds(results: list[Result], key: str, digits: int, scale: float = 1.0, spread: bool = True) -> str:
    """Return the mean of one number of `results`, with its standard deviation if `spread`."""
    values = [scale * r[key] for r in results if key in r]
    if len(values) < len(results):
        return NOT_RECORDED
    return f"{mean(values):,.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if spread and len(values) > 1 else "")
