"""How often the rule decides each accuracy claim, in simulated results.

The truth is the paper's numbers, the claim's null hypothesis, or the paper's differences reversed. To each true value
a run adds normal noise, whose standard deviation is the spread between seeds. The verdict is that of lls/paper/claims.

    python tests/simulated_claims.py                 the table of docs/claims.md; minutes
    python tests/simulated_claims.py --page FOLDER   results made from the paper's numbers, as runs in FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
from results import write_result

from lls.paper.claims import Claim, find_test, load_claims
from lls.paper.claims.evidence import Results, in_output, load_table
from lls.paper.rules import decide
from lls.paper.tables import load

ACCURACY = [claim for claim in load_claims() if claim.test in ("rows.best", "rows.above")]
WORSE_THAN_MARGIN = 0.5  # points by which the reversed truth of a non-inferiority claim misses its margin
TRUTHS = ("paper", "null", "weakest null", "reversed")
HEAD = ["claim", "0.2, declared", "0.3, declared", "0.2, 3 seeds", "0.3, 3 seeds", "0.2, 5 seeds", "0.3, 5 seeds"]
HEAD += ["null", "reversed"]
Truth = dict[tuple[str, str, str], float]  # by table, row and column


def printed(tables: list[str], columns: list[str] | None = None) -> Truth:
    """Return the paper's numbers of the cells that have one, in these columns or all."""
    return {
        (name, row, column): float(cell.paper)
        for name in tables
        for (row, column), cell in load_table(name).cells.items()
        if cell.paper is not None and (columns is None or column in columns)
    }


def comparisons(claim: Claim, paper: Truth) -> list[tuple[str, str]]:
    """Return the pairs (row, rival) that a claim compares."""
    if claim.test == "rows.above":
        return [(first, second) for first, second in claim.keys["pairs"]]
    row, among = claim.keys["row"], claim.keys.get("among")
    rivals = dict.fromkeys(name for _, name, _ in paper if name != row and (among is None or name in among))
    return [(row, rival) for rival in rivals]


def truth(claim: Claim, kind: str) -> Truth:
    """Return the true value of each cell.

    paper: the paper's numbers. null: every difference equals its margin. weakest null: only that of the rival that is
    closest to it in the paper. reversed: every difference has the other sign, or for non-inferiority it is
    WORSE_THAN_MARGIN below the margin."""
    paper, margin = printed(claim.keys["tables"], claim.keys.get("columns")), claim.keys.get("by", 0.0)
    if kind == "paper":
        return paper
    pairs = comparisons(claim, paper)
    differences = {
        pair: np.mean([paper[t, pair[0], c] - v for (t, r, c), v in paper.items() if r == pair[1]]) for pair in pairs
    }
    changed = [min(pairs, key=differences.get)] if kind == "weakest null" else pairs
    values = dict(paper)
    for row, rival in changed:
        for (table, name, column), value in paper.items():
            if name == rival:
                first = paper[table, row, column]
                below = margin - WORSE_THAN_MARGIN if margin < 0 else value - first
                values[table, name, column] = first - (below if kind == "reversed" else margin)
    return values


class Simulation:
    """A claim whose runs are drawn anew for each verdict.

    seeds: in every column; None: those that the tables declare.
    one_seed_factor: by which the spread of columns with one seed is larger, which the rule takes as equal."""

    def __init__(self, claim: Claim, kind: str, seeds: int | None = None, one_seed_factor: float = 1.0):
        self.claim = claim
        overrides = [] if seeds is None else [f"seeds={','.join(map(str, range(seeds)))}"]
        tables = {name: load(name, overrides) for name in claim.keys["tables"]}
        self.means, self.factors = {}, []
        for (name, *key), value in truth(claim, kind).items():
            runs = tables[name].cells[tuple(key)].runs
            new = [run.id for run in runs if run.id not in self.means]  # tables share some runs
            self.means |= dict.fromkeys((run.id for run in runs), value)
            self.factors += [one_seed_factor if len(runs) == 1 else 1.0] * len(new)
        self.results = Results(Path("nowhere"), lambda run: self.drawn.get(run.id), tables=tables)

    def verdict(self, spread: float, rng: np.random.Generator) -> str:
        """Return the label of one verdict."""
        noise = (rng.normal(0, spread, len(self.means)) * self.factors).tolist()
        self.drawn = {
            run: {"top1": value + error} for (run, value), error in zip(self.means.items(), noise, strict=True)
        }
        return decide(find_test(self.claim)(self.results, **self.claim.keys).comparisons).label


def shares(
    claim: Claim, kind: str, spread: float, draws: int, seeds: int | None = None, one_seed_factor: float = 1.0
) -> dict[str, float]:
    """Return the share of each label over `draws` seeded simulations."""
    simulation, rng = Simulation(claim, kind, seeds, one_seed_factor), np.random.default_rng(0)
    labels = [simulation.verdict(spread, rng) for _ in range(draws)]
    return {label: labels.count(label) / draws for label in ("reproduced", "not reproduced", "inconclusive")}


def table(draws: int = 400) -> str:
    """Return the table of docs/claims.md, in per cent of the simulations.

    Columns: reproduced if the paper is right, for each spread and number of seeds; reproduced under the worse of the
    two null hypotheses; not reproduced if all differences are reversed. The last two have a spread of 0.2."""
    settings = [(0.2, None), (0.3, None), (0.2, 3), (0.3, 3), (0.2, 5), (0.3, 5)]
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for claim in ACCURACY:
        power = [f"{100 * shares(claim, 'paper', s, draws, n)['reproduced']:.0f}" for s, n in settings]
        null = max(shares(claim, kind, 0.2, draws)["reproduced"] for kind in ("null", "weakest null"))
        against = shares(claim, "reversed", 0.2, draws)["not reproduced"]
        lines.append(f"| {claim.name} | {' | '.join(power)} | {100 * null:.0f} | {100 * against:.0f} |")
    return "\n".join(lines)


def table_row(text: str, claim: str) -> dict[str, float]:
    """Return the numbers of a claim in a text that contains such a table, by column."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {claim} |"))
    return dict(zip(HEAD[1:], map(float, line.strip("| ").split(" | ")[1:]), strict=True))


def unequal_spreads(draws: int = 1000, factor: float = 2.0) -> str:
    """Return the shares of false `reproduced`, in per cent, if columns with one seed spread `factor` times as much."""
    names = [claim for claim in ACCURACY if {"1", "5"} & {*claim.keys["tables"]} and claim.name != "exception"]
    false = {claim.name: shares(claim, "weakest null", 0.2, draws, None, factor)["reproduced"] for claim in names}
    return ", ".join(f"{name} {100 * share:.0f}" for name, share in false.items())


def write_runs(folder: Path, spread: float) -> None:
    """Write the result.json of every run of an accuracy claim: the paper's number with seeded noise."""
    rng = np.random.default_rng(0)
    for name in sorted({table for claim in ACCURACY for table in claim.keys["tables"]}):
        for (_, row, column), value in printed([name]).items():
            for run in load_table(name).cells[row, column].runs:
                write_result(in_output(folder, run), {"top1": value + rng.normal(0, spread)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="write runs made from the paper's numbers into this folder")
    parser.add_argument("--spread", type=float, default=0.2, help="between seeds, in points (default: 0.2)")
    arguments = parser.parse_args()
    if arguments.page:
        write_runs(arguments.page, arguments.spread)
    else:
        print(table(), f"one-seed columns with twice the spread: {unequal_spreads()}", sep="\n\n")
