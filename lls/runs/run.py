"""Runs: identity, folder, and what is in it.

    outputs/runs/<dataset>-<network>-<method>-s<seed>-<8 hex>/
        config.yaml     the configuration, resolved                                           tracked by git
        metrics.jsonl   one row an epoch: the record, of which W&B gets a copy                 tracked
        result.json     written last, whole: it marks the run as done (lls/runs/schema.py)          tracked
        failed.json     in place of it, where the numbers stopped being finite                 tracked
        q.safetensors   the learned Q, if the method has one; q.png is its picture             tracked
        confusion.csv   test images by true class (down) and predicted class (across)         tracked
        predictions.npz logits (float16), labels and class names of the test images
        last.pt         network, method, optimizer, random state and rows after the last epoch

The eight digits are a hash of everything that decides the result, so the same command finds the same folder. Nothing
here imports torch.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import GROUPS, format_value, parse_overrides
from lls.config.compose import compose
from lls.errors import UserError
from lls.files import quarantine, write_atomic
from lls.runs.schema import Failed, Result, check, check_result, check_written

RUNS = "runs"
TEACHER_INPUT_KEYS = ("name", "channels", "size", "mean", "std")  # what a network's images are like


class Busy(UserError):
    """A run that another process is training."""

    status = 75  # EX_TEMPFAIL


class Run:
    """One configuration and the folder it lives in. teacher: the run that teaches it, where that is known already;
    else `teacher_run` composes it."""

    def __init__(self, cfg: DictConfig, teacher: "Run | None" = None):
        self.cfg = cfg
        self.teacher = teacher
        self.id = identity(cfg)
        self.folder = Path(cfg.machine.output) / RUNS / self.id

    @property
    def result(self) -> Result | None:
        """result.json, or None while the run is not done. Of version 1 keys may be missing. UserError, which names the
        key, where it is no result."""
        return self._read("result.json", check_result)

    @property
    def failed(self) -> Failed | None:
        """failed.json, or None if the run has not diverged. A result counts for more: a finished run can only diverge
        when it is trained again for weights that are lost."""
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
        path = self.folder / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    @cached_property
    def lock(self) -> FileLock:
        """Held by the one process that trains the run."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"machine.output={self.cfg.machine.output}: {error}") from None
        return FileLock(self.folder / ".lock", timeout=0)

    @property
    def busy(self) -> bool:
        """Whether a process is training it now."""
        if not (self.folder / ".lock").exists():
            return False
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    @property
    def started(self) -> bool:
        return (self.folder / "config.yaml").exists()

    @property
    def ended(self) -> bool:
        """Whether it is done or has diverged."""
        return self.has("result.json") or self.has("failed.json")

    def has(self, name: str | None) -> bool:
        """Whether the folder holds this file; True for None."""
        return name is None or (self.folder / name).exists()

    def remove_if_empty(self) -> None:
        """Remove a folder that holds nothing but its lock."""
        if not self.started and self.folder.is_dir() and [path.name for path in self.folder.iterdir()] == [".lock"]:
            (self.folder / ".lock").unlink()
            self.folder.rmdir()

    def write_config(self) -> None:
        cfg = OmegaConf.create(OmegaConf.to_container(self.cfg, resolve=True))
        cfg.machine.again = False  # it was for this once
        text = OmegaConf.to_yaml(cfg)
        write_atomic(self.folder / "config.yaml", lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def finish(self, result: Result) -> None:
        """Write result.json, whole: from here on the run is done. ValueError where it is not as its schema says."""
        check_written(result, Result)
        self._write("result.json", result)
        (self.folder / "failed.json").unlink(missing_ok=True)

    def fail(self, failed: Failed) -> None:
        """Write failed.json: from here on the run has diverged. A run that has its result keeps it instead."""
        check_written(failed, Failed)
        if not self.has("result.json"):
            self._write("failed.json", failed)

    def _write(self, name: str, data: dict) -> None:
        text = json.dumps(data, indent=1, allow_nan=False) + "\n"
        write_atomic(self.folder / name, lambda temporary: temporary.write_text(text))

    def remove_outputs(self) -> None:
        """Remove what training left, so that the run begins anew."""
        left = (
            "last.pt",
            "metrics.jsonl",
            "predictions.npz",
            "confusion.csv",
            "q.safetensors",
            "q.png",
            "clusters.json",
        )
        for name in (*left, "failed.json", "result.json"):  # the marks last: killed before, all is removed again
            (self.folder / name).unlink(missing_ok=True)


def identity(cfg: DictConfig) -> str:
    """<dataset>-<network>-<method>-s<seed>-<8 hex>. The hash is over the resolved configuration without `machine`: keys
    sorted, numbers as floats, nulls dropped, so that a new optional key leaves the old runs where they are."""
    science = OmegaConf.to_container(cfg, resolve=True)
    science.pop("machine")
    if science["dataset"].get("root") is not None:  # one folder is one data set, however its path is written
        science["dataset"]["root"] = str(Path(str(science["dataset"]["root"])).expanduser().resolve())
    digest = hashlib.sha256(json.dumps(_canonical(science), sort_keys=True).encode()).hexdigest()
    return f"{cfg.dataset.name}-{cfg.network.name}-{cfg.method.name}-s{cfg.seed}-{digest[:8]}"


def teacher_run(run: Run) -> Run | None:
    """The run that has to be finished before this one can be trained: its teacher."""
    method = run.cfg.method
    if "teacher" not in method or method.get("q") is not None:
        return None
    if run.teacher is None:
        run.teacher = Run(teacher_config(run.cfg))
    return run.teacher


def teacher_artifact(student: Run) -> str:
    """The file of its teacher's folder that a student needs."""
    return "q.safetensors" if "q" in student.cfg.method else "last.pt"


def serialize(run: Run) -> list[str]:
    """A run and its teachers as texts from which `deserialize` makes them, whatever has become of configs/ by then."""
    teacher = teacher_run(run)
    return [OmegaConf.to_yaml(run.cfg, resolve=True), *(serialize(teacher) if teacher else [])]


def deserialize(texts: list[str]) -> Run:
    return Run(OmegaConf.create(texts[0]), deserialize(texts[1:]) if texts[1:] else None)


def teacher_config(cfg: DictConfig) -> DictConfig:
    """The configuration of the teacher that `cfg.method.teacher` names: the student's own but for network, method,
    subset, seed, budget and `overrides`. A teacher of the student's own kind of network has that network's keys too.
    UserError where there is no such teacher."""
    wanted = cfg.method.teacher
    overrides = [f"dataset={cfg.dataset.name}", f"network={wanted.network}", f"method={wanted.method}"]
    if wanted.network == cfg.network.name:
        decided = ("name", "family")
        keys = [k for k in cfg.network if k not in decided and not OmegaConf.is_interpolation(cfg.network, k)]
        overrides += [f"network.{key}={_quoted(cfg.network[key])}" for key in keys]
    overrides += wanted.overrides
    try:
        teacher, plain = compose(overrides), OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None
    own = parse_overrides(list(wanted.overrides))
    for section in {"dataset", "train", "augment", "machine"} - {override.key_or_group for override in own}:
        teacher[section] = plain[section]
    teacher.machine.again = False  # of a student's teacher nothing was said
    teacher.seed, teacher.budget, teacher.dataset.subset = wanted.seed, wanted.budget, wanted.subset
    for override in own:
        if override.key_or_group not in GROUPS:
            OmegaConf.update(teacher, override.key_or_group, override.value())
    for key in [] if "q" in cfg.method else TEACHER_INPUT_KEYS:  # a Q is no network, and goes by the classes' names
        if teacher.dataset[key] != cfg.dataset[key]:
            theirs, ours = format_value(teacher.dataset[key]), format_value(cfg.dataset[key])
            raise UserError(f"method.teacher: dataset.{key}={theirs}: it is shown its student's images, of {ours}")
    return teacher


def _quoted(value: object) -> str:
    """A value as Hydra reads it back, whatever is in a text."""
    return "'" + value.replace("'", "\\'") + "'" if isinstance(value, str) else format_value(value)


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        return {key: _canonical(v) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
