"""A record of ratios: one tracked file for each kind of device. New ratios are compared with the recorded ones."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Spread
from lls.files import write_atomic


class Goal(NamedTuple):
    """The limit of a ratio: an upper one, or a lower one with `at_least`."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"


class Record:
    """Ratios by name, with goals for some. path: the file of the recorded ratios. about: values that are written with
    each new ratio, such as commit and device."""

    def __init__(self, path: Path, **about: object):
        self.path, self.about = path, about
        self.recorded = json.loads(path.read_text()) if path.exists() else {"ratios": {}}
        self.ratios: dict[str, Spread] = {}
        self.goals: dict[str, Goal] = {}

    def add(self, name: str, ratio: Spread, goal: Goal | None = None) -> None:
        self.ratios[name] = ratio
        if goal is not None:
            self.goals[name] = goal

    def lines(self) -> list[str]:
        """Return a line for each ratio: median, quartiles, goal, change since it was recorded."""
        width = max(map(len, self.ratios), default=0)
        return [
            f"{name:<{width}}  {ratio}  {self._verdict(name)}{self._change(name)}"
            for name, ratio in self.ratios.items()
        ]

    def missed(self) -> list[str]:
        """Return the names of the ratios that miss their goal."""
        return [name for name, goal in self.goals.items() if not goal.met(self.ratios[name].median)]

    def write(self) -> None:
        """Write the new ratios and the recorded ones that were not measured again, as JSON and as Markdown."""
        ratios = {name: list(map(_four_digits, ratio)) for name, ratio in self.ratios.items()}
        goals = {name: {"goal": str(goal), "met": name not in self.missed()} for name, goal in self.goals.items()}
        about = {**self.about, "date": datetime.now(UTC).date().isoformat()}
        merged = self.recorded["ratios"] | {
            name: {"median": median, "quartiles": [low, high], **goals.get(name, {}), **about}
            for name, (low, median, high) in ratios.items()
        }
        data = {"ratios": dict(sorted(merged.items()))}
        write_atomic(self.path, lambda temporary: temporary.write_text(json.dumps(data, indent=1) + "\n"))
        write_atomic(self.path.with_suffix(".md"), lambda temporary: temporary.write_text(markdown(data)))

    def _verdict(self, name: str) -> str:
        goal = self.goals.get(name)
        return "" if goal is None else f"{goal}: {'yes' if name not in self.missed() else 'NO'}"

    def _change(self, name: str) -> str:
        recorded = self.recorded["ratios"].get(name)
        if recorded is None:
            return ""
        change = self.ratios[name].median / recorded["median"] - 1
        within = recorded["quartiles"][0] <= self.ratios[name].median <= recorded["quartiles"][1]
        since = f"  {change:+.1%} since {recorded['date']} ({recorded['commit']})"
        return f"{since}, within its quartiles" if within else since


def markdown(data: dict) -> str:
    """Return the content of a record as a Markdown table."""
    devices = sorted({f"{entry['device']}, {entry['threads']} threads" for entry in data["ratios"].values()})
    lines = [f"# Measured by `make bench` on {'; '.join(devices)}", ""]
    lines += ["| | median | quartiles | goal | | measured |", "|---|---|---|---|---|---|"]
    for name, entry in data["ratios"].items():
        quartiles = " to ".join(f"{value:.3g}" for value in entry["quartiles"])
        met = {True: "met", False: "**missed**", None: ""}[entry.get("met")]
        when = f"{entry['date']}, {entry['commit']}"
        lines.append(f"| {name} | {entry['median']:.3g} | {quartiles} | {entry.get('goal', '')} | {met} | {when} |")
    return "\n".join(lines) + "\n"


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
