"""Train a run that is not done, from where it stopped, its teacher first."""

import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from lls.data import fingerprint
from lls.errors import Diverged, UserError
from lls.runs.provenance import method_code
from lls.runs.run import Busy, Run, lesson_file, needs
from lls.runs.schema import NOT_RECORDED, Result
from lls.runs.summary import AGAIN, failure_in_words, in_words
from lls.training.loop import prepare, train

LOCK_TIMEOUT_SECONDS = 0.5  # whoever asks whether a run is busy holds its lock for a moment


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
        with run.lock.acquire(timeout=LOCK_TIMEOUT_SECONDS if lesson is None else -1):
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
    from lls.training.loop import prepare

    try:
        prepared = prepare(run)
        if teacher := needs(run):
            execute_teacher(teacher, lesson_file(run))
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
    print(f"the teacher is {teacher.id}", flush=True)
    try:
        if lesson == "q.safetensors" and prepare(teacher).method.q_logits() is None:
            raise UserError(f"{teacher.cfg.method.name} learns no Q that it could teach")
        execute(teacher, lesson)
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None


def changes(run: Run, result: Result) -> Iterator[str]:
    """What is not as it was when a finished run was trained, a line each; what was not recorded is not compared."""
    method, images = result.get("method_code"), result.get("images")
    if method is not None and (now := method_code(run.cfg.method.name)) != method:
        yield f"the code of method {run.cfg.method.name} or its loss has changed since ({method}, now {now}); {AGAIN}"
    if images is not None:
        now = fingerprint.now(run.cfg.dataset, Path(run.cfg.machine.data), images)
        if now not in (None, images):
            yield f"the images of {run.cfg.dataset.name} have changed since ({images}, now {now}); {AGAIN}"
