"""Fair turns: what is compared alternates in rounds, and a round during which something else ran is done again."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

FOREIGN = 0.10  # of one core's time: more is a round to repeat
TRIES = 3  # times as many rounds as wanted, and then what there is will do


class Spread(NamedTuple):
    """Quartiles of a number over the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(*statistics.quantiles(values, n=4)) if len(values) > 1 else cls(*values * 3)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


class Times(NamedTuple):
    """Seconds of each competitor by round, and how many rounds were disturbed: done again, or kept when all were."""

    seconds: dict[str, list[float]]
    repeated: int
    kept: int

    def ratio(self, name: str, to: str) -> Spread:
        """Of the rounds' own ratios: neighbours in time share whatever the machine was doing."""
        return Spread.of([a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)])

    def of(self, name: str) -> Spread:
        return Spread.of(self.seconds[name])

    def disturbed(self) -> str:
        if not self.repeated + self.kept:
            return ""
        return f"{self.repeated} disturbed rounds repeated" + (f", {self.kept} kept" if self.kept else "")


def alternate(work: dict[str, Callable[[], object]], rounds: int, wait: Callable[[], object] = lambda: None) -> Times:
    """Do all of `work` in each of `rounds` rounds, in changing order, after one round to warm up. `wait`: for the
    device to be done."""
    seconds = {name: [] for name in work}
    names, repeated, kept = list(work), 0, 0
    for number in range(1 + TRIES * rounds):
        took, before = {}, _load()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            wait()
            started = time.perf_counter()
            work[name]()
            wait()
            took[name] = time.perf_counter() - started
        noisy = background_load(before, _load()) > FOREIGN
        missing = rounds - len(seconds[names[0]])
        if number == 0 or (noisy and missing <= TRIES * rounds - number):
            repeated += noisy and number > 0
            continue
        kept += noisy
        for name, value in took.items():
            seconds[name].append(value)
        if missing == 1:
            break
    return Times(seconds, repeated, kept)


class _Load(NamedTuple):
    wall: float
    busy: float  # seconds of all cores together, what the host took from this machine included
    own: float  # of them, this process's and its children's


def _load() -> _Load | None:
    """None where the system does not say (only Linux does)."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return _Load(time.perf_counter(), (user + nice + system + irq + softirq + steal) / tick, _own() / tick)


def _own() -> int:
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    return sum(value for pid, value in ticks.items() if _descends(pid, parents))


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == os.getpid():
            return True
        pid = parents[pid]
    return False


def background_load(before: _Load | None, after: _Load | None) -> float:
    """The share of one core that others had; 0 where it can't be known."""
    if before is None or after is None:
        return 0.0
    return (after.busy - before.busy - (after.own - before.own)) / (after.wall - before.wall)
