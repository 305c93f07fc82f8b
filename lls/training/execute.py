"""Train a run that is not done, from where it stopped, its teacher first."""

import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from lls.data import fingerprint
from lls.errors import Diverged, UserError
from lls.runs.provenance import method_code
from lls.runs.run import Busy, Run, teacher_artifact, teacher_run
from lls.runs.schema import NOT_RECORDED, Result
from lls.runs.summary import TRAIN_AGAIN, failure_summary, result_summary
from lls.training.loop import prepare, train

LOCK_TIMEOUT_SECONDS = 0.5  # whoever asks whether a run is busy holds its lock for a moment


def execute(run: Run, artifact: str | None = None) -> dict:
    """Train a run that is not done, from where it stopped, its teacher first; say so if it is. Returns its result.
    Diverged if it has diverged, now or before. With machine.again a run that is done or diverged is trained anew; what
    it has is removed once all that training needs is there.

    artifact: the file that a student needs of it; without that file the run is not done, and another process that is
    training it is waited for."""
    again = run.cfg.machine.get("again", False)
    if not again and (result := _finished(run, artifact)):
        return result
    try:
        with run.lock.acquire(timeout=LOCK_TIMEOUT_SECONDS if artifact is None else -1):
            if not again and (result := _finished(run, artifact)):  # by another process, meanwhile
                return result
            result = _train(run)
    except Timeout:
        raise Busy(f"{run.folder} is being trained by another process") from None
    print(f"done: {result_summary(result)}\n{run.folder}")
    return result


def _finished(run: Run, artifact: str | None) -> dict | None:
    if failed := run.failed:
        raise Diverged(f"{run.folder} has diverged: {failure_summary(failed)}; {TRAIN_AGAIN}")
    if (result := run.result) and run.has(artifact):
        how = "{} on {}, commit {}".format(
            *(result.get(key, NOT_RECORDED) for key in ("precision", "device", "commit"))
        )
        print(f"already done: {result_summary(result)}\n{run.folder}  ({how}; {TRAIN_AGAIN})")
        for change in changes_since(run, result):
            print(f"note: {change}")
        return result
    return None


def _train(run: Run) -> dict:
    """Train a run whose lock is held, after its teacher."""
    from lls.training.loop import prepare

    try:
        prepared = prepare(run)
        if teacher := teacher_run(run):
            execute_teacher(teacher, teacher_artifact(run))
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
        run.remove_if_empty()


def execute_teacher(teacher: Run, artifact: str) -> None:
    """Train a teacher that is not done, or has lost the file that its students need. UserError if it learns no such."""
    print(f"the teacher is {teacher.id}", flush=True)
    try:
        if artifact == "q.safetensors" and prepare(teacher).method.q_logits() is None:
            raise UserError(f"{teacher.cfg.method.name} learns no Q that it could teach")
        execute(teacher, artifact)
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None


def changes_since(run: Run, result: Result) -> Iterator[str]:
    """What is not as it was when a finished run was trained, a line each; what was not recorded is not compared."""
    method, images = result.get("method_code"), result.get("images")
    if method is not None and (now := method_code(run.cfg.method.name)) != method:
        name = run.cfg.method.name
        yield f"the code of method {name} or its loss has changed since ({method}, now {now}); {TRAIN_AGAIN}"
    if images is not None:
        now = fingerprint.current(run.cfg.dataset, Path(run.cfg.machine.data), images)
        if now not in (None, images):
            yield f"the images of {run.cfg.dataset.name} have changed since ({images}, now {now}); {TRAIN_AGAIN}"
