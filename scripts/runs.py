"""List the runs of an output folder: python scripts/runs.py [--output outputs] [WORD ...]

With --markdown, the finished ones as a table; with --readme, that table into the README's results block."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from lls.config.assemble import CONFIGS
from lls.errors import run_script
from lls.files import write_atomic
from lls.paper.results import differences, results_markdown
from lls.runs.find import all_runs, tracked_ids
from lls.runs.run import Run
from lls.runs.summary import failure_summary, format_measure
from lls.training.schedule import make_schedule


def row(run: Run) -> str:
    budget, epochs = run.cfg.budget, make_schedule(run.cfg.train, run.cfg.budget).epochs
    result = run.result
    state, measured = f"{run.epochs_done}/{epochs} epochs", ""
    if result is not None:
        state = "done"
        measured = (
            f"top-1 {format_measure(result, 'top1', '6.2f', ' %')}  "
            f"best {format_measure(result, 'top1_best', '6.2f', ' %')}  "
            f"nll {format_measure(result, 'nll', '.4f')}  {format_measure(result, 'seconds', '8.0f', ' s')}"
        )
    if failed := run.failed:
        state, measured = "diverged", failure_summary(failed)
    told = [f"{run.id:<52} {state:<16} budget {budget:<5g} {measured}".rstrip(), *differences(run.cfg)]
    return "  ".join(told)


def with_results(readme: str, runs: Iterable[Run]) -> str:
    """The README with the table of `runs` between its two marks."""
    return re.sub(
        r"(<!-- results -->\n).*?(?=<!-- /results -->)",
        lambda m: f"{m[1]}\n{results_markdown(runs)}\n\n",
        readme,
        flags=re.S,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="show only runs whose id has each of these, such as cifar100 or lls")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="machine.output of the runs (default: outputs)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the finished runs as a Markdown table")
    parser.add_argument("--readme", action="store_true", help="write that table into README.md")
    arguments = parser.parse_args()
    if arguments.readme and (arguments.words or arguments.output != Path("outputs")):
        parser.error("--readme takes all runs of outputs/")
    runs = [run for run in all_runs(arguments.output) if all(word in run.id for word in arguments.words)]
    if arguments.markdown:
        print(results_markdown(runs))
    elif arguments.readme:
        readme = CONFIGS.parent / "README.md"
        text = with_results(readme.read_text(encoding="utf-8"), [run for run in runs if run.id in tracked_ids()])
        write_atomic(readme, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    elif runs:
        print("\n".join(map(row, runs)))
    else:
        print(
            f"no runs in {arguments.output / 'runs'}"
            + (f" with {' '.join(arguments.words)}" if arguments.words else "")
        )


if __name__ == "__main__":
    run_script(main)
