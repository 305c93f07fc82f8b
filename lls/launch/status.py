"""The progress of several runs: on a terminal a table of the running ones, elsewhere one line for each that ends."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from statistics import mean

from tqdm import tqdm

from lls.runs.run import Run
from lls.runs.summary import format_measure
from lls.training.schedule import make_schedule


class StatusDisplay:
    """Show the progress of `total` runs, of which `slots` are trained at a time. A context manager.

    The numbers of a run are read from its metrics.jsonl."""

    def __init__(self, total: int, slots: int):
        self.total, self.slots = total, slots
        self.done = self.failed = 0
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.drawn_lines, self.next_refresh = 0, 0.0
        self.epoch_seconds: dict[tuple[str, str], float] = {}  # by data set and network

    def __enter__(self) -> "StatusDisplay":
        return self

    def __exit__(self, *_) -> None:
        self._erase()

    def report(self, run: Run, status: int | str | None, running: Sequence[Run], waiting: Sequence[Run]) -> None:
        """Print a line for a run that has ended. status: None if the run is done, else the status of its Failure."""
        if status is None:
            self.done += 1
            self._last_row(run)
            top1 = format_measure(run.result, "top1", ".2f", " %")
            outcome = f"top-1 {top1}, {format_measure(run.result, 'seconds', '.0f', ' s')}"
        else:
            self.failed += 1
            outcome = f"FAILED, {f'exit status {status}' if isinstance(status, int) else status}"
        position = f"{self.done + self.failed:>{len(str(self.total))}}/{self.total}"
        self._erase()
        print(f"[{position}] {run.id}  {outcome}{self._time_left(running, waiting)}", flush=True)

    def refresh(self, running: Sequence[Run], waiting: Sequence[Run], note: str = "") -> None:
        """On a terminal, redraw the running runs, at most once a second. note: text after the counts."""
        if not self.terminal or time.monotonic() < self.next_refresh:
            return
        self.next_refresh = time.monotonic() + 1
        width, height = shutil.get_terminal_size()
        lines = [self._line(run) for run in running]
        if len(lines) > height - 2:
            lines = [*lines[: height - 3], f"  and {len(lines) - height + 3} more"]
        failed = f", {self.failed} failed" if self.failed else ""
        counts = f"{self.done}/{self.total} done{failed}, {len(running)} running, {len(waiting)} waiting{note}"
        lines.append(counts + self._time_left(running, waiting))
        self._erase()
        print("\n".join(line[: width - 1] for line in lines), flush=True)
        self.drawn_lines = len(lines)

    def _erase(self) -> None:
        if self.drawn_lines:
            print(f"\x1b[{self.drawn_lines}A\x1b[J", end="", flush=True)
        self.drawn_lines = 0

    def _line(self, run: Run) -> str:
        epochs, row = make_schedule(run.cfg.train, run.cfg.budget).epochs, self._last_row(run)
        if row is None:
            return f"  {run.id:<52} epoch 1/{epochs}"
        seconds = (epochs - row["epoch"]) * (row["seconds"] + row["eval_seconds"])
        return (
            f"  {run.id:<52} epoch {min(row['epoch'] + 1, epochs)}/{epochs}  top-1 {row['top1']:.2f} %  "
            f"{row['images_per_second']:,.0f} images/s  {tqdm.format_interval(seconds)} left"
        )

    def _last_row(self, run: Run) -> dict | None:
        """Return the metrics of the last finished epoch, or None, and remember how long the epoch took."""
        try:
            row = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
        except (OSError, IndexError, ValueError):  # no row yet, or an incomplete one
            return None
        self.epoch_seconds[run.cfg.dataset.name, run.cfg.network.name] = row["seconds"] + row["eval_seconds"]
        return row

    def _time_left(self, running: Sequence[Run], waiting: Sequence[Run]) -> str:
        """Return the time until all runs have ended, as text, estimated from the epochs that are finished."""
        if not self.epoch_seconds or not (running or waiting):
            return ""
        seconds = [self._seconds_left(run) for run in (*running, *waiting)]
        return f"; {tqdm.format_interval(max(sum(seconds) / self.slots, max(seconds)))} left"

    def _seconds_left(self, run: Run) -> float:
        key = run.cfg.dataset.name, run.cfg.network.name
        epoch_seconds = self.epoch_seconds.get(key) or mean(self.epoch_seconds.values())
        return (make_schedule(run.cfg.train, run.cfg.budget).epochs - run.epochs_done) * epoch_seconds
