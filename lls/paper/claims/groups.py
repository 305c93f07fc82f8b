"""What to run next: groups of missing runs, cheapest first by claims decided per GPU-hour."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lls.paper.claims import JudgedClaim, judge, load_claims
from lls.paper.claims.hours import gpu_hours, missing_runs
from lls.paper.results import differences
from lls.paper.tables import load, runs_of
from lls.paper.tables.declaration import PAPER
from lls.runs.run import Run
from lls.runs.summary import format_count

MAX_NAMES = 4  # of data sets with their networks, of methods, and of values of a key


class Group(NamedTuple):
    """Missing runs of claims. When they and those of the groups before are done, `claims` have all their runs."""

    runs: list[Run]
    hours: float  # GPU-hours at the speed behind the paper's minutes
    claims: list[JudgedClaim]


def cheapest_groups(claims: Sequence[JudgedClaim], output: Path) -> list[Group]:
    """Return groups of runs. Each next one completes the most undecided claims per GPU-hour, given those before it.

    A group is the missing runs of one claim, the first of its `claims`. It also completes other claims whose missing
    runs are all in it or in groups before. Claims that are decided by a part of their runs count last."""
    by_name = {judged.claim.name: judged for judged in claims}
    missing = {name: missing_runs(judged, output) for name, judged in by_name.items()}
    waiting = {name: {run.id for run in runs} for name, runs in missing.items() if runs}
    hours = gpu_hours(run for runs in missing.values() for run in runs)
    groups, planned = [], set()
    while waiting:
        rates = {}
        for name, needed in waiting.items():
            new = needed - planned
            cost = max(sum(hours[run] for run in new), 1e-6)
            undecided = sum(runs <= planned | new and not by_name[other].decided for other, runs in waiting.items())
            rates[name] = undecided / cost, -cost
        best = max(rates, key=rates.__getitem__)
        runs = [run for run in missing[best] if run.id not in planned]
        planned |= {run.id for run in runs}
        completed = [name for name, needed in waiting.items() if needed <= planned]
        completed.sort(key=lambda name: name != best)
        waiting = {name: needed for name, needed in waiting.items() if name not in completed}
        groups.append(Group(runs, sum(hours[run.id] for run in runs), [by_name[name] for name in completed]))
    return groups


def format_groups(output: Path) -> list[str]:
    """Return lines that say what to run next for the paper's claims; none if no claim misses a run."""
    groups = cheapest_groups([judge(claim, output) for claim in load_claims()], output)
    if not groups:
        return []
    tables: dict[str, list[str]] = {}  # by run, the tables that need it
    for name in PAPER:
        for run in runs_of([load(name)]):
            tables.setdefault(run.id, []).append(name)
    lines = [
        "What to do next: groups of runs, cheapest first by claims decided per GPU-hour.",
        "To train those of a claim: python scripts/claims.py --missing CLAIM | sh",
        "",
    ]
    for number, group in enumerate(groups, 1):
        lines.append(f"{number:3}. {group.hours:,.1f} GPU-hours: {describe(group.runs, tables)}")
        names = [j.claim.name + (f" (so far {j.verdict.label})" if j.decided else "") for j in group.claims]
        lines.append(f"     decides {', '.join(names)}")
    return [*lines, ""]


def describe(runs: Sequence[Run], tables: dict[str, list[str]]) -> str:
    """Summarize runs: data sets, networks, methods, other keys that differ from their options, seeds, and tables.

    `svhn (lenet), cifar10 (alexnet); lls; method.terms=no_fce; seeds 0, 1; 4 runs, 2 of them in Table 3`.
    tables: by the id of a run, the tables that need it."""
    by_data = {run.cfg.dataset.name: [r for r in runs if r.cfg.dataset.name == run.cfg.dataset.name] for run in runs}
    data = [f"{name} ({_distinct(r.cfg.network.name for r in group)})" for name, group in by_data.items()]
    keys: dict[str, list[str]] = {}  # the values of each key; too many where methods are only counted
    if len({run.cfg.method.name for run in runs}) <= MAX_NAMES:
        for key, _, value in (text.partition("=") for run in runs for text in differences(run.cfg)):
            keys.setdefault(key, []).append(value)
    seeds = sorted({run.cfg.seed for run in runs})
    in_tables = [run for run in runs if run.id in tables]
    numbers = sorted({name for run in in_tables for name in tables[run.id]})
    count = format_count(len(runs), "run")
    if numbers:
        part = f", {len(in_tables)} of them" if len(in_tables) < len(runs) else ""
        count += f"{part} in Table{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
    return "; ".join(
        [
            ", ".join(data if len(by_data) <= MAX_NAMES else by_data),
            _distinct((run.cfg.method.name for run in runs), "methods"),
            *(f"{key}={_distinct(values, 'values')}" for key, values in keys.items()),
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
            count,
        ]
    )


def _distinct(values: Iterable[str], noun: str = "") -> str:
    """Join distinct values. With a noun, more than MAX_NAMES are only counted, as in `7 methods`."""
    distinct = list(dict.fromkeys(values))
    return f"{len(distinct)} {noun}" if noun and len(distinct) > MAX_NAMES else ", ".join(distinct)
