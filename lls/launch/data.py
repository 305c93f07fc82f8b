"""The data sets that runs need and the data folder lacks. Each is obtained once, before the first run starts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lls.data.download import arrays, prepare, published, state
from lls.data.sources import find_source
from lls.errors import UserError
from lls.launch.queue import Failure, Task
from lls.runs.run import Run
from lls.runs.summary import format_count


class MissingData(NamedTuple):
    """A data set that is not in the data folder.

    name: as scripts/prepare_data.py calls it. runs: those that need it. download_bytes: approximate size of what is
    downloaded. problem: why no program can obtain it, and what to do; None if it is downloaded or unpacked."""

    name: str
    folder: Path
    runs: list[Run]
    download_bytes: int
    problem: str | None

    def __str__(self) -> str:
        runs = format_count(len(self.runs), "run")
        if self.problem:
            return f"{self.problem} ({runs}, not started before that)"
        action = f"{self.download_bytes / 1e6:,.0f} MB are downloaded" if self.download_bytes else "it is unpacked"
        return f"{self.name} is not in {self.folder}: {action} first ({runs})"


def missing_data(runs: Sequence[Run]) -> list[MissingData]:
    """Return each data set that some of `runs` need and that is not in their data folder. Nothing is downloaded."""
    by_source: dict[tuple, list[Run]] = {}
    for run in runs:
        data = run.cfg.dataset
        key = data.name, data.get("classes"), data.get("root"), run.cfg.machine.data
        by_source.setdefault(key, []).append(run)
    missing = []
    for group in by_source.values():
        dataset, folder = group[0].cfg.dataset, Path(group[0].cfg.machine.data)
        name = state.published_name(dataset)
        if name is not None and state.is_available(name, folder):
            continue
        problem = None
        try:
            find_source(dataset, folder)
        except UserError as error:
            problem = str(error)
        if name is not None:
            missing.append(MissingData(name, folder, group, state.bytes_to_download(name, folder), problem))
        elif problem:
            missing.append(MissingData(dataset.name, folder, group, 0, problem))
    return missing


def obtain_data(tasks: Sequence[Task]) -> tuple[list[Task], list[Failure]]:
    """Download and unpack the missing data sets of `tasks`.

    Returns the tasks that have their images, and a failure for each other task. Prints one line for each data set that
    cannot be obtained."""
    failures = []
    for data in missing_data([task.run for task in tasks]):
        try:
            if data.problem:
                raise UserError(data.problem)
            if data.name in published.TORCHVISION:
                arrays.ensure_files(data.name, data.folder)
            else:
                prepare.ensure_unpacked(data.name, data.folder)
        except UserError as error:
            print(
                f"{data.name}: {error}; {format_count(len(data.runs), 'run')} not started", file=sys.stderr, flush=True
            )
            failures += [Failure(run, "not started", [f"{data.name} is missing"]) for run in data.runs]
    without = {failure.run.folder for failure in failures}
    return [task for task in tasks if task.run.folder not in without], failures
