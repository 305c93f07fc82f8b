"""Write the rows of a run to metrics.jsonl, and mirror them to Weights & Biases (W&B)."""

import json
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from lls.errors import one_line
from lls.files import write_atomic
from lls.runs.run import Run
from lls.training.wandb_files import log_files
from lls.training.wandb_run import start


class RunLogger:
    """Write each epoch's row to metrics.jsonl and to W&B. A context manager, which ends the W&B run.

    rows: the rows of the checkpoint. They replace the content of metrics.jsonl, which lacks the last row if the process
    was killed between the checkpoint and the row."""

    def __init__(self, run: Run, rows: list[dict]):
        self.path = run.folder / "metrics.jsonl"
        self.rows = list(rows)
        text = "".join(map(_line, self.rows))
        write_atomic(self.path, lambda temporary: temporary.write_text(text))
        self.wandb = start_wandb(run)
        if self.wandb is not None and self.wandb.settings.mode != "online":
            # The offline log of a killed process lacks its last rows. The new log gets all rows.
            for row in self.rows:
                self._mirror(lambda wandb, row=row: wandb.log(row, step=row["epoch"]))

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, kind, *_) -> None:
        self._mirror(lambda wandb: wandb.finish(exit_code=0 if kind is None else 1))

    def log(self, row: dict) -> None:
        """Append the row of a finished epoch."""
        self.rows.append(row)
        with open(self.path, "a") as file:
            file.write(_line(row))
        self._mirror(lambda wandb: wandb.log(row, step=row["epoch"]))

    def files(self) -> None:
        """Log the files of the finished run to W&B; see `log_files`."""
        self._mirror(lambda wandb: log_files(wandb, self.path.parent))

    def summary(self, result: dict) -> None:
        """Set the summary of the W&B run to the result."""
        self._mirror(lambda wandb: wandb.summary.update(result))

    def _mirror(self, action: Callable) -> None:
        """Call `action(W&B run)`. An error ends the mirroring, and not the run."""
        if self.wandb is None:
            return
        try:
            action(self.wandb)
        except Exception as error:
            self.wandb = None
            print(f"W&B gets no more of this run ({one_line(error, 100)})", flush=True)


def _line(row: dict) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def start_wandb(run: Run):
    """Start the W&B run that mirrors `run`. Returns None if `machine.wandb=disabled`, or if W&B fails."""
    cfg, machine = run.cfg, run.cfg.machine
    short = [f"budget-{cfg.budget:g}"] if cfg.budget < 1 else []
    return start(
        Path(machine.output),
        machine.wandb,
        "for this run",
        project=machine.wandb_project,
        group=machine.wandb_group or f"{cfg.dataset.name}-{cfg.network.name}",
        job_type="train",
        tags=[cfg.dataset.name, cfg.network.name, cfg.method.name, *short, *(machine.wandb_tags or [])],
        name=run.id,
        id=run.id,
        reinit="finish_previous",  # The runs of a sweep share a process.
        dir=str(run.folder),
        config=OmegaConf.to_container(cfg, resolve=True),
    )
