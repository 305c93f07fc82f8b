"""Fair comparisons: competitors alternate in rounds, and a round that other processes disturbed is repeated."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MAX_BACKGROUND_LOAD = 0.10  # share of one core; a round with more is repeated
MAX_ROUNDS_FACTOR = 3  # rounds at most, as a multiple of the requested ones; then disturbed rounds count, too


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
    """Seconds of each competitor by round. repeated, accepted: how many disturbed rounds were repeated or used."""

    seconds: dict[str, list[float]]
    repeated: int
    accepted: int

    def ratio(self, name: str, to: str) -> Spread:
        """Return the spread of the ratios of single rounds: turns of one round share the state of the machine."""
        return Spread.of([a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)])

    def of(self, name: str) -> Spread:
        return Spread.of(self.seconds[name])

    def disturbed(self) -> str:
        if not self.repeated + self.accepted:
            return ""
        return f"{self.repeated} disturbed rounds repeated" + (f", {self.accepted} used" if self.accepted else "")


class CPULoad(NamedTuple):
    """CPU use since the machine started, in seconds. wall: a clock."""

    wall: float
    busy: float  # of all cores together, including the time that a virtual machine's host took
    this_process: float  # of it, by this process and its descendants


def read_cpu_load() -> CPULoad | None:
    """Read the CPU use from /proc; None where there is none (it exists on Linux only)."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    ticks = os.sysconf("SC_CLK_TCK")  # per second
    busy = user + nice + system + irq + softirq + steal
    return CPULoad(time.perf_counter(), busy / ticks, _ticks_of_descendants() / ticks)


def _ticks_of_descendants() -> int:
    """Return the CPU ticks of this process and its descendants."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    return sum(value for pid, value in ticks.items() if _is_descendant(pid, parents))


def _is_descendant(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == os.getpid():
            return True
        pid = parents[pid]
    return False


def background_load(before: CPULoad | None, after: CPULoad | None) -> float:
    """Return the share of one core that other processes used between two readings; 0 where there are no readings."""
    if before is None or after is None:
        return 0.0
    busy, this_process = after.busy - before.busy, after.this_process - before.this_process
    return (busy - this_process) / (after.wall - before.wall)


def alternate(
    work: dict[str, Callable[[], object]],
    rounds: int,
    wait: Callable[[], object] = lambda: None,
    *,
    clock: Callable[[], float] = time.perf_counter,
    read_load: Callable[[], CPULoad | None] = read_cpu_load,
) -> Times:
    """Time each competitor of `work` once per round, after one warm-up round. The order changes with each round.

    wait: returns when the device is done."""
    seconds = {name: [] for name in work}
    names, repeated, accepted = list(work), 0, 0
    max_rounds = MAX_ROUNDS_FACTOR * rounds
    for number in range(1 + max_rounds):
        round_seconds, load_before = {}, read_load()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            wait()
            start = clock()
            work[name]()
            wait()
            round_seconds[name] = clock() - start
        disturbed = background_load(load_before, read_load()) > MAX_BACKGROUND_LOAD
        missing = rounds - len(seconds[names[0]])
        if number == 0 or (disturbed and missing <= max_rounds - number):
            repeated += disturbed and number > 0
            continue
        accepted += disturbed
        for name, value in round_seconds.items():
            seconds[name].append(value)
        if missing == 1:
            break
    return Times(seconds, repeated, accepted)
