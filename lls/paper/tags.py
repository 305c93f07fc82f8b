"""The tags of runs in Weights & Biases (W&B): one for each table and figure that needs the run."""

from collections.abc import Iterable, Sequence

from lls.config.ranges import WANDB_TAG_LENGTH
from lls.paper import figures
from lls.paper.figures import Figure
from lls.paper.tables.declaration import Table, runs_of
from lls.runs.planned import distinct_runs
from lls.runs.run import Run


def add_tags(runs: Iterable[Run], tables: Sequence[Table], figure_list: Sequence[Figure] = ()) -> None:
    """Add to `machine.wandb_tags` of each run the tags of these tables and figures, such as `table-3` and `figure-5`.

    A teacher gets the tags of its students. If a run has no `machine.wandb_group`, its first tag becomes the group."""
    needed = {table.tag: runs_of([table]) for table in tables}
    for figure in figure_list:
        needed[figure.tag] = distinct_runs(figures.runs_of([figure]))
    tags: dict[str, list[str]] = {}
    for tag, needed_runs in needed.items():
        for run in needed_runs:
            tags.setdefault(run.id, []).append(
                tag if len(tag) <= WANDB_TAG_LENGTH else f"{tag[: WANDB_TAG_LENGTH - 3]}..."
            )
    for run in runs:
        if run.id in tags:
            machine = run.cfg.machine
            machine.wandb_tags = list(dict.fromkeys([*(machine.wandb_tags or []), *tags[run.id]]))
            machine.wandb_group = machine.wandb_group or tags[run.id][0]
