"""Where tables are written, from which results, and whether the committed ones are those of the committed results."""

from pathlib import Path

from lls.config.assemble import CONFIGS
from lls.files import write_atomic
from lls.paper.tables.declaration import Table, load, names
from lls.paper.tables.render import render
from lls.runs.find import tracked_files
from lls.runs.run import Run
from lls.runs.schema import Failed, Result, is_failed

ROOT = CONFIGS.parent


def finished(run: Run) -> Result | Failed | None:
    """What a run has ended with."""
    return run.failed or run.result


def tracked(run: Run) -> Result | Failed | None:
    """What a run has ended with, if git tracks it."""
    ended = finished(run)
    name = "failed.json" if ended is not None and is_failed(ended) else "result.json"
    return ended if f"outputs/runs/{run.id}/{name}" in tracked_files("outputs/runs/*/*.json") else None


def write(table: Table, folder: Path) -> list[Path]:
    """Render a table to folder/NAME.md, .csv and .tex, from every finished run. Returns the files."""
    return [
        _write(folder / f"{table.name}.{suffix}", text) for suffix, text in render(table, finished)._asdict().items()
    ]


def stale(folder: Path = ROOT / "outputs" / "tables") -> list[str]:
    """What is wrong with the committed tables, a line each: all are rendered again from the committed results."""
    problems, expected = [], set()
    for name in names():
        for suffix, text in render(load(name, all_cells=True), tracked)._asdict().items():
            path = folder / f"{name}.{suffix}"
            expected.add(path.name)
            if not path.exists():
                problems.append(f"{path.name} is missing")
            elif path.read_text() != text:
                problems.append(f"{path.name} is stale")
    known = {Path(name).name for name in tracked_files("outputs/tables/*")}
    return [*problems, *(f"{name} is of no table in configs/table" for name in sorted(known - expected))]


def _write(path: Path, text: str) -> Path:
    write_atomic(path, lambda temporary: temporary.write_text(text))
    return path
