"""What a run has ended with, in words."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lls.provenance import method_code
from lls.schema import NOT_RECORDED, Failed, Result

if TYPE_CHECKING:
    from lls.runs import Run

AGAIN = "machine.again=true trains it again"


def in_words(result: Result) -> str:
    """What a run has reached, and in what time."""
    budget = "" if result.get("budget", 1) == 1 else f" at budget {result['budget']:g}"
    return (
        f"top-1 {number(result, 'top1', '.2f', ' %')} after {number(result, 'epochs', 'd')} epochs{budget} "
        f"(best {number(result, 'top1_best', '.2f', ' %')}), {number(result, 'seconds', '.0f', ' s')}, "
        f"{number(result, 'images_per_second', ',.0f', ' images/s')}"
    )


def number(result: Result, key: str, form: str, unit: str = "") -> str:
    """A number of a result as text, or that it was not recorded."""
    return f"{result[key]:{form}}{unit}" if key in result else NOT_RECORDED


def failure_in_words(failed: Failed) -> str:
    """`loss was nan in epoch 1, step 3, at lr 1e+06`."""
    return (
        f"{failed['measure']} was {failed['loss'] if failed['measure'] == 'loss' else 'not finite'} in epoch "
        f"{failed['epoch']}, step {failed['step']}, at lr {failed['lr']:g} (commit {failed['commit']})"
    )


def changes(run: "Run", result: Result) -> Iterator[str]:
    """What is not as it was when a finished run was trained, a line each; what was not recorded is not compared."""
    from lls.data import fingerprint

    method, images = result.get("method_code"), result.get("images")
    if method is not None and (now := method_code(run.cfg.method.name)) != method:
        yield f"the code of method {run.cfg.method.name} or its loss has changed since ({method}, now {now}); {AGAIN}"
    if images is not None:
        now = fingerprint.now(run.cfg.dataset, Path(run.cfg.machine.data), images)
        if now not in (None, images):
            yield f"the images of {run.cfg.dataset.name} have changed since ({images}, now {now}); {AGAIN}"
