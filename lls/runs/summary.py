"""One-line texts about the result or the failure of a run."""

from lls.runs.schema import NOT_RECORDED, Failed, Result

TRAIN_AGAIN = "machine.again=true trains it again"


def result_summary(result: Result) -> str:
    """Return `top-1 ... % after ... epochs (best ... %), ... s, ... images/s`, with the budget of a short run."""
    budget = "" if result.get("budget", 1) == 1 else f" at budget {result['budget']:g}"
    epochs = format_epochs(result["epochs"]) if "epochs" in result else f"epochs {NOT_RECORDED}"
    return (
        f"top-1 {format_measure(result, 'top1', '.2f', ' %')} after {epochs}{budget} "
        f"(best {format_measure(result, 'top1_best', '.2f', ' %')}), {format_measure(result, 'seconds', '.0f', ' s')}, "
        f"{format_measure(result, 'images_per_second', ',.0f', ' images/s')}"
    )


def format_measure(result: Result, key: str, form: str, unit: str = "") -> str:
    """Return a number of a result with its unit, or "not recorded" if the result lacks it."""
    return f"{result[key]:{form}}{unit}" if key in result else NOT_RECORDED


def format_epochs(epochs: int) -> str:
    """Return `1 epoch`, `2 epochs`."""
    return f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"


def failure_summary(failed: Failed) -> str:
    """Return `loss was nan in epoch 1, step 3, at lr 1e+06 (commit ...)`."""
    return (
        f"{failed['measure']} was {failed['loss'] if failed['measure'] == 'loss' else 'not finite'} in epoch "
        f"{failed['epoch']}, step {failed['step']}, at lr {failed['lr']:g} (commit {failed['commit']})"
    )
