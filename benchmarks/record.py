"""The ratios that must not get worse: kept in a tracked file for each kind of device, and compared with it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Spread
from lls.files import write_atomic


class Goal(NamedTuple):
    """What a ratio has to be."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"


class Record:
    """Ratios by name, each with its goal if there is one; `path` holds those of last time. about: what else is kept of
    each, as commit and device."""

    def __init__(self, path: Path, **about: object):
        self.path, self.about = path, about
        self.last = json.loads(path.read_text()) if path.exists() else {"ratios": {}}
        self.ratios: dict[str, Spread] = {}
        self.goals: dict[str, Goal] = {}

    def add(self, name: str, ratio: Spread, goal: Goal | None = None) -> None:
        self.ratios[name] = ratio
        if goal is not None:
            self.goals[name] = goal

    def lines(self) -> list[str]:
        """One a ratio: median, quartiles, goal, change."""
        width = max(map(len, self.ratios), default=0)
        return [
            f"{name:<{width}}  {ratio}  {self._judged(name)}{self._change(name)}" for name, ratio in self.ratios.items()
        ]

    def missed(self) -> list[str]:
        return [name for name, goal in self.goals.items() if not goal.met(self.ratios[name].median)]

    def write(self) -> None:
        """Keep these ratios and, of last time's, those that were not measured now."""
        ratios = {name: list(map(_short, ratio)) for name, ratio in self.ratios.items()}
        goals = {name: {"goal": str(goal), "met": name not in self.missed()} for name, goal in self.goals.items()}
        entry = {**self.about, "date": datetime.now(UTC).date().isoformat()}
        kept = self.last["ratios"] | {
            name: {"median": middle, "quartiles": [low, high], **goals.get(name, {}), **entry}
            for name, (low, middle, high) in ratios.items()
        }
        kept = {"ratios": dict(sorted(kept.items()))}
        write_atomic(self.path, lambda temporary: temporary.write_text(json.dumps(kept, indent=1) + "\n"))
        write_atomic(self.path.with_suffix(".md"), lambda temporary: temporary.write_text(markdown(kept)))

    def _judged(self, name: str) -> str:
        goal = self.goals.get(name)
        return "" if goal is None else f"{goal}: {'yes' if name not in self.missed() else 'NO'}"

    def _change(self, name: str) -> str:
        last = self.last["ratios"].get(name)
        if last is None:
            return ""
        change = self.ratios[name].median / last["median"] - 1
        within = last["quartiles"][0] <= self.ratios[name].median <= last["quartiles"][1]
        return f"  {change:+.1%} since {last['date']} ({last['commit']}){', within its spread' if within else ''}"


def markdown(kept: dict) -> str:
    """What a file of ratios says, for people."""
    devices = sorted({f"{entry['device']}, {entry['threads']} threads" for entry in kept["ratios"].values()})
    lines = [f"# Measured by `make bench` on {'; '.join(devices)}", ""]
    lines += ["| | median | quartiles | goal | | measured |", "|---|---|---|---|---|---|"]
    for name, entry in kept["ratios"].items():
        quartiles = " to ".join(f"{value:.3g}" for value in entry["quartiles"])
        met = {True: "met", False: "**missed**", None: ""}[entry.get("met")]
        when = f"{entry['date']}, {entry['commit']}"
        lines.append(f"| {name} | {entry['median']:.3g} | {quartiles} | {entry.get('goal', '')} | {met} | {when} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> float:
    return float(f"{value:.4g}")
