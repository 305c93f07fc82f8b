"""Send the runs that W&B does not have: python scripts/sync.py [--project lls] [--output outputs]

For each run, the rows of metrics.jsonl are logged, then q.png, confusion.csv and reliability.csv; result.json becomes
the summary. A run is skipped if W&B has its last epoch. Every run gets the tags of the declared tables and figures that
need it.
"""

import argparse
import json
from pathlib import Path

from lls.errors import UserError, one_line, run_script
from lls.paper import figures, tables
from lls.paper.tags import add_tags
from lls.runs.find import all_runs
from lls.runs.run import Run
from lls.training.wandb_run import require_key


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="lls", help="W&B project (default: lls)")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="machine.output of the runs (default: outputs)"
    )
    arguments = parser.parse_args()
    runs = [run for run in all_runs(arguments.output) if run.epochs_done]
    if not runs:
        raise UserError(f"{arguments.output / 'runs'}: no runs; name the folder with --output")
    import wandb

    try:
        require_key()
        in_wandb = {run.id: run for run in wandb.Api().runs(arguments.project, lazy=False)}
    except ValueError:  # The project does not exist yet.
        in_wandb = {}
    except Exception as error:  # errors of W&B and of the network
        raise UserError(f"W&B can't be reached ({one_line(error, 160)})") from None
    table_list = [tables.load(name, all_cells=True) for name in tables.names()]
    add_tags(runs, table_list, [figures.load(name) for name in figures.names()])
    missing = [run for run in runs if run.id not in in_wandb or in_wandb[run.id].lastHistoryStep < run.epochs_done]
    for run in missing:
        send(run, arguments.project)
        print(run.id, flush=True)
    tagged = [complete_tags(run, in_wandb[run.id]) for run in runs if run not in missing]
    print(f"{len(missing)} runs sent; W&B had the other {len(tagged)}, {sum(tagged)} of them without all tags")
    return 0


def send(run: Run, project: str) -> None:
    """Log the rows and files of a run to W&B, and set the W&B summary to its result.

    Raises UserError if W&B can't start an online run."""
    from lls.training.logger import start_wandb
    from lls.training.wandb_files import log_files

    run.cfg.machine.wandb, run.cfg.machine.wandb_project = "online", project
    wandb_run = start_wandb(run)
    if wandb_run is None or wandb_run.settings.mode != "online":
        raise UserError(f"{run.id}: not sent, W&B could not start an online run; try again later")
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        wandb_run.log(row, step=row["epoch"])
    if result := run.result:
        log_files(wandb_run, run.folder)
        wandb_run.summary.update(result)
    wandb_run.finish()


def complete_tags(run: Run, wandb_run) -> bool:
    """Add the tags that a run has here and lacks in W&B. Return whether there are any.

    wandb_run: the W&B run, from W&B's public API. Raises UserError if W&B can't be reached."""
    lacking = [tag for tag in run.cfg.machine.wandb_tags or [] if tag not in wandb_run.tags]
    if lacking:
        wandb_run.tags = [*wandb_run.tags, *lacking]
        try:
            wandb_run.update()
        except Exception as error:
            raise UserError(f"W&B can't be reached ({one_line(error, 160)})") from None
    return bool(lacking)


if __name__ == "__main__":
    run_script(main, "stopped; repeat the command to continue")
