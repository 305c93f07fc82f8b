"""The paper's tables: python scripts/tables.py plan|run|render|check|time [TABLE ...] [overrides]

    plan      every distinct run: its state, its time left, its command, and the totals
    run       train what is missing, teachers first, each run a process of its own; then render
    render    write outputs/tables/TABLE.md, .csv and .tex from the finished runs
    check     fail where a committed table is not what the committed results say
    time      steps of Table 9's methods that take turns in one process: the minutes of Table 9

TABLE is 1 to 9, another yaml of configs/table, or `all`, the paper's nine (of render: and ours). Overrides are those of
train.py, for every run of the table, and seeds=0,1,2, columns=..., rows=...: parts of names, separated by commas.
`figures` are the figures' runs: `run all figures` trains all that there is, again where the weights that a figure is
drawn of are lost. On a cluster: `run --launcher slurm hydra.launcher.partition=gpu`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lls.errors import run_script
from lls.paper import figures, smoke
from lls.paper.tables import Table, load, names, runs_of
from lls.paper.tables.declaration import PAPER, TABLE_KEYS
from lls.runs.planned import distinct_runs

LAUNCHER = "hydra.launcher."  # with --launcher slurm: of the jobs, not of the runs


def main() -> int:
    arguments = _arguments()
    if arguments.smoke and arguments.what in ("run", "time"):
        smoke.make_data()
    return globals()[arguments.what](arguments)


def plan(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.plan import lines
    from lls.paper.tables.plan import plan as planned

    print("\n".join(lines(planned(_tables(arguments, PAPER), _output(arguments), _figures(arguments)))))
    return 0


def run(arguments: argparse.Namespace) -> int:
    from lls.launch.start import train_missing

    drawn = _figures(arguments)
    runs = distinct_runs([*runs_of(_tables(arguments, PAPER)), *figures.runs_of(drawn)])
    try:
        failures = train_missing(
            runs,
            files=figures.files_of(drawn),
            jobs=arguments.jobs,
            time_limit=arguments.time_limit,
            launcher=arguments.launcher,
            settings=[text for text in arguments.words if text.startswith(LAUNCHER)],
        )
    finally:
        render(arguments)  # whatever is done by now
    return 1 if failures else 0


def render(arguments: argparse.Namespace) -> int:
    arguments.all = True  # a cell that the paper leaves empty is shown where it has been run
    _write(_tables(arguments, PAPER if arguments.smoke else names()), arguments)
    return 0


def check(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.results import stale

    if problems := stale():
        print(
            "\n".join(problems),
            "`make render` writes them again; git add outputs/runs outputs/timing first",
            sep="\n",
            file=sys.stderr,
        )
        return 1
    print("the committed tables are what the committed results say")
    return 0


def time(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.timing import measure

    for table in _tables(arguments, ("9",)):
        for column in table.columns:
            if column.metric == "minutes":
                runs = [table.cells[row.name, column.name].runs[0] for row in table.rows]
                print(measure(runs, arguments.rounds), flush=True)
    return 0


def _tables(arguments: argparse.Namespace, every: Sequence[str]) -> list[Table]:
    """The tables that the command line names: `every` for `all`, or where it names nothing."""
    wanted = [name for name in arguments.words if "=" not in name] or ["all"]
    chosen = [name for word in wanted if word != "figures" for name in (every if word == "all" else [word])]
    overrides = _overrides(arguments)
    return [load(name, overrides, all_cells=arguments.all, smoke=arguments.smoke) for name in dict.fromkeys(chosen)]


def _figures(arguments: argparse.Namespace) -> list[figures.Figure]:
    """The paper's figures, where the command line has `figures`."""
    if "figures" not in arguments.words:
        return []
    overrides = [text for text in _overrides(arguments) if text.partition("=")[0] not in TABLE_KEYS]
    return [figures.load(name, overrides, smoke=arguments.smoke) for name in figures.names()]


def _overrides(arguments: argparse.Namespace) -> list[str]:
    return [text for text in arguments.words if "=" in text and not text.startswith(LAUNCHER)]


def _write(tables: Sequence[Table], arguments: argparse.Namespace) -> None:
    from lls.paper.tables.mirror import mirror
    from lls.paper.tables.results import write

    for table in tables:
        print(", ".join(map(str, write(table, _output(arguments) / "tables"))))
    mirror(tables, _output(arguments), "disabled" if arguments.smoke else arguments.wandb)


def _output(arguments: argparse.Namespace) -> Path:
    given = [text.partition("=")[2] for text in arguments.words if text.startswith("machine.output=")]
    return Path(given[-1] if given else smoke.OUTPUT if arguments.smoke else "outputs")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["plan", "run", "render", "check", "time"], metavar="plan|run|render|check|time"
    )
    parser.add_argument("words", nargs="*", metavar="TABLE or override")
    parser.add_argument("--all", action="store_true", help="the cells that the paper leaves empty, too")
    parser.add_argument("--smoke", action="store_true", help="every run in its small form, in outputs/smoke")
    parser.add_argument("--jobs", type=int, help="runs at a time on each GPU, or on the CPU (run)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop then, to be resumed (run)")
    parser.add_argument("--launcher", default="local", choices=["local", "slurm"], help="where runs are started (run)")
    parser.add_argument("--rounds", type=int, default=30, help="how often each method has its turn (time)")
    parser.add_argument(
        "--wandb", default="offline", choices=["offline", "online", "disabled"], help="log the tables (run, render)"
    )
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    run_script(main, "stopped; the same command goes on")
