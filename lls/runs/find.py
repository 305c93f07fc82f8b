"""Find runs on disk: all runs of an output folder, or the one that a name stands for."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lls.config.assemble import CONFIGS
from lls.errors import UserError, one_line
from lls.runs.run import RUNS, Run


def all_runs(output: Path) -> Iterator[Run]:
    """Yield the runs in an output folder in the order of their ids."""
    for path in sorted((output / RUNS).glob("*/config.yaml")):
        yield run_in(path.parent)


@cache
def tracked_files(*patterns: str) -> frozenset[str]:
    """Return the tracked files that match git's patterns, relative to the repository; none outside a git checkout."""
    command = ["git", "ls-files", "--", *patterns]
    try:
        listed = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True)
    except FileNotFoundError:  # git is not installed
        return frozenset()
    return frozenset(listed.stdout.splitlines())


@cache
def tracked_ids() -> frozenset[str]:
    """Return the ids of the runs whose result.json or failed.json git tracks; a staged file counts."""
    files = tracked_files("outputs/runs/*/result.json", "outputs/runs/*/failed.json")
    return frozenset(Path(file).parent.name for file in files)


def run_in(folder: Path) -> Run:
    """Return the run in a folder. The folder may have any path and name.

    Raises UserError if its config.yaml is not a run's configuration."""
    defaults = OmegaConf.load(CONFIGS / "train.yaml")
    try:
        stored = OmegaConf.load(folder / "config.yaml")
        # A run of an older version lacks keys that were added later. Their defaults do not change its id.
        for section in ("dataset", "machine"):
            stored[section] = OmegaConf.merge(defaults[section], stored[section])
        run = Run(stored)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
        raise UserError(
            f"{folder}/config.yaml is not the configuration of a run ({reason}): remove the folder"
        ) from None
    run.folder, run.id = folder, folder.name
    return run


def find_run(name: str, output: Path) -> Run:
    """Return the run of a folder, of a file in it, or of the beginning of an id.

    Raises UserError if no run or several runs match."""
    folder = Path(name).parent if Path(name).is_file() else Path(name)
    if (folder / "config.yaml").exists():
        return run_in(folder.resolve())
    matches = [run for run in all_runs(output) if run.id.startswith(name)]
    exact = [run for run in matches if run.id == name]
    if len(exact or matches) != 1:
        listed = [run.id for run in matches[:5]] + ["..."] * (len(matches) > 5)
        hint = f": {', '.join(listed)}" if matches else " (python scripts/runs.py lists the runs)"
        raise UserError(
            f"{name}: {len(matches) or 'no'} runs in {output / RUNS} have an id that begins with this{hint}"
        )
    return (exact or matches)[0]
