"""List the runs of an output folder: python scripts/runs.py [--output outputs] [WORD ...]

--markdown prints the finished runs as a table. --readme writes the tables of README.md and outputs/results.md."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from lls.config.assemble import CONFIGS
from lls.errors import run_script
from lls.files import write_atomic
from lls.paper.results import beside_the_paper, differences, results_markdown
from lls.runs.find import all_runs, tracked_ids
from lls.runs.run import Run
from lls.runs.summary import failure_summary, format_measure
from lls.training.schedule import make_schedule

ROOT = CONFIGS.parent
README_ROWS = 8  # of the table beside the paper: the README stays below 130 lines
RESULTS = """# Results

`python scripts/runs.py --readme` writes this page from the runs that git tracks. [NOTES.md](NOTES.md) comments on them.

## Beside the paper

Top-1 accuracy (%) of the last epoch at the full protocol (budget 1).
Ours is the mean ± sample standard deviation over seeds (runs done / planned).

{paper}

## All runs

- A row is the mean ± sample standard deviation over n seeds.
- A budget below 1 is a short run. It is no attempt at the paper's number.

{runs}
"""


def row(run: Run) -> str:
    """Return one line about a run: id, state, budget, measures and the keys that differ from its options."""
    budget, epochs = run.cfg.budget, make_schedule(run.cfg.train, run.cfg.budget).epochs
    result = run.result
    state, measures = f"{run.epochs_done}/{epochs} epochs", ""
    if result is not None:
        state = "done"
        measures = (
            f"top-1 {format_measure(result, 'top1', '6.2f', ' %')}  "
            f"best {format_measure(result, 'top1_best', '6.2f', ' %')}  "
            f"nll {format_measure(result, 'nll', '.4f')}  {format_measure(result, 'seconds', '8.0f', ' s')}"
        )
    if failed := run.failed:
        state, measures = "diverged", failure_summary(failed)
    line = f"{run.id:<52} {state:<16} budget {budget:<5g} {measures}".rstrip()
    return "  ".join([line, *differences(run.cfg)])


def result_pages(runs: Iterable[Run]) -> dict[Path, str]:
    """Return the texts of README.md, with a new table between its marks, and of outputs/results.md."""
    readme = ROOT / "README.md"
    table = beside_the_paper(folder="outputs/tables", limit=README_ROWS)
    text = re.sub(
        r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)",
        lambda _: f"\n{table}\n\n",
        readme.read_text(encoding="utf-8"),
        flags=re.S,
    )
    results = RESULTS.format(paper=beside_the_paper(), runs=results_markdown(runs))
    return {readme: text, ROOT / "outputs" / "results.md": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="show only runs whose id has each of these, such as cifar100 or lls")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="machine.output of the runs (default: outputs)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the finished runs as a Markdown table")
    parser.add_argument("--readme", action="store_true", help="write the tables of README.md and outputs/results.md")
    arguments = parser.parse_args()
    if arguments.readme and (arguments.words or arguments.output != Path("outputs")):
        parser.error("--readme takes all runs of outputs/")
    runs = [run for run in all_runs(arguments.output) if all(word in run.id for word in arguments.words)]
    if arguments.markdown:
        print(results_markdown(runs))
    elif arguments.readme:
        for path, text in result_pages(run for run in runs if run.id in tracked_ids()).items():
            write_atomic(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))
            print(path.relative_to(ROOT))
    elif runs:
        print("\n".join(map(row, runs)))
    else:
        words = f" with {' '.join(arguments.words)}" if arguments.words else ""
        print(f"no runs in {arguments.output / 'runs'}{words}")


if __name__ == "__main__":
    run_script(main)
