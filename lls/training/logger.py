"""Where a run's rows go: metrics.jsonl, which is the record, and W&B, which is a window on it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from lls.files import write_whole
from lls.runs.run import Run


class Recorder:
    """Writes each row to metrics.jsonl and to W&B; a context manager. `rows`: those of the epochs already done, which
    replace what metrics.jsonl holds (a killed process may not have come to write the row that its checkpoint knows)."""

    def __init__(self, run: Run, rows: list[dict]):
        self.path = run.folder / "metrics.jsonl"
        self.rows = list(rows)
        text = "".join(map(_line, self.rows))
        write_whole(self.path, lambda temporary: temporary.write_text(text))
        self.wandb = start_wandb(run)
        if self.wandb is not None and self.wandb.settings.mode != "online":
            # An offline log that was killed has lost its last rows: the new one holds them all.
            for row in self.rows:
                self._mirror(lambda wandb, row=row: wandb.log(row, step=row["epoch"]))

    def __enter__(self) -> "Recorder":
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
            print(f"W&B gets no more of this run ({_reason(error)})", flush=True)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def _line(row: dict) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def start_wandb(run: Run):
    """The W&B run that mirrors `run`, or None. Whatever W&B's trouble is, it costs one line of text and not the run."""
    machine = run.cfg.machine
    if machine.wandb == "disabled":
        return None
    home = (Path(machine.output) / "wandb").resolve()
    for variable, folder in (("WANDB_CACHE_DIR", "cache"), ("WANDB_DATA_DIR", "data")):
        os.environ.setdefault(variable, str(home / folder))  # W&B would fill the home folder
    try:
        import wandb

        quiet = wandb.Settings(silent=True, console="off", init_timeout=10)
    except Exception as error:
        print(f"W&B is not used, for this run ({_reason(error)})", flush=True)
        return None
    modes = ["online", "offline"] if machine.wandb == "online" else ["offline"]
    for mode in modes:
        try:
            wandb.setup(quiet)
            if mode == "online" and not wandb.login(prompt=False):
                raise wandb.errors.UsageError("no API key: run `wandb login`")
            return wandb.init(
                mode=mode,
                project=machine.wandb_project,
                group=machine.wandb_group or f"{run.cfg.dataset.name}-{run.cfg.network.name}",
                job_type="train",
                tags=[run.cfg.dataset.name, run.cfg.network.name, run.cfg.method.name],
                name=run.id,
                id=run.id,
                resume="allow",
                reinit="finish_previous",  # several runs of a sweep share the process
                dir=str(run.folder),
                config=OmegaConf.to_container(run.cfg, resolve=True),
                settings=quiet,
            )
        except Exception as error:
            wandb.teardown()  # a start that failed would still hold the run's id
            instead = "offline, `wandb sync` sends it later" if mode != modes[-1] else "not used"
            print(f"W&B is {instead}, for this run ({_reason(error)})", flush=True)
    return None
