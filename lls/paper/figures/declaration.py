"""The figures that configs/figure/N.yaml declares: rows x columns of runs.

A panel shows a finished run or says what is lacking. Matplotlib and torch are imported when something is drawn, so that
the runs of a figure can be planned without them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError
from lls.paper import smoke as small
from lls.runs.planned import run_of
from lls.runs.run import Run
from lls.training.schedule import make_schedule

FIGURES = CONFIGS / "figure"


class Panel(NamedTuple):
    """One run of a figure: the names of its row, or of its data set where that is another, and of its column; and the
    classes that it shows (None: all)."""

    row: str
    column: str
    run: Run
    overrides: list[str]
    classes: list[str] | None


class Figure(NamedTuple):
    """A declared figure. `stated`: the overrides by which its runs differ from those that it declares."""

    name: str
    title: str
    drawing: str  # the module of this package that draws it
    needs: list[str]  # files that a run must have kept to be drawn
    across: int  # panels side by side
    panels: list[Panel]
    stated: list[str]

    @property
    def missing(self) -> dict[str, Panel]:
        """The panels whose run can't be shown, by the run's id."""
        return {panel.run.id: panel for panel in self.panels if missing_reason(panel.run, self.needs)}


def names() -> list[str]:
    """The declared figures, in the paper's order."""
    return sorted((path.stem for path in FIGURES.glob("*.yaml")), key=lambda name: (len(name), name))


def load(name: str, overrides: Sequence[str] = (), *, smoke: bool = False) -> Figure:
    """Figure `name` with `overrides` added to each of its runs. smoke: every run in its small form (smoke.py).
    UserError for a figure that is not declared, or an override that does not fit its runs."""
    if name not in names():
        raise UserError(f"figure {name}: not declared{did_you_mean(name, names())} (there are: {', '.join(names())})")
    declared = OmegaConf.to_container(OmegaConf.load(FIGURES / f"{name}.yaml"))
    columns = declared.get("columns", [{"name": "", "run": {}}])
    added = dict(text.partition("=")[::2] for text in overrides)
    panels, stated = [], set()
    for row in declared["rows"]:
        for column in columns:
            own = {key: str(value) for key, value in (row["run"] | column["run"]).items()}
            run, words = _run(own | added, smoke)
            stated |= {key for key in added if _run(own | _without(added, key), smoke)[0].id != run.id}
            of = row["name"] if run.cfg.dataset.name == row["run"]["dataset"] else run.cfg.dataset.name
            panels.append(Panel(of, str(column["name"]), run, words, row.get("classes")))
    said = ["SMOKE=1"] if smoke else []
    said += [f"{key}={value}" for key, value in added.items() if key in stated]
    across = declared.get("across", len(columns))
    return Figure(name, declared["title"], declared["drawing"], declared["needs"], across, panels, said)


def _run(said: dict[str, str], smoke: bool) -> tuple[Run, list[str]]:
    words = [f"{key}={value}" for key, value in said.items()]
    words = small.overrides(words) if smoke else words
    return run_of(words), words


def _without(added: dict[str, str], key: str) -> dict[str, str]:
    return {other: value for other, value in added.items() if other != key}


def runs_of(chosen: Iterable[Figure]) -> list[Run]:
    """Every run that these figures need, each once."""
    return list({panel.run.id: panel.run for figure in chosen for panel in figure.panels}.values())


def files_of(chosen: Iterable[Figure]) -> dict[str, set[str]]:
    """By a run's id, the files that these figures need of it: weights are not tracked, and have to be trained again."""
    files: dict[str, set[str]] = {}
    for figure in chosen:
        for panel in figure.panels:
            files.setdefault(panel.run.id, set()).update(figure.needs)
    return files


def missing_reason(run: Run, files: Sequence[str]) -> str | None:
    """What is said in place of a run's picture; None if the run is done and has these files."""
    if failed := run.failed:
        return f"diverged in epoch {failed['epoch']}"
    if run.result is None:
        done = run.epochs_done
        return f"not run ({done}/{make_schedule(run.cfg.train, run.cfg.budget).epochs} epochs)" if done else "not run"
    if absent := [name for name in files if not run.has(name)]:
        return "weights not kept" if absent == ["last.pt"] else f"no {', '.join(absent)}"
    return None
