"""Plan, train, render and check the paper's tables: python scripts/tables.py COMMAND [TABLE ...] [overrides]

COMMAND is one of
    plan      print every distinct run: its state, its time left and its command; then the totals
    run       train the runs that are missing, teachers first, each in its own process; then render
    render    write outputs/tables/TABLE.md, .csv and .tex from the finished runs
    check     fail if a committed table differs from what the committed results give
    time      measure the minutes of Table 9: steps of its methods take turns in one process

TABLE is 1 to 9, another yaml file of configs/table, `figures`, or `all` (the default): the paper's nine, and with
render also the others. `figures` stands for the runs of the paper's figures: `run all figures` trains everything, and
trains a finished run again if its weights are lost and a figure needs them.

Overrides are those of train.py, for all runs of the tables, and
    seeds=0,1,2                   the seeds
    columns=..., rows=...         parts of names, separated by commas: only these columns or rows
    hydra.launcher.partition=gpu  with --launcher slurm, settings of the jobs"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lls.errors import run_script
from lls.paper import figures, smoke
from lls.paper.tables import Table, load, names, runs_of
from lls.paper.tables.declaration import PAPER, TABLE_KEYS
from lls.runs.planned import distinct_runs

LAUNCHER = "hydra.launcher."  # prefix of overrides for the jobs of SLURM, not for the runs


def main() -> int:
    arguments = _arguments()
    if arguments.smoke and arguments.command in (run, time):
        smoke.make_data()
    return arguments.command(arguments)


def plan(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.plan import format_plan
    from lls.paper.tables.plan import plan as plan_runs

    planned = plan_runs(_tables(arguments, PAPER), _output(arguments), _figures(arguments))
    print("\n".join(format_plan(planned)))
    return 0


def run(arguments: argparse.Namespace) -> int:
    from lls.launch.start import train_missing

    figure_list = _figures(arguments)
    runs = distinct_runs([*runs_of(_tables(arguments, PAPER)), *figures.runs_of(figure_list)])
    try:
        failures = train_missing(
            runs,
            files=figures.files_of(figure_list),
            jobs=arguments.jobs,
            time_limit=arguments.time_limit,
            launcher=arguments.launcher,
            settings=[text for text in arguments.words if text.startswith(LAUNCHER)],
        )
    finally:
        render(arguments)  # also after Ctrl-C, from the runs that are finished by then
    return 1 if failures else 0


def render(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.mirror import mirror
    from lls.paper.tables.write import write

    arguments.all = True  # show our number also where the paper has none
    tables = _tables(arguments, PAPER if arguments.smoke else names())
    for table in tables:
        print(", ".join(map(str, write(table, _output(arguments) / "tables"))))
    mirror(tables, _output(arguments), "disabled" if arguments.smoke else arguments.wandb)
    return 0


def check(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.write import stale

    if problems := stale():
        advice = "the tables do not match the results that git tracks; add new results to git, then run: make render"
        print(*problems, advice, sep="\n", file=sys.stderr)
        return 1
    print("the committed tables match the committed results")
    return 0


def time(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.timing import measure

    arguments.all = True  # time also a method that the paper did not time
    for table in _tables(arguments, ("9",)):
        for column in table.columns:
            if column.metric == "minutes":
                runs = [table.cells[row.name, column.name].runs[0] for row in table.rows]
                print(measure(runs, arguments.rounds), flush=True)
    return 0


COMMANDS = {"plan": plan, "run": run, "render": render, "check": check, "time": time}


def _tables(arguments: argparse.Namespace, all_names: Sequence[str]) -> list[Table]:
    """Load the tables that the command line names: `all_names` for `all`, or if it names none."""
    words = [word for word in arguments.words if "=" not in word] or ["all"]
    requested = [name for word in words if word != "figures" for name in (all_names if word == "all" else [word])]
    overrides = _overrides(arguments)
    return [load(name, overrides, all_cells=arguments.all, smoke=arguments.smoke) for name in dict.fromkeys(requested)]


def _figures(arguments: argparse.Namespace) -> list[figures.Figure]:
    """Load the paper's figures if the command line has `figures`."""
    if "figures" not in arguments.words:
        return []
    overrides = [text for text in _overrides(arguments) if text.partition("=")[0] not in TABLE_KEYS]
    return [figures.load(name, overrides, smoke=arguments.smoke) for name in figures.paper_names()]


def _overrides(arguments: argparse.Namespace) -> list[str]:
    return [text for text in arguments.words if "=" in text and not text.startswith(LAUNCHER)]


def _output(arguments: argparse.Namespace) -> Path:
    values = [text.partition("=")[2] for text in arguments.words if text.startswith("machine.output=")]
    return Path(values[-1] if values else smoke.OUTPUT if arguments.smoke else "outputs")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS, metavar="|".join(COMMANDS))
    parser.add_argument("words", nargs="*", metavar="TABLE or override")
    parser.add_argument("--all", action="store_true", help="include the cells that have no number in the paper")
    parser.add_argument("--smoke", action="store_true", help="every run in its small form, in outputs/smoke")
    parser.add_argument("--jobs", type=int, help="runs at a time on each GPU, or on the CPU (run)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop after this time; resumable (run)")
    parser.add_argument("--launcher", default="local", choices=["local", "slurm"], help="where runs are started (run)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each method (time); default: 30")
    parser.add_argument(
        "--wandb", default="offline", choices=["offline", "online", "disabled"], help="log the tables (run, render)"
    )
    arguments = parser.parse_intermixed_args()
    arguments.command = COMMANDS[arguments.command]
    return arguments


if __name__ == "__main__":
    run_script(main, "stopped; repeat the command to continue")
