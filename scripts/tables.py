"""Plan, train, render and check the paper's tables: python scripts/tables.py COMMAND [TABLE ...] [overrides]

COMMAND is one of
    plan      print what to run next, every distinct run with its state, its time left and its command, and the totals
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

from lls.errors import UserError, run_script
from lls.paper import figures, smoke
from lls.paper.tables import Table, load, names, runs_of
from lls.paper.tables.declaration import PAPER, TABLE_KEYS
from lls.paper.tags import add_tags
from lls.runs.planned import distinct_runs
from lls.runs.summary import format_count

SECONDS_WITHOUT_QUESTION = 24 * 3600  # a longer `run` asks first, or needs --yes
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
    if not arguments.smoke and all(word in ("all", "figures") for word in arguments.words):
        from lls.paper.claims.groups import format_groups

        print(*format_groups(_output(arguments)), sep="\n")
    print(*format_plan(planned), sep="\n")
    return 0


def run(arguments: argparse.Namespace) -> int:
    from lls.launch.start import train_missing

    tables, figure_list = _tables(arguments, PAPER), _figures(arguments)
    runs = distinct_runs([*runs_of(tables), *figures.runs_of(figure_list)])
    if not arguments.smoke:
        _confirm(arguments, tables, figure_list)
    add_tags(runs, tables, figure_list)
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


def _confirm(arguments: argparse.Namespace, tables: list[Table], figure_list: list[figures.Figure]) -> None:
    """Print what `run` will do. Ask first if it takes more than a day; raise UserError where nobody can answer."""
    from lls.paper.tables.plan import outlook
    from lls.paper.tables.plan import plan as plan_runs

    local = arguments.launcher == "local"
    lines, seconds = outlook(plan_runs(tables, _output(arguments), figure_list, local=local), local=local)
    print(*lines, sep="\n", flush=True)
    if min(seconds, arguments.time_limit or seconds) <= SECONDS_WITHOUT_QUESTION or arguments.yes:
        return
    words = "takes more than a day, one run at a time"
    if not sys.stdin.isatty():
        raise UserError(f"this {words}: add --yes to start it, or name a part, such as: 3 columns=FMNIST")
    try:
        answer = input(f"This {words}. Start? [y/N] ").strip().lower()
    except EOFError:
        answer = ""
    if answer not in ("y", "yes"):
        raise UserError("not started")


def render(arguments: argparse.Namespace) -> int:
    from lls.paper.mirror import default_setting, mirror_tables
    from lls.paper.tables.write import write

    arguments.all = True  # show our number also where the paper has none
    tables = _tables(arguments, PAPER if arguments.smoke else names())
    for table in tables:
        print(", ".join(map(str, write(table, _output(arguments) / "tables"))))
    mode = arguments.wandb or _machine(arguments, "wandb", "disabled" if arguments.smoke else default_setting("wandb"))
    project = _machine(arguments, "wandb_project", default_setting("wandb_project"))
    mirror_tables(tables, _output(arguments), project, mode)
    return 0


def check(arguments: argparse.Namespace) -> int:
    from lls.paper.tables.write import stale, tracked_names

    if not (tracked := tracked_names()):
        raise UserError("git tracks no tables here, so there is nothing to check against; check in a git clone")
    if others := [name for name in names() if name not in tracked]:
        print(f"not checked, because git does not track them: {', '.join(others)}")
    if problems := stale():
        advice = "the tables do not match the results that git tracks; add new results to git, then run: make render"
        print(*problems, advice, sep="\n", file=sys.stderr)
        return 1
    print(f"{format_count(len(tracked), 'table')} that git tracks: each matches the results that git tracks")
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
    return Path(_machine(arguments, "output", smoke.OUTPUT if arguments.smoke else "outputs"))


def _machine(arguments: argparse.Namespace, key: str, default: str) -> str:
    """Return the value of the override machine.KEY=VALUE, the last one if there are several."""
    values = [text.partition("=")[2] for text in arguments.words if text.startswith(f"machine.{key}=")]
    return values[-1] if values else default


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS, metavar="|".join(COMMANDS))
    parser.add_argument("words", nargs="*", metavar="TABLE or override")
    parser.add_argument("--all", action="store_true", help="include the cells that have no number in the paper")
    parser.add_argument("--smoke", action="store_true", help="every run in its small form, in outputs/smoke")
    parser.add_argument("--jobs", type=int, help="runs at a time on each GPU, or on the CPU (run)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop after this time; resumable (run)")
    parser.add_argument("--launcher", default="local", choices=["local", "slurm"], help="where runs are started (run)")
    parser.add_argument("--yes", action="store_true", help="start also what takes more than a day (run)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each method (time); default: 30")
    parser.add_argument(
        "--wandb",
        choices=["offline", "online", "disabled"],
        help="log the tables to W&B (run, render); default: machine.wandb",
    )
    arguments = parser.parse_intermixed_args()
    arguments.command = COMMANDS[arguments.command]
    return arguments


if __name__ == "__main__":
    run_script(main, "stopped; repeat the command to continue")
