"""What a run has ended with, in words."""

from typing import TYPE_CHECKING

from lls.runs.schema import NOT_RECORDED, Failed, Result

if TYPE_CHECKING:
    pass

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
