"""Runs that are on disk: all of a folder, or the one that a name means."""

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
    """Every run in an output folder, by name."""
    for path in sorted((output / RUNS).glob("*/config.yaml")):
        yield run_in(path.parent)


@cache
def tracked_files(*patterns: str) -> frozenset[str]:
    """Return the paths that git tracks below the repository's root; none outside a git checkout."""
    command = ["git", "ls-files", "--", *patterns]
    return frozenset(subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True).stdout.splitlines())


@cache
def tracked_ids() -> frozenset[str]:
    """Return the ids of the runs whose result or failure git tracks; `git add` is enough."""
    files = tracked_files("outputs/runs/*/result.json", "outputs/runs/*/failed.json")
    return frozenset(Path(file).parent.name for file in files)


def run_in(folder: Path) -> Run:
    """The run that a folder holds, wherever it is and whatever it is called."""
    defaults = OmegaConf.load(CONFIGS / "train.yaml")
    try:
        stored = OmegaConf.load(folder / "config.yaml")
        for section in ("dataset", "machine"):  # keys that came later than the run: nulls, and what is no part of it
            stored[section] = OmegaConf.merge(defaults[section], stored[section])
        run = Run(stored)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
        raise UserError(f"{folder}/config.yaml is no run's configuration ({reason}): remove the folder") from None
    run.folder, run.id = folder, folder.name
    return run


def find_run(name: str, output: Path) -> Run:
    """The run of a folder, or of the beginning of its id. UserError where there is none, or several."""
    folder = Path(name).parent if Path(name).is_file() else Path(name)
    if (folder / "config.yaml").exists():
        return run_in(folder.resolve())
    found = [run for run in all_runs(output) if run.id.startswith(name)]
    exact = [run for run in found if run.id == name]
    if len(exact or found) != 1:
        several = ": " + ", ".join(run.id for run in found[:5]) if found else " (python scripts/runs.py lists them)"
        raise UserError(f"{name}: {len(found) or 'no'} runs in {output / RUNS} begin so{several}")
    return (exact or found)[0]
