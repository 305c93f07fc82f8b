"""Load the figures that configs/figure/NAME.yaml declares: rows and columns of runs.

This module imports neither matplotlib nor torch, so that planning the runs of a figure stays fast.
"""

import shlex
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from lls.config.assemble import override_value
from lls.errors import UserError
from lls.files import file_stem
from lls.paper import smoke as small
from lls.paper.figures import yaml_files
from lls.runs.planned import run_of
from lls.runs.run import Run
from lls.training.schedule import make_schedule


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
    def partly_drawable_runs(self) -> list[str]:
        """The sorted ids of the missing runs of which a part of the panels can be drawn."""
        missing = self.missing.items() if self.partial_needs else ()
        return sorted(id for id, panel in missing if missing_reason(panel.run, self.partial_needs) is None)

    @property
    def drawable_runs(self) -> list[str]:
        """The sorted ids of the runs that can be drawn, in full or in part."""
        full = {panel.run.id for panel in self.panels} - self.missing.keys()
        return sorted(full.union(self.partly_drawable_runs))

    @property
    def stem(self) -> str:
        """The name of its files without suffix: `8-budget-0.05`; without title, `no-title-8-budget-0.05`."""
        # SMOKE=1 is no part of it, because small runs have another output folder.
        stem = file_stem(self.name, [text for text in self.deviations if text != "SMOKE=1"])
        return stem if self.with_title else f"no-title-{stem}"

    @property
    def tag(self) -> str:
        """The tag of its runs in W&B: `figure-8-budget-0.05`."""
        return file_stem(f"figure-{self.name}", self.deviations)

    @property
    def command(self) -> str:
        """The command that trains the missing runs and draws the figure."""
        smoke = ["--smoke"] if "SMOKE=1" in self.deviations else []
        return shlex.join(["python", "scripts/figures.py", self.name, *self.overrides, *smoke, "--train"])


def names() -> list[str]:
    """Return the names of the declared figures: those of the paper in its order, then the others."""
    return yaml_files.names()


def paper_names() -> list[str]:
    """Return the names of the paper's figures, which are numbers, in its order."""
    return [name for name in names() if name.isdigit()]


def load(name: str, overrides: Sequence[str] = (), *, smoke: bool = False, folder: Path = yaml_files.FOLDER) -> Figure:
    """Load a declared figure and apply `overrides` to each of its runs.

    overrides: those of train.py, and `title=false`, which leaves out the figure's title.
    smoke: use the small form of each run (lls/paper/smoke.py), with the first seed only.
    folder: where the yaml file is.
    Raises UserError if the figure is not declared, its yaml file is wrong, or an override does not fit its runs."""
    declared = yaml_files.read(name, folder)
    extra = dict(text.partition("=")[::2] for text in overrides)
    title = extra.pop("title", "true")
    if title not in ("true", "false"):
        raise UserError(f"title={title}: must be true or false")
    panels = _panels(declared, extra, smoke)
    deviations = ["SMOKE=1"] if smoke else []
    ids = [panel.run.id for panel in panels]
    for key, value in extra.items():
        if _ids(declared, {other: extra[other] for other in extra if other != key}, smoke) != ids:
            deviations.append(f"{key}={value}")
    return Figure(
        name=name,
        title=declared["title"],
        drawing=declared["drawing"],
        needs=declared["needs"],
        across=declared.get("across", len(_columns(declared))),
        panels=panels,
        deviations=deviations,
        partial_needs=tuple(declared.get("partial_needs", ())),
        with_title=title == "true",
        overrides=tuple(overrides),
    )


def _columns(declared: dict[str, Any]) -> list[dict[str, Any]]:
    return declared.get("columns", [{"name": "", "run": {}}])


def _panels(declared: dict[str, Any], extra: dict[str, str], smoke: bool) -> list[Panel]:
    """Return a panel per row, column and seed. `extra` has overrides that win over those of the yaml file."""
    panels = []
    for row, column in product(declared["rows"], _columns(declared)):
        for seed in _seeds(row, smoke):
            keys = {key: override_value(value) for key, value in (row["run"] | column["run"] | seed).items()}
            panels.append(_panel(row, column, keys | extra, smoke))
    return panels


def _ids(declared: dict[str, Any], extra: dict[str, str], smoke: bool) -> list[str] | None:
    """Return the ids of the runs of all panels.

    Return None if an override needs one that is not there, as dataset.root needs dataset=imagefolder."""
    try:
        return [panel.run.id for panel in _panels(declared, extra, smoke)]
    except UserError:
        return None


def _seeds(row: dict[str, Any], smoke: bool) -> list[dict[str, int]]:
    """Return the seeds of a row's runs, as overrides; small runs have the first seed only."""
    seeds = [{"seed": seed} for seed in row.get("seeds", ())] or [{}]
    return seeds[:1] if smoke else seeds


def _panel(row: dict[str, Any], column: dict[str, Any], keys: dict[str, str], smoke: bool) -> Panel:
    overrides = [f"{key}={value}" for key, value in keys.items()]
    overrides = small.overrides(overrides) if smoke else overrides
    run = run_of(overrides)
    row_name = str(row["name"]) if run.cfg.dataset.name == row["run"]["dataset"] else run.cfg.dataset.name
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
