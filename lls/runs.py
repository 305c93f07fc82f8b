"""Runs: identity, folder, what is in it, and `execute`, which does nothing for a run that is done.

    outputs/runs/<dataset>-<network>-<method>-s<seed>-<8 hex>/
        config.yaml     the configuration, resolved                                           tracked by git
        metrics.jsonl   one row an epoch: the record, of which W&B gets a copy                 tracked
        result.json     written last, whole: it marks the run as done (lls/schema.py)          tracked
        failed.json     in place of it, where the numbers stopped being finite                 tracked
        q.safetensors   the learned Q, if the method has one; q.png is its picture             tracked
        confusion.csv   test images by true class (down) and predicted class (across)         tracked
        predictions.npz logits (float16), labels and class names of the test images
        last.pt         network, method, optimizer, random state and rows after the last epoch

The eight digits are a hash of everything that decides the result, so the same command finds the same folder. Nothing
here imports torch until a run is really trained.
"""

import errno
import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from lls.config import teacher_of
from lls.errors import Diverged, UserError
from lls.files import set_aside, write_whole
from lls.schema import NOT_RECORDED, Failed, Result, check, check_result, check_written
from lls.summary import AGAIN, changes, failure_in_words, in_words

RUNS = "runs"
LOOK = 0.5  # seconds; whoever asks whether a run is busy holds its lock for a moment


class Busy(UserError):
    """A run that another process is training."""


class Run:
    """One configuration and the folder it lives in. teacher: the run that teaches it, where that is known already;
    else `needs` composes it."""

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
            set_aside(path, error)
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
    def begun(self) -> bool:
        return (self.folder / "config.yaml").exists()

    def has(self, name: str | None) -> bool:
        """Whether the folder holds this file; True for None."""
        return name is None or (self.folder / name).exists()

    def forget_if_not_begun(self) -> None:
        """Remove a folder that holds nothing but its lock."""
        if not self.begun and self.folder.is_dir() and [path.name for path in self.folder.iterdir()] == [".lock"]:
            (self.folder / ".lock").unlink()
            self.folder.rmdir()

    def save(self, state: dict) -> None:
        """Write last.pt: tensors and plain values only, so that torch.load(weights_only=True) reads it."""
        import torch

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as file:  # given a path, PyTorch would not say that the disk is full
                torch.save(state, file)

        write_whole(self.folder / "last.pt", write)

    def load(self) -> dict:
        """What save wrote last, on the CPU. OSError if it can't be read; ValueError if it is no whole checkpoint."""
        import torch

        try:
            return torch.load(self.folder / "last.pt", map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a broken file shows as any of a dozen kinds
            raise ValueError(str(error) or type(error).__name__) from None

    def restore(self) -> dict | None:
        """What save wrote last; None if there is nothing, or nothing whole, which is set aside."""
        try:
            return self.load()
        except FileNotFoundError:
            return None
        except ValueError as error:
            set_aside(self.folder / "last.pt", error)
            return None

    def write_config(self) -> None:
        cfg = OmegaConf.create(OmegaConf.to_container(self.cfg, resolve=True))
        cfg.machine.again = False  # it was for this once
        text = OmegaConf.to_yaml(cfg)
        write_whole(self.folder / "config.yaml", lambda temporary: temporary.write_text(text, encoding="utf-8"))

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
        write_whole(self.folder / name, lambda temporary: temporary.write_text(text))

    def forget(self) -> None:
        """Remove what marks the run as done or diverged, its rows and its checkpoint: it begins anew."""
        marks = ("failed.json", "result.json")  # last: killed before, it is removed again
        for name in ("last.pt", "metrics.jsonl", *marks):
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


def needs(run: Run) -> Run | None:
    """The run that has to be finished before this one can be trained: its teacher."""
    method = run.cfg.method
    if "teacher" not in method or method.get("q") is not None:
        return None
    if run.teacher is None:
        run.teacher = Run(teacher_of(run.cfg))
    return run.teacher


def lesson_file(student: Run) -> str:
    """The file of its teacher's folder that a student needs."""
    return "q.safetensors" if "q" in student.cfg.method else "last.pt"


def frozen(run: Run) -> list[str]:
    """A run and its teachers as texts from which `thawed` makes them, whatever has become of configs/ by then."""
    teacher = needs(run)
    return [OmegaConf.to_yaml(run.cfg, resolve=True), *(frozen(teacher) if teacher else [])]


def thawed(texts: list[str]) -> Run:
    return Run(OmegaConf.create(texts[0]), thawed(texts[1:]) if texts[1:] else None)


def execute(run: Run, lesson: str | None = None) -> dict:
    """Train a run that is not done, from where it stopped, its teacher first; say so if it is. Returns its result.
    Diverged if it has diverged, now or before. With machine.again a run that is done or diverged is trained anew; what
    it has is removed once all that training needs is there.

    lesson: the file that a student needs of it; without that file the run is not done, and another process that is
    training it is waited for."""
    again = run.cfg.machine.get("again", False)
    if not again and (result := _finished(run, lesson)):
        return result
    try:
        with run.lock.acquire(timeout=LOOK if lesson is None else -1):
            if not again and (result := _finished(run, lesson)):  # by another process, meanwhile
                return result
            result = _train(run)
    except Timeout:
        raise Busy(f"{run.folder} is being trained by another process") from None
    print(f"done: {in_words(result)}\n{run.folder}")
    return result


def _finished(run: Run, lesson: str | None) -> dict | None:
    if failed := run.failed:
        raise Diverged(f"{run.folder} has diverged: {failure_in_words(failed)}; {AGAIN}")
    if (result := run.result) and run.has(lesson):
        how = "{} on {}, commit {}".format(
            *(result.get(key, NOT_RECORDED) for key in ("precision", "device", "commit"))
        )
        print(f"already done: {in_words(result)}\n{run.folder}  ({how}; {AGAIN})")
        for change in changes(run, result):
            print(f"note: {change}")
        return result
    return None


def _train(run: Run) -> dict:
    """Train a run whose lock is held, after its teacher."""
    from lls.train import prepare, train

    try:
        prepared = prepare(run)
        if teacher := needs(run):
            execute_teacher(teacher, lesson_file(run))
        if run.cfg.machine.get("again", False) and (run.has("result.json") or run.has("failed.json")):
            run.forget()
        return train(run, prepared)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        kept = f"epoch {run.epochs_done} is kept, and the same command goes on from it"
        raise UserError(f"{run.folder}: no space left on the disk; {kept}") from None
    except KeyboardInterrupt:
        kept = f"after epoch {run.epochs_done}, which is kept in {run.folder}"
        print(f"\nstopped {kept if run.epochs_done else 'before an epoch ended'}", flush=True)
        raise
    finally:
        run.forget_if_not_begun()


def execute_teacher(teacher: Run, lesson: str) -> None:
    """Train a teacher that is not done, or has lost the file that its students need. UserError if it learns no such."""
    from lls.train import prepare

    print(f"the teacher is {teacher.id}", flush=True)
    try:
        if lesson == "q.safetensors" and prepare(teacher).method.q_logits() is None:
            raise UserError(f"{teacher.cfg.method.name} learns no Q that it could teach")
        execute(teacher, lesson)
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        return {key: _canonical(v) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
