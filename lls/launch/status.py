"""What a person sees while several runs are trained: all of them on a terminal, a line for each that ends elsewhere."""

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
    """The state of `total` runs, of which at most `slots` are trained at a time; a context manager. What it shows of a
    run it reads from its metrics.jsonl."""

    def __init__(self, total: int, slots: int):
        self.total, self.slots = total, slots
        self.done = self.failed = 0
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.drawn, self.next = 0, 0.0
        self.seconds: dict[tuple[str, str], float] = {}  # an epoch's, by data set and network

    def __enter__(self) -> "StatusDisplay":
        return self

    def __exit__(self, *_) -> None:
        self._erase()

    def report(self, run: Run, status: int | str | None, running: Sequence[Run], waiting: Sequence[Run]) -> None:
        """Say for good how a run ended. status: None if it is done, else as in a Failure."""
        if status is None:
            self.done += 1
            self._last_row(run)
            result = run.result
            ended = (
                f"top-1 {format_measure(result, 'top1', '.2f', ' %')}, {format_measure(result, 'seconds', '.0f', ' s')}"
            )
        else:
            self.failed += 1
            ended = f"FAILED, {f'exit status {status}' if isinstance(status, int) else status}"
        position = f"{self.done + self.failed:>{len(str(self.total))}}/{self.total}"
        self._erase()
        print(f"[{position}] {run.id}  {ended}{self._left(running, waiting)}", flush=True)

    def refresh(self, running: Sequence[Run], waiting: Sequence[Run], note: str = "") -> None:
        """Draw the runs under way, on a terminal, once a second at most. note: of those that wait."""
        if not self.terminal or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + 1
        width, height = shutil.get_terminal_size()
        lines = [self._line(run) for run in running]
        if len(lines) > height - 2:
            lines = [*lines[: height - 3], f"  and {len(lines) - height + 3} more"]
        failed = f", {self.failed} failed" if self.failed else ""
        counts = f"{self.done}/{self.total} done{failed}, {len(running)} running, {len(waiting)} to come{note}"
        lines.append(counts + self._left(running, waiting))
        self._erase()
        print("\n".join(line[: width - 1] for line in lines), flush=True)
        self.drawn = len(lines)

    def _erase(self) -> None:
        if self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="", flush=True)
        self.drawn = 0

    def _line(self, run: Run) -> str:
        epochs, row = make_schedule(run.cfg.train, run.cfg.budget).epochs, self._last_row(run)
        if row is None:
            return f"  {run.id:<52} epoch 1/{epochs}"
        left = (epochs - row["epoch"]) * (row["seconds"] + row["eval_seconds"])
        return (
            f"  {run.id:<52} epoch {min(row['epoch'] + 1, epochs)}/{epochs}  top-1 {row['top1']:.2f} %  "
            f"{row['images_per_second']:,.0f} images/s  {tqdm.format_interval(left)} left"
        )

    def _last_row(self, run: Run) -> dict | None:
        """The row of the last finished epoch, if there is one."""
        try:
            row = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
        except (OSError, IndexError, ValueError):  # none yet, or half written
            return None
        self.seconds[run.cfg.dataset.name, run.cfg.network.name] = row["seconds"] + row["eval_seconds"]
        return row

    def _left(self, running: Sequence[Run], waiting: Sequence[Run]) -> str:
        """The time until all have ended, in words, from the seconds of the epochs seen so far."""
        if not self.seconds or not (running or waiting):
            return ""
        left = [self._left_of(run) for run in (*running, *waiting)]
        return f"; {tqdm.format_interval(max(sum(left) / self.slots, max(left)))} left"

    def _left_of(self, run: Run) -> float:
        each = self.seconds.get((run.cfg.dataset.name, run.cfg.network.name)) or mean(self.seconds.values())
        return (make_schedule(run.cfg.train, run.cfg.budget).epochs - run.epochs_done) * each
