"""What to run next: groups of missing runs, cheapest first by claims decided per GPU-hour."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lls.paper.claims import JudgedClaim, judge, load_claims
from lls.paper.claims.hours import gpu_hours, missing_runs
from lls.paper.tables import load, runs_of
from lls.paper.tables.declaration import PAPER
from lls.runs.run import Run
from lls.runs.summary import format_count

MAX_NAMES = 4  # of data sets with their networks, and of methods


class Group(NamedTuple):
    """Missing runs, and the claims whose last missing runs they are if the groups before are done."""

    runs: list[Run]
    hours: float  # GPU-hours at the speed behind the paper's minutes
    claims: list[str]


def cheapest_groups(claims: Sequence[JudgedClaim], output: Path) -> list[Group]:
    """Return groups of runs such that each next one has the most claims per GPU-hour, given those before it.

    A group is the missing runs of one claim; it also completes the claims that share all their runs with it and with
    earlier groups."""
    missing = {judged.claim.name: missing_runs(judged, output) for judged in claims}
    waiting = {name: {run.id for run in runs} for name, runs in missing.items() if runs}
    hours = gpu_hours(run for runs in missing.values() for run in runs)
    groups, planned = [], set()
    while waiting:
        rates = {name: _claims_per_hour(runs - planned, waiting, planned, hours) for name, runs in waiting.items()}
        best = max(rates, key=rates.__getitem__)
        runs = [run for run in missing[best] if run.id not in planned]
        planned |= {run.id for run in runs}
        completed = [name for name, needed in waiting.items() if needed <= planned]
        completed.sort(key=lambda name: name != best)  # the claim whose missing runs are the whole group comes first
        waiting = {name: needed for name, needed in waiting.items() if name not in completed}
        groups.append(Group(runs, sum(hours[run.id] for run in runs), completed))
    return groups


def _claims_per_hour(new: set[str], waiting: dict[str, set[str]], planned: set[str], hours: dict[str, float]) -> float:
    """Return how many claims the runs `new` complete per GPU-hour, given the runs that are planned before."""
    completed = sum(needed <= planned | new for needed in waiting.values())
    return completed / max(sum(hours[run] for run in new), 1e-6)


def format_groups(output: Path) -> list[str]:
    """Return lines that say what to run next for the paper's claims; none if no claim misses a run."""
    groups = cheapest_groups([judge(claim, output) for claim in load_claims()], output)
    tables: dict[str, list[str]] = {}  # by run, the tables that show it
    for name in PAPER:
        for run in runs_of([load(name)]):
            tables.setdefault(run.id, []).append(name)
    lines = []
    for number, group in enumerate(groups, 1):
        lines.append(f"{number:3}. {group.hours:,.1f} GPU-hours: {describe(group.runs, tables)}")
        lines.append(f"     decides {', '.join(group.claims)}")
    if lines:
        command = "python scripts/claims.py --missing CLAIM | sh"
        head = [
            "What to do next: groups of runs, cheapest first by claims decided per GPU-hour.",
            f"Train those of a claim: {command}",
        ]
        lines = [*head, "", *lines, ""]
    return lines


def describe(runs: Sequence[Run], tables: dict[str, list[str]]) -> str:
    """Return what runs have in common: `Table 3: svhn (lenet); lls; seeds 0, 1; 2 runs`. `tables`: by id of a run."""

    def distinct(values: Iterable[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    numbers = sorted({name for run in runs for name in tables.get(run.id, ())})
    by_data = {run.cfg.dataset.name: [r for r in runs if r.cfg.dataset.name == run.cfg.dataset.name] for run in runs}
    with_networks = len(by_data) <= MAX_NAMES
    data = [f"{n} ({distinct(r.cfg.network.name for r in group)})" for n, group in by_data.items()]
    methods = {run.cfg.method.name for run in runs}
    seeds = sorted({run.cfg.seed for run in runs})
    parts = [
        ", ".join(data if with_networks else by_data),
        distinct(run.cfg.method.name for run in runs) if len(methods) <= MAX_NAMES else f"{len(methods)} methods",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        format_count(len(runs), "run"),
    ]
    origin = f"Table{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}: " if numbers else ""
    return origin + "; ".join(parts)
