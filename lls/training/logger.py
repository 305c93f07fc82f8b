"""Where a run's rows go: metrics.jsonl, which is the record, and W&B, which is a window on it."""

import json
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from lls.errors import one_line
from lls.files import write_atomic
from lls.runs.run import Run
from lls.training.wandb_run import start


class RunLogger:
    """Writes each row to metrics.jsonl and to W&B; a context manager. `rows`: those of the epochs already done, which
    replace what metrics.jsonl holds (a killed process may not have come to write the row that its checkpoint knows)."""

    def __init__(self, run: Run, rows: list[dict]):
        self.path = run.folder / "metrics.jsonl"
        self.rows = list(rows)
        text = "".join(map(_line, self.rows))
        write_atomic(self.path, lambda temporary: temporary.write_text(text))
        self.wandb = start_wandb(run)
        if self.wandb is not None and self.wandb.settings.mode != "online":
            # An offline log that was killed has lost its last rows: the new one holds them all.
            for row in self.rows:
                self._mirror(lambda wandb, row=row: wandb.log(row, step=row["epoch"]))

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, kind, *_) -> None:
        self._mirror(lambda wandb: wandb.finish(exit_code=0 if kind is None else 1))

    def log(self, row: dict) -> None:
        """Add a finished epoch's row."""
        self.rows.append(row)
        with open(self.path, "a") as file:
            file.write(_line(row))
        self._mirror(lambda wandb: wandb.log(row, step=row["epoch"]))

    def image(self, name: str, path: Path) -> None:
        """Show a picture in W&B."""

        def log(run) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._mirror(log)

    def summary(self, result: dict) -> None:
        """The result, as W&B's summary of the run."""
        self._mirror(lambda wandb: wandb.summary.update(result))

    def _mirror(self, act: Callable) -> None:
        if self.wandb is None:
            return
        try:
            act(self.wandb)
        except Exception as error:  # whatever W&B's trouble is, it must not cost the run
            self.wandb = None
            print(f"W&B gets no more of this run ({one_line(error, 100)})", flush=True)


def _line(row: dict) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def start_wandb(run: Run):
    """Start the W&B run that mirrors `run`; None if `machine.wandb=disabled` or W&B fails."""
    cfg, machine = run.cfg, run.cfg.machine
    return start(
        Path(machine.output),
        machine.wandb,
        "for this run",
        project=machine.wandb_project,
        group=machine.wandb_group or f"{cfg.dataset.name}-{cfg.network.name}",
        job_type="train",
        tags=[cfg.dataset.name, cfg.network.name, cfg.method.name],
        name=run.id,
        id=run.id,
        reinit="finish_previous",  # several runs of a sweep share the process
        dir=str(run.folder),
        config=OmegaConf.to_container(cfg, resolve=True),
    )
