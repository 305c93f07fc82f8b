"""The plan of tables and figures: every distinct run with its state, its command and its time left, and the totals."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import GROUPS, flatten, override_value
from lls.config.compose import compose
from lls.launch.queue import Task, missing_tasks
from lls.paper import figures
from lls.paper.figures import Figure
from lls.paper.tables import cost
from lls.paper.tables.declaration import Table, runs_of
from lls.runs.planned import distinct_runs
from lls.runs.run import Run, teacher_run
from lls.runs.summary import format_count
from lls.training.schedule import make_schedule

WEIGHT_BYTES = 4  # of a float32 in last.pt
OTHER_BYTES = 300_000  # of a run's other files


class PlannedRun(NamedTuple):
    run: Run
    command: list[str]  # that trains it
    epochs: int
    epochs_done: int
    done: bool
    diverged: bool
    blocked: bool  # it has no usable teacher, for example because the teacher has diverged
    missing_artifact: str | None  # a file that a finished run has lost and something needs: it is trained again
    seconds: float | None  # left on this machine; None where that cannot be estimated
    gpu_seconds: float | None  # left at the paper's speed
    measured: bool  # `seconds` comes from finished runs of this data set and network

    @property
    def state(self) -> str:
        if self.diverged:
            return "diverged"
        if self.blocked:
            return "no teacher"
        if self.missing_artifact:
            return f"no {self.missing_artifact}"
        if self.done:
            return "done"
        return f"{self.epochs_done}/{self.epochs} epochs" if self.epochs_done else "to do"

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return self.done or self.diverged or self.blocked


def plan(
    tables: Sequence[Table], output: Path, figure_list: Sequence[Figure] = (), *, local: bool = True
) -> list[PlannedRun]:
    """Plan every distinct run of tables and figures. Teachers come before their students.

    output: the folder whose finished runs give the seconds per epoch on this machine.
    local: whether the runs are trained on this machine. If not, its speed is not measured.
    """
    commands = {panel.run.folder: panel.overrides for figure in figure_list for panel in figure.panels}
    commands |= {
        run.folder: [*cell.overrides, f"seed={run.cfg.seed}"]
        for table in tables
        for cell in table.cells.values()
        for run in cell.runs
    }
    runs, rate = (
        distinct_runs([*runs_of(tables), *figures.runs_of(figure_list)]),
        cost.machine_rate() if local else None,
    )
    tasks, failures = missing_tasks(runs, figures.files_of(figure_list))
    tasks_by_folder, blocked = {task.run.folder: task for task in tasks}, {failure.run.folder for failure in failures}
    epoch_seconds = cost.measured_epoch_seconds(output, runs, rate.device) if rate else {}
    return [
        _plan_run(
            run,
            commands.get(run.folder) or run_overrides(run),
            tasks_by_folder.get(run.folder),
            run.folder in blocked,
            epoch_seconds.get(cost.speed_key(run)),
            rate,
        )
        for run in runs
    ]


def _plan_run(
    run: Run, overrides: list[str], task: Task | None, blocked: bool, measured: float | None, rate: cost.Rate | None
) -> PlannedRun:
    """task: None where nothing is left to train. measured: seconds per epoch of finished runs like this one."""
    epochs, missing_artifact = make_schedule(run.cfg.train, run.cfg.budget).epochs, task and task.missing_artifact
    ended = task is None and not blocked
    epochs_done = epochs if ended else 0 if missing_artifact else min(run.epochs_done, epochs)
    epochs_left = 0 if blocked else epochs - epochs_done
    seconds = measured
    if seconds is None and rate:
        seconds = cost.seconds_of_epoch(run, rate.flops)
    gpu_seconds = cost.seconds_of_epoch(run, cost.PAPER_FLOPS_PER_SECOND)
    return PlannedRun(
        run,
        ["python", "train.py", *overrides],
        epochs,
        epochs_done,
        ended and not run.failed,
        run.failed is not None,
        blocked,
        missing_artifact,
        None if seconds is None else epochs_left * seconds,
        None if gpu_seconds is None else epochs_left * gpu_seconds,
        measured is not None,
    )


def run_overrides(run: Run) -> list[str]:
    """Return overrides that compose to a run's configuration: its options, and each value that differs from them."""
    options = [f"{group}={run.cfg[group].name}" for group in GROUPS]
    values, defaults = (
        flatten(OmegaConf.to_container(cfg, resolve=True))
        for cfg in (run.cfg, compose([*options, f"seed={run.cfg.seed}"]))
    )
    different = [key for key, value in values.items() if not isinstance(value, dict) and value != defaults.get(key)]
    options = [text for text in options if text != "augment=none"]
    return [*options, *(f"{key}={override_value(values[key])}" for key in sorted(different)), f"seed={run.cfg.seed}"]


def format_plan(planned: Sequence[PlannedRun]) -> list[str]:
    """Return the lines of the plan: a header, one line per run, and the totals."""
    width = max((len(p.run.id) for p in planned), default=0)
    lines = [f"{'run':<{width}}  {'state':<14} {'time left':>9}   command"] if planned else []
    for p in planned:
        left = "" if p.over else duration(p.seconds) + (" " if p.measured else "~")
        lines.append(f"{p.run.id:<{width}}  {p.state:<14} {left:>10}  {shlex.join(p.command)}")
    return [*lines, "", *totals(planned)]


def totals(planned: Sequence[PlannedRun], *, local: bool = True) -> list[str]:
    """Return the lines that sum up a plan: runs by state, time left and disk space. local: as for `plan`."""
    teachers = {teacher.folder for p in planned if (teacher := teacher_run(p.run))}
    done, diverged, blocked = (sum(getattr(p, name) for p in planned) for name in ("done", "diverged", "blocked"))
    partial = sum(p.epochs_done > 0 and not p.over for p in planned)
    here, gpu = sum(p.seconds or 0 for p in planned), sum(p.gpu_seconds or 0 for p in planned)
    disk = sum(WEIGHT_BYTES * cost.size_of(p.run).parameters + OTHER_BYTES for p in planned)
    unknown = sum(p.gpu_seconds is None for p in planned)
    to_do = len(planned) - done - diverged - blocked - partial
    return [
        f"{format_count(len(planned), 'run')}, {len(teachers)} of them teachers of others: {done} done, "
        f"{f'{diverged} diverged, ' if diverged else ''}{f'{blocked} without a teacher, ' if blocked else ''}"
        f"{partial} partial, {to_do} to do",
        *(_local_time(here) if local else []),
        f"{'or on one GPU' if local else 'time left on one GPU'}: {gpu / 3600:,.1f} GPU-hours at "
        f"{cost.PAPER_FLOPS_PER_SECOND / 1e12:g} TFLOP/s, the speed behind the paper's minutes (Table 9)",
        f"disk space of all runs: {disk / 1e9:,.1f} GB, nearly all of it weights",
        *([f"{unknown} runs are not in these times: their numbers of images are not known"] if unknown else []),
    ]


def _local_time(seconds: float) -> list[str]:
    rate = cost.machine_rate()
    return [
        f"time left, one run at a time: {duration(seconds)} on this machine ({rate.device}, "
        f"{rate.flops / 1e12:.3g} TFLOP/s measured; ~ marks estimates without a finished run like it on this machine)"
    ]


def outlook(planned: Sequence[PlannedRun], *, local: bool = True) -> tuple[list[str], float]:
    """Return lines that say what training a plan takes, and the seconds of the runs that can start, one at a time.

    The lines are the totals, the missing data sets and how to get each, and what will be done; none if all is done.
    local: as for `plan`; if false, the seconds are at the speed behind the paper's minutes, and the data folder is not
    examined, since jobs of a cluster may see another one. Runs whose time is not known count as 0."""
    from lls.launch.data import missing_data  # here: it imports torch, and a plan does not need it

    left = [p for p in planned if not p.over]
    if not left:
        return [], 0
    missing = missing_data([p.run for p in left]) if local else []
    without_data = {run.folder for data in missing if data.problem for run in data.runs}
    startable = [p for p in left if p.run.folder not in without_data]
    seconds = sum((p.seconds if local else p.gpu_seconds) or 0 for p in startable)
    action = f"train {format_count(len(startable), 'run')}, teachers first, and render the tables"
    next_line = f"next: {action}: {duration(seconds)} on {'this machine' if local else 'one GPU'}, one run at a time"
    if not startable:
        next_line = "next: render the tables; no run can start"
    return [*totals(planned, local=local), *(f"missing data: {data}" for data in missing), next_line], seconds


def duration(seconds: float | None) -> str:
    """Format seconds as `3.2 h`, `12.0 min` or `5 s`; `?` for None."""
    if seconds is None:
        return "?"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"
