"""The paper's figures, each declared in configs/figure/N.yaml as rows x columns of runs and drawn by one module here.

A panel shows a finished run or says what is lacking. Matplotlib and torch are imported when something is drawn, so that
the runs of a figure can be planned without them.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.config.assemble import CONFIGS
from lls.config.compose import nearest
from lls.errors import UserError
from lls.files import write_whole
from lls.paper import smoke as small
from lls.runs.planned import keep, run_of
from lls.runs.run import Run
from lls.training.schedule import schedule

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
        return {panel.run.id: panel for panel in self.panels if lacking(panel.run, self.needs)}


def names() -> list[str]:
    """The declared figures, in the paper's order."""
    return sorted((path.stem for path in FIGURES.glob("*.yaml")), key=lambda name: (len(name), name))


def load(name: str, overrides: Sequence[str] = (), *, smoke: bool = False) -> Figure:
    """Figure `name` with `overrides` added to each of its runs. smoke: every run in its small form (smoke.py).
    UserError for a figure that is not declared, or an override that does not fit its runs."""
    if name not in names():
        raise UserError(f"figure {name}: not declared{nearest(name, names())} (there are: {', '.join(names())})")
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
    keep()
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


def draw(figure: Figure) -> tuple[Path, Path]:
    """Draw a figure as PNG and PDF under <machine.output>/figures and return their paths. A panel whose run is missing
    says so. The PNG's metadata names the runs that are shown."""
    from lls.paper.figures import page

    folder = Path(figure.panels[0].run.cfg.machine.output) / "figures"
    said = [text for text in figure.stated if text != "SMOKE=1"]  # which has a folder of its own
    stem = "-".join([figure.name, *(re.sub(r"[^\w.]+", "-", text) for text in said)])
    png, pdf = folder / f"{stem}.png", folder / f"{stem}.pdf"
    runs = " ".join(sorted({panel.run.id for panel in figure.panels} - set(figure.missing)))
    about = {"Title": f"Figure {figure.name}: {page.headline(figure)}"}
    with page.style():
        drawing = importlib.import_module(f"lls.paper.figures.{figure.drawing}").draw(figure)
        drawing.suptitle(page.headline(figure), fontsize=8, linespacing=1.4)
        drawing.draw_without_rendering()  # the layout of square panels settles in the second pass
        keys = about | {"Description": runs, "Software": None}
        write_whole(png, lambda path: drawing.savefig(path, format="png", dpi=page.DPI, metadata=keys))
        keys = about | {"Keywords": runs, "CreationDate": None}
        write_whole(pdf, lambda path: drawing.savefig(path, format="pdf", metadata=keys))
    return png, pdf


def lacking(run: Run, files: Sequence[str]) -> str | None:
    """What is said in place of a run's picture; None if the run is done and has these files."""
    if failed := run.failed:
        return f"diverged in epoch {failed['epoch']}"
    if run.result is None:
        done = run.epochs_done
        return f"not run ({done}/{schedule(run.cfg.train, run.cfg.budget).epochs} epochs)" if done else "not run"
    if absent := [name for name in files if not run.has(name)]:
        return "weights not kept" if absent == ["last.pt"] else f"no {', '.join(absent)}"
    return None
