"""Where tables are written, from which results, and whether the committed tables match the committed results."""

from pathlib import Path

from lls.config.assemble import CONFIGS
from lls.files import write_atomic
from lls.paper.tables.declaration import Table, load
from lls.paper.tables.render import render
from lls.paper.tables.yaml_files import names
from lls.runs.find import tracked_files
from lls.runs.run import Run
from lls.runs.schema import Failed, Result, is_failed

ROOT = CONFIGS.parent


def result_or_failure(run: Run) -> Result | Failed | None:
    """Return a run's failed.json if it has diverged, else its result.json; None if it has neither."""
    return run.failed or run.result


def tracked_result_or_failure(run: Run) -> Result | Failed | None:
    """Return the same as `result_or_failure` if git tracks that file, else None."""
    ended = result_or_failure(run)
    name = "failed.json" if ended is not None and is_failed(ended) else "result.json"
    return ended if f"outputs/runs/{run.id}/{name}" in tracked_files("outputs/runs/*/*.json") else None


def write(table: Table, folder: Path) -> list[Path]:
    """Render a table to folder/NAME.md, .csv and .tex, from all finished runs. Return the paths of the files."""
    texts = render(table, result_or_failure)._asdict()
    return [_write(folder / f"{table.name}.{suffix}", text) for suffix, text in texts.items()]


def tracked_names() -> list[str]:
    """Return the names of the declared tables whose yaml git tracks; none outside a git checkout."""
    tracked = tracked_files("configs/table/*.yaml")
    return [name for name in names() if f"configs/table/{name}.yaml" in tracked]


def stale(folder: Path = ROOT / "outputs" / "tables") -> list[str]:
    """Render the tracked tables from the tracked results, and return a line for each file in `folder` that differs."""
    problems, expected = [], set()
    for name in tracked_names():
        for suffix, text in render(load(name, all_cells=True), tracked_result_or_failure)._asdict().items():
            path = folder / f"{name}.{suffix}"
            expected.add(path.name)
            if not path.exists():
                problems.append(f"{path.name} is missing")
            elif path.read_text() != text:
                problems.append(f"{path.name} is stale")
    tracked = {Path(name).name for name in tracked_files("outputs/tables/*")}
    return [*problems, *(f"{name} belongs to no tracked table" for name in sorted(tracked - expected))]


def _write(path: Path, text: str) -> Path:
    write_atomic(path, lambda temporary: temporary.write_text(text))
    return path
