"""List the runs of an output folder: python scripts/runs.py [--output outputs] [WORD ...]"""

import argparse
from pathlib import Path

from lls.runs import Run, all_runs
from lls.schedule import schedule


def row(run: Run) -> str:
    budget, epochs = run.cfg.budget, schedule(run.cfg.train, run.cfg.budget).epochs
    result = run.result
    state, measured = f"{run.epochs_done}/{epochs} epochs", ""
    if result is not None:
        state = "done"
        measured = "top-1 {top1:6.2f} %  best {top1_best:6.2f} %  nll {nll:.4f}  {seconds:8.0f} s".format(**result)
    return f"{run.id:<52} {state:<16} budget {budget:<5g} {measured}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="show only runs whose id has each of these, such as cifar100 or lls")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="machine.output of the runs (default: outputs)"
    )
    arguments = parser.parse_args()
    runs = [run for run in all_runs(arguments.output) if all(word in run.id for word in arguments.words)]
    for run in runs:
        print(row(run))
    if not runs:
        print(
            f"no runs in {arguments.output / 'runs'}"
            + (f" with {' '.join(arguments.words)}" if arguments.words else "")
        )


if __name__ == "__main__":
    main()
