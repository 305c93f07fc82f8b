"""A run: one configuration and its folder.

    outputs/runs/<dataset>-<network>-<method>-s<seed>-<8 hex>/
        config.yaml      the resolved configuration (git)
        metrics.jsonl    one row per epoch; W&B gets a copy (git)
        result.json      the result; written last, it marks the run as done (git)
        failed.json      written instead of result.json if a loss or a measure is inf or nan (git)
        q.safetensors    the learned Q, if the method has one; q.png is a heatmap of it (git)
        confusion.csv    counts of test images; rows are true classes, columns predicted classes (git)
        reliability.csv  accuracy and confidence of the test images in the bins of the ECE (git)
        q_epochs.safetensors  Q after at most 50 of the epochs
        predictions.npz  logits (float16), labels and class names of the test images
        last.pt          checkpoint: network, method, random state, rows; the optimizer too until the run is done

git tracks the files marked (git). lls/runs/schema.py lists the keys and units of the JSON files. The eight digits are a
hash of everything that decides the result, so the same command finds the same folder. This module imports no torch.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from lls.errors import UserError
from lls.files import quarantine, write_atomic
from lls.runs.identity import identity
from lls.runs.schema import Failed, Result, check_result
from lls.runs.teacher import teacher_config
from lls.runs.validation import check, check_written

RUNS = "runs"  # the folder of the runs in machine.output


class Busy(UserError):
    """Another process is training the run."""

    status = 75  # EX_TEMPFAIL


class Run:
    """One configuration and its folder.

    teacher: the run of the teacher, if the caller has it; else `teacher_run` composes it."""

    def __init__(self, cfg: DictConfig, teacher: "Run | None" = None):
        self.cfg = cfg
        self.teacher = teacher
        self.id = identity(cfg)
        self.folder = Path(cfg.machine.output) / RUNS / self.id

    @property
    def result(self) -> Result | None:
        """The content of result.json; None while the run is not done. A result of version 1 may lack keys.

        Raises UserError, which names the key, for a file that does not match the schema."""
        return self._read("result.json", check_result)

    @property
    def failed(self) -> Failed | None:
        """The content of failed.json; None if the run has not diverged. A run with a result has not diverged.

        Raises UserError, which names the key, for a file that does not match the schema."""
        return None if self.has("result.json") else self._read("failed.json", lambda data: check(data, Failed))

    def _read(self, name: str, check_data: Callable[[object], None]) -> dict | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            data = json.loads(path.read_text())
        except ValueError as error:
            quarantine(path, error)
            return None
        try:
            check_data(data)
        except ValueError as error:
            raise UserError(f"{path}: {error}; correct it, or remove the folder and train the run again") from None
        return data

    @property
    def epochs_done(self) -> int:
        """The number of rows in metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    @cached_property
    def lock(self) -> FileLock:
        """The lock that a process holds while it trains the run. Raises UserError if the folder cannot be created."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"machine.output={self.cfg.machine.output}: {error}") from None
        return FileLock(self.folder / ".lock", timeout=0)

    @property
    def busy(self) -> bool:
        """Whether a process is training the run now."""
        if not (self.folder / ".lock").exists():
            return False
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    @property
    def started(self) -> bool:
        """Whether training has begun: the folder holds config.yaml."""
        return (self.folder / "config.yaml").exists()

    @property
    def ended(self) -> bool:
        """Whether the run is done or has diverged."""
        return self.has("result.json") or self.has("failed.json")

    def has(self, name: str | None) -> bool:
        """Return whether the folder holds this file; True for None."""
        return name is None or (self.folder / name).exists()

    def has_final(self, name: str | None) -> bool:
        """Return whether the run is finished and its folder holds this file; for None, whether it is finished.

        A finished run is trained again if a file is lost that a student or a figure needs. If that training was
        interrupted, metrics.jsonl has fewer rows than epochs, and no file counts as final."""
        result = self.result
        if name is None or result is None:
            return result is not None
        return self.has(name) and self.epochs_done >= result.get("epochs", 0)

    def remove_if_empty(self) -> None:
        """Remove the folder if it holds nothing but the lock file."""
        if not self.started and self.folder.is_dir() and [path.name for path in self.folder.iterdir()] == [".lock"]:
            (self.folder / ".lock").unlink()
            self.folder.rmdir()

    def write_config(self) -> None:
        """Write config.yaml, with machine.again=false."""
        cfg = OmegaConf.create(OmegaConf.to_container(self.cfg, resolve=True))
        cfg.machine.again = False  # it holds for one command, not for the run
        text = OmegaConf.to_yaml(cfg)
        write_atomic(self.folder / "config.yaml", lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def finish(self, result: Result) -> None:
        """Write result.json, which marks the run as done. Raises ValueError if `result` does not match the schema."""
        check_written(result, Result)
        self._write("result.json", result)
        (self.folder / "failed.json").unlink(missing_ok=True)

    def fail(self, failed: Failed) -> None:
        """Write failed.json, which marks the run as diverged, unless the run has a result."""
        check_written(failed, Failed)
        if not self.has("result.json"):
            self._write("failed.json", failed)

    def _write(self, name: str, data: dict) -> None:
        text = json.dumps(data, indent=1, allow_nan=False) + "\n"
        write_atomic(self.folder / name, lambda temporary: temporary.write_text(text))

    def remove_outputs(self) -> None:
        """Remove all files that training wrote but config.yaml, so that the run starts again."""
        outputs = ["last.pt", "metrics.jsonl", "predictions.npz", "confusion.csv", "reliability.csv"]
        outputs += ["q.safetensors", "q_epochs.safetensors", "q.png", "clusters.json"]
        marks = [
            "failed.json",
            "result.json",
        ]  # removed last: if this process is killed, the next call removes the rest
        for name in (*outputs, *marks):
            (self.folder / name).unlink(missing_ok=True)


def teacher_run(run: Run) -> Run | None:
    """Return the run of the teacher, which must be done before `run` can be trained; None if `run` needs none."""
    method = run.cfg.method
    if "teacher" not in method or method.get("q") is not None:
        return None
    if run.teacher is None:
        run.teacher = Run(teacher_config(run.cfg))
    return run.teacher


def teacher_artifact(student: Run) -> str:
    """Return the name of the file that a student needs from the folder of its teacher."""
    return "q.safetensors" if "q" in student.cfg.method else "last.pt"


def serialize(run: Run) -> list[str]:
    """Return the configurations of a run and its teachers as yaml texts, which do not depend on configs/ any more."""
    teacher = teacher_run(run)
    return [OmegaConf.to_yaml(run.cfg, resolve=True), *(serialize(teacher) if teacher else [])]


def deserialize(texts: list[str]) -> Run:
    """Return the run that `serialize` wrote, with its teachers."""
    return Run(OmegaConf.create(texts[0]), deserialize(texts[1:]) if texts[1:] else None)
