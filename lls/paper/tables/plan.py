"""What is left to do: every distinct run, its state, its command and its time, and the totals."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import GROUPS, flatten, format_value
from lls.config.compose import compose
from lls.launch.queue import missing_tasks
from lls.paper import figures
from lls.paper.figures import Figure
from lls.paper.tables import cost
from lls.paper.tables.declaration import Table, runs_of
from lls.runs.planned import distinct_runs
from lls.runs.run import Run, teacher_run
from lls.training.schedule import make_schedule


class Planned(NamedTuple):
    run: Run
    command: list[str]  # what one types to train it
    epochs: int
    epochs_done: int
    done: bool
    diverged: bool  # which is final, too
    blocked: bool  # its teacher can't be had: it has diverged, say
    lost: str | None  # what is needed of a run that has its result, and is not there: it is trained again
    seconds: float | None  # left, here; None where it can't be estimated
    gpu_seconds: float | None  # left, at the paper's rate
    measured: bool  # the estimate rests on finished runs of this data set and network

    @property
    def state(self) -> str:
        if self.diverged:
            return "diverged"
        if self.blocked:
            return "no teacher"
        if self.done or self.lost:
            return f"no {self.lost}" if self.lost else "done"
        return f"{self.epochs_done}/{self.epochs} epochs" if self.epochs_done else "to do"


def plan(tables: Sequence[Table], output: Path, drawn: Sequence[Figure] = ()) -> list[Planned]:
    """Every distinct run of the tables and figures, teachers before their students. output: the folder of runs that
    tell speeds."""
    commands = {panel.run.folder: panel.overrides for figure in drawn for panel in figure.panels}
    commands |= {
        run.folder: [*cell.overrides, f"seed={run.cfg.seed}"]
        for table in tables
        for cell in table.cells.values()
        for run in cell.runs
    }
    runs, rate, planned = distinct_runs([*runs_of(tables), *figures.runs_of(drawn)]), cost.rate(), []
    tasks, failures = missing_tasks(runs, figures.files_of(drawn))
    left_over, blocked = {task.run.folder: task for task in tasks}, {failure.run.folder for failure in failures}
    known = cost.measured(output, runs, rate.device)
    for run in runs:
        epochs, task = make_schedule(run.cfg.train, run.cfg.budget).epochs, left_over.get(run.folder)
        lost = task.missing_artifact if task else None
        ended = task is None and run.folder not in blocked
        done = epochs if ended else 0 if lost else min(run.epochs_done, epochs)
        here, gpu = known.get(cost.kind(run)), cost.seconds_of_epoch(run, cost.PAPERS_RATE)
        estimate = here if here is not None else cost.seconds_of_epoch(run, rate.flops)
        left = 0 if run.folder in blocked else epochs - done
        overrides = commands.get(run.folder) or run_overrides(run)
        planned.append(
            Planned(
                run,
                ["python", "train.py", *(text for text in overrides if not text.startswith("machine.wandb_group="))],
                epochs,
                done,
                ended and not run.failed,
                run.failed is not None,
                run.folder in blocked,
                lost,
                None if estimate is None else left * estimate,
                None if gpu is None else left * gpu,
                here is not None,
            )
        )
    return planned


def run_overrides(run: Run) -> list[str]:
    """Overrides that compose to a run's configuration: its options, and what in it is not as they say."""
    groups = [f"{group}={run.cfg[group].name}" for group in GROUPS]
    own, plain = (
        flatten(OmegaConf.to_container(cfg, resolve=True))
        for cfg in (run.cfg, compose([*groups, f"seed={run.cfg.seed}"]))
    )
    apart = [key for key, value in own.items() if not isinstance(value, dict) and value != plain.get(key)]
    groups = [text for text in groups if text != "augment=none"]
    return [*groups, *(f"{key}={format_value(own[key])}" for key in sorted(apart)), f"seed={run.cfg.seed}"]


def lines(planned: Sequence[Planned]) -> list[str]:
    """The plan in words, a line a run."""
    width = max((len(p.run.id) for p in planned), default=0)
    found = [f"{'run':<{width}}  {'state':<14} {'time left':>9}   command"] if planned else []
    for p in planned:
        left = "" if p.done or p.diverged or p.blocked else duration(p.seconds) + (" " if p.measured else "~")
        found.append(f"{p.run.id:<{width}}  {p.state:<14} {left:>10}  {shlex.join(p.command)}")
    return [*found, "", *totals(planned)]


def totals(planned: Sequence[Planned]) -> list[str]:
    teachers = {teacher.folder for p in planned if (teacher := teacher_run(p.run))}
    partial = sum(p.epochs_done > 0 and not (p.done or p.diverged or p.blocked) for p in planned)
    done, diverged, rate = sum(p.done for p in planned), sum(p.diverged for p in planned), cost.rate()
    blocked = sum(p.blocked for p in planned)
    here, gpu = sum(p.seconds or 0 for p in planned), sum(p.gpu_seconds or 0 for p in planned)
    weights = sum(4 * cost.size_of(p.run).parameters + 300_000 for p in planned)
    unknown = sum(p.seconds is None for p in planned)
    to_do = len(planned) - done - diverged - blocked - partial
    return [
        f"{len(planned)} runs, {len(teachers)} of them teachers of others: {done} done, "
        f"{f'{diverged} diverged, ' if diverged else ''}{f'{blocked} without a teacher, ' if blocked else ''}"
        f"{partial} partial, {to_do} to do",
        f"time left, one run at a time: {duration(here)} on this machine ({rate.device}, "
        f"{rate.flops / 1e12:.3g} TFLOP/s measured; ~ where no finished run says it)",
        f"or on one GPU: {gpu / 3600:,.1f} GPU-hours at {cost.PAPERS_RATE / 1e12:g} TFLOP/s, what the paper's minutes "
        "come to (Table 9)",
        f"disk when all is done: {weights / 1e9:,.1f} GB, nearly all of it weights",
        *([f"{unknown} runs are not in these totals: how many images they have is not known"] if unknown else []),
    ]


def duration(seconds: float | None) -> str:
    """`3.2 h`, `12 min`, `5 s`; a question mark for None."""
    if seconds is None:
        return "?"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"
