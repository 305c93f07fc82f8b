"""Load the figures that configs/figure/N.yaml declares: rows and columns of runs.

This module imports neither matplotlib nor torch, so that planning the runs of a figure stays fast.
"""

import shlex
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS, override_value
from lls.config.compose import did_you_mean
from lls.errors import UserError
from lls.paper import smoke as small
from lls.runs.planned import run_of
from lls.runs.run import Run
from lls.training.schedule import make_schedule

FIGURES = CONFIGS / "figure"


class Panel(NamedTuple):
    """One run of a figure."""

    row: str  # the row's name; the data set's name if an override has changed the data set
    column: str
    run: Run
    overrides: list[str]
    classes: list[str] | None  # the classes that are shown (None: all)


class Figure(NamedTuple):
    """A declared figure."""

    name: str
    title: str
    drawing: str  # the module of this package that draws it
    needs: list[str]  # files of a run without which it cannot be drawn; of `A or B`, one is enough
    across: int  # panels side by side
    panels: list[Panel]
    deviations: list[str]  # the overrides that change at least one of the declared runs
    partial_needs: tuple[str, ...] = ()  # files of a run that are enough for a part of its panels
    with_title: bool = True
    overrides: tuple[str, ...] = ()  # as given

    @property
    def missing(self) -> dict[str, Panel]:
        """The panels that cannot be drawn yet, by the id of their run."""
        return {panel.run.id: panel for panel in self.panels if missing_reason(panel.run, self.needs)}

    @property
    def drawable(self) -> bool:
        """Whether at least one panel can be drawn, or a part of one."""
        files = [self.needs, self.partial_needs] if self.partial_needs else [self.needs]
        return any(missing_reason(panel.run, names) is None for panel in self.panels for names in files)

    @property
    def command(self) -> str:
        """The command that trains the missing runs and draws the figure."""
        smoke = ["--smoke"] if "SMOKE=1" in self.deviations else []
        return shlex.join(["python", "scripts/figures.py", self.name, *self.overrides, *smoke, "--train"])


def names() -> list[str]:
    """Return the names of the declared figures: those of the paper in its order, then the others."""
    return [*paper_names(), *sorted(path.stem for path in FIGURES.glob("*.yaml") if not path.stem.isdigit())]


def paper_names() -> list[str]:
    """Return the names of the paper's figures, which are numbers, in its order."""
    return sorted((path.stem for path in FIGURES.glob("*.yaml") if path.stem.isdigit()), key=int)


def load(name: str, overrides: Sequence[str] = (), *, smoke: bool = False) -> Figure:
    """Load a declared figure and apply `overrides` to each of its runs.

    overrides: those of train.py, and `title=false`, which leaves out the figure's title.
    smoke: use the small form of each run (lls/paper/smoke.py), with the first seed only.
    Raises UserError if the figure is not declared or an override does not fit its runs."""
    if name not in names():
        raise UserError(f"figure {name}: not declared{did_you_mean(name, names())} (there are: {', '.join(names())})")
    declared = OmegaConf.to_container(OmegaConf.load(FIGURES / f"{name}.yaml"))
    columns = declared.get("columns", [{"name": "", "run": {}}])
    extra = dict(text.partition("=")[::2] for text in overrides)
    title = extra.pop("title", "true")
    if title not in ("true", "false"):
        raise UserError(f"title={title}: must be true or false")
    panels, effective = [], set()
    for row, column in product(declared["rows"], columns):
        for seed in _seeds(row, smoke):
            keys = {key: override_value(value) for key, value in (row["run"] | column["run"] | seed).items()}
            panel = _panel(row, column, keys | extra, smoke)
            panels.append(panel)
            for key in extra:
                without = {other: value for other, value in extra.items() if other != key}
                if _panel(row, column, keys | without, smoke).run.id != panel.run.id:
                    effective.add(key)
    deviations = ["SMOKE=1"] if smoke else []
    deviations += [f"{key}={value}" for key, value in extra.items() if key in effective]
    across = declared.get("across", len(columns))
    return Figure(
        name,
        declared["title"],
        declared["drawing"],
        declared["needs"],
        across,
        panels,
        deviations,
        tuple(declared.get("partial_needs", ())),
        title == "true",
        tuple(overrides),
    )


def _seeds(row: dict[str, Any], smoke: bool) -> list[dict[str, int]]:
    """Return the seeds of a row's runs, as overrides; small runs have the first seed only."""
    seeds = [{"seed": seed} for seed in row.get("seeds", ())] or [{}]
    return seeds[:1] if smoke else seeds


def _panel(row: dict[str, Any], column: dict[str, Any], keys: dict[str, str], smoke: bool) -> Panel:
    overrides = [f"{key}={value}" for key, value in keys.items()]
    overrides = small.overrides(overrides) if smoke else overrides
    run = run_of(overrides)
    row_name = row["name"] if run.cfg.dataset.name == row["run"]["dataset"] else run.cfg.dataset.name
    return Panel(row_name, str(column["name"]), run, overrides, row.get("classes"))


def runs_of(chosen: Iterable[Figure]) -> list[Run]:
    """Return the distinct runs of these figures."""
    return list({panel.run.id: panel.run for figure in chosen for panel in figure.panels}.values())


def files_of(chosen: Iterable[Figure]) -> dict[str, set[str]]:
    """Return the files that these figures need from each run, by the run's id.

    A finished run whose weights are gone has to be trained again, because weights are not tracked by git."""
    files: dict[str, set[str]] = {}
    for figure in chosen:
        for panel in figure.panels:
            alternatives = [need.split(" or ") for need in figure.needs]
            needed = {next(filter(panel.run.has_final, names), names[0]) for names in alternatives}
            files.setdefault(panel.run.id, set()).update(needed)
    return files


def missing_reason(run: Run, files: Sequence[str]) -> str | None:
    """Return why a run cannot be drawn; None if it is finished and has these files."""
    if failed := run.failed:
        return f"diverged in epoch {failed['epoch']}"
    if run.result is None:
        done = run.epochs_done
        return f"not run ({done}/{make_schedule(run.cfg.train, run.cfg.budget).epochs} epochs)" if done else "not run"
    if absent := [need for need in files if not any(map(run.has_final, need.split(" or ")))]:
        return "weights not kept" if absent == ["last.pt"] else f"no {', '.join(absent)}"
    return None
