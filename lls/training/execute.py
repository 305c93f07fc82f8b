"""Execute a run: train its teacher first, then the run itself from its checkpoint, unless they are finished."""

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

LOCK_TIMEOUT_SECONDS = 0.5  # Run.busy holds the lock for a moment, and is not to be taken for training.


def execute(run: Run, artifact: str | None = None) -> dict:
    """Train a run from its checkpoint, after its teacher, and return its result. A finished run is not trained.

    - artifact: a file of the run's folder that a student needs. A run without this file counts as not finished.
    - If another process trains the run, `execute` waits for it if `artifact` is given, and raises Busy if not.
    - `machine.again=true` trains a finished or diverged run anew. Its old files go just before training starts.

    Raises Diverged if the run diverges or has diverged before."""
    again = run.cfg.machine.get("again", False)
    if not again and (result := _finished_result(run, artifact)):
        return result
    try:
        with run.lock.acquire(timeout=LOCK_TIMEOUT_SECONDS if artifact is None else -1):
            if not again and (result := _finished_result(run, artifact)):  # Another process finished it meanwhile.
                return result
            result = _train(run, artifact)
    except Timeout:
        raise Busy(f"{run.folder} is being trained by another process; wait for it, or stop it") from None
    print(f"done: {result_summary(result)}\n{run.folder}")
    return result


def _finished_result(run: Run, artifact: str | None) -> dict | None:
    """Return the result of a finished run after printing it, or None. Raises Diverged if the run has diverged."""
    if failed := run.failed:
        raise Diverged(f"{run.folder} has diverged: {failure_summary(failed)}; {TRAIN_AGAIN}")
    result = run.result
    if not result or not run.has_final(artifact):
        return None
    precision, device, commit = (result.get(key, NOT_RECORDED) for key in ("precision", "device", "commit"))
    print(f"already done: {result_summary(result)}")
    print(f"{run.folder}  ({precision} on {device}, commit {commit}; {TRAIN_AGAIN})")
    for change in changes_since(run, result):
        print(f"note: {change}")
    return result


def _train(run: Run, artifact: str | None) -> dict:
    """Train a run after its teacher. The caller holds the lock of the run."""
    try:
        prepared = prepare(run)
        if teacher := teacher_run(run):
            execute_teacher(teacher, teacher_artifact(run))
        return train(run, prepared, artifact)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        saved = f"epoch {run.epochs_done} is saved" if run.epochs_done else "no epoch is saved"
        advice = "free some space and repeat the command"
        raise UserError(f"{run.folder}: no space left on the disk; {saved}; {advice}") from None
    except KeyboardInterrupt:
        saved = f"after epoch {run.epochs_done}, which is saved in {run.folder}"
        print(f"\nstopped {saved if run.epochs_done else 'before the first epoch ended'}", flush=True)
        raise
    finally:
        run.remove_if_empty()


def execute_teacher(teacher: Run, artifact: str) -> None:
    """Train a teacher, unless it is finished and has the file `artifact` that its students need.

    Raises UserError if the teacher can't be trained, or if its method learns no Q although the students need one."""
    print(f"the teacher is {teacher.id}", flush=True)
    try:
        if artifact == "q.safetensors" and prepare(teacher).method.q_logits() is None:
            raise UserError(f"{teacher.cfg.method.name} learns no Q that it could teach; choose a method that does")
        execute(teacher, artifact)
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None


def changes_since(run: Run, result: Result) -> Iterator[str]:
    """Yield a line for each change of method code and images since a finished run was trained.

    What the result does not record is not compared."""
    method, images = result.get("method_code"), result.get("images")
    if method is not None and (now := method_code(run.cfg.method.name)) != method:
        name = run.cfg.method.name
        yield f"the code of method {name} or its loss has changed since ({method}, now {now}); {TRAIN_AGAIN}"
    if images is not None:
        now = fingerprint.current(run.cfg.dataset, Path(run.cfg.machine.data), images)
        if now not in (None, images):
            yield f"the images of {run.cfg.dataset.name} have changed since ({images}, now {now}); {TRAIN_AGAIN}"
