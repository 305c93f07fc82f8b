"""Send W&B the runs that it has not got: python scripts/sync.py [--project lls] [--output outputs]

metrics.jsonl is the record: its rows and result.json are logged as if they were being trained now. A run whose last
epoch W&B knows already is left alone."""

import argparse
import json
from pathlib import Path

from lls.errors import UserError, one_line, run_script
from lls.runs.find import all_runs
from lls.runs.run import Run
from lls.training.wandb_run import require_key


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="lls", help="default: lls")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="machine.output of the runs")
    arguments = parser.parse_args()
    runs = [run for run in all_runs(arguments.output) if run.epochs_done]
    if not runs:
        raise UserError(f"{arguments.output / 'runs'}: no runs")
    import wandb

    try:
        require_key()
        known = {run.id: run.lastHistoryStep for run in wandb.Api().runs(arguments.project, lazy=False)}
    except ValueError:  # no such project yet
        known = {}
    except Exception as error:  # W&B's own, and those of the network
        raise UserError(f"W&B can't be reached ({one_line(error, 160)})") from None
    missing = [run for run in runs if known.get(run.id, -1) < run.epochs_done]
    for run in missing:
        send(run, arguments.project)
        print(run.id, flush=True)
    print(f"{len(missing)} runs sent; W&B had the other {len(runs) - len(missing)}")
    return 0


def send(run: Run, project: str) -> None:
    """Log a run's rows, and its result as the summary."""
    from lls.training.logger import start_wandb

    run.cfg.machine.wandb, run.cfg.machine.wandb_project = "online", project
    mirror = start_wandb(run)
    if mirror is None or mirror.settings.mode != "online":
        raise UserError(f"{run.id}: W&B took nothing")
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        mirror.log(row, step=row["epoch"])
    if result := run.result:
        mirror.summary.update(result)
    mirror.finish()


if __name__ == "__main__":
    run_script(main, "stopped; the same command goes on")
