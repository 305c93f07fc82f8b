"""Measure a run's saved network again: python scripts/evaluate.py RUN [KEY=VALUE ...] [--record]

RUN is a run's folder, or the beginning of its id. The measures are printed beside the recorded ones.
KEY is a machine.* key, or decides how test images are scaled: dataset.geometry, dataset.resize, dataset.keep_aspect.
--record adds the numbers that result.json lacks, and writes predictions.npz, and reliability.csv if the run has none.
Recorded numbers stay as they are.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lls.config.compose import with_overrides
from lls.errors import UserError, run_script
from lls.runs.find import find_run
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED

IMAGE_KEYS = ("dataset.geometry", "dataset.resize", "dataset.keep_aspect")
TOLERANCE = 0.1  # The percentage points by which the rounding of another machine may change the top-1 accuracy.


class SavedNetwork(NamedTuple):
    """A run's saved network on its device, its checkpoint, and its test batches."""

    net: object
    state: dict
    test: object
    device: object


@contextmanager
def load_network(run: Run) -> Iterator[SavedNetwork]:
    """Load the network of last.pt, and open the test images.

    Raises UserError if last.pt is missing or broken, or if the data set has other classes than the network."""
    import torch

    from lls.data.loaders import make_loaders
    from lls.data.sources import find_source
    from lls.device import select_device, set_precision
    from lls.training.build import build_network
    from lls.training.checkpoint import load

    cfg = run.cfg
    try:
        state = load(run)
    except FileNotFoundError:
        advice = "git does not track weights; train the run with machine.output=mine, then add --output mine"
        raise UserError(f"{run.folder} has no last.pt: {advice}") from None
    except (OSError, ValueError) as error:
        advice = "remove the folder and train the run again"
        raise UserError(f"{run.folder}/last.pt is broken ({error}): {advice}") from None
    device, folder = select_device(cfg.machine.device), Path(cfg.machine.data)
    set_precision(cfg.machine.precision, device)
    net = build_network(cfg.network, len(state["classes"]), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last)
    with make_loaders(cfg, find_source(cfg.dataset, folder), device) as data:
        if data.classes != state["classes"]:
            raise UserError(f"{cfg.dataset.name} has other classes now than when {run.id} was trained")
        yield SavedNetwork(net, state, data.eval_batches("test"), device)


def record(run: Run) -> list[str]:
    """Add the measures that a finished run's result.json lacks, and write predictions.npz and, if
    the run has none, reliability.csv. Returns the added keys.

    Raises UserError if the run is not finished, if the saved weights reach another accuracy than the recorded one, or
    if result.json lacks a key that the weights can't tell."""
    from lls.runs.provenance import commit
    from lls.runs.schema import VERSION, Result
    from lls.runs.validation import check_written
    from lls.training.evaluate import predict
    from lls.training.reliability import RELIABILITY, reliability, save_reliability
    from lls.training.result import measure_logits, save_predictions, timestamp

    result = run.result
    if result is None:
        raise UserError(f"{run.id} is not finished: there is no result.json; train it to its end first")
    with load_network(run) as (net, state, test, device):
        logits, y = predict(net, test, run.cfg.machine.precision)
        measured = measure_logits(run.cfg, net, logits, y, state["classes"], run.cfg.machine.precision, device)
        if abs(measured["top1"] - result.get("top1", measured["top1"])) > TOLERANCE:
            difference = f"top-1 {measured['top1']:.2f} %, but {result['top1']:.2f} % is recorded"
            raise UserError(f"{run.id}: the saved weights reach {difference}: nothing is written")
        added = {key: value for key, value in measured.items() if key not in result}
        reevaluated = {"commit": commit() or "none", "finished": timestamp(), "keys": sorted(added)}
        completed = {"version": VERSION} | result | added | {"reevaluated": reevaluated}
        try:
            check_written(completed, Result)
        except ValueError as error:
            reason = f"{error}, and cannot be measured from the saved weights; nothing is written"
            raise UserError(f"{run.folder}/result.json: {reason}") from None
        save_predictions(run.folder / "predictions.npz", logits, y, state["classes"])
        if not run.has(RELIABILITY):
            save_reliability(run.folder / RELIABILITY, reliability(logits, y))
    if added:
        run.finish(completed)
    return sorted(added)


def compare(run: Run, overrides: list[str]) -> None:
    """Print the measures of the saved network beside those of its last row in metrics.jsonl."""
    from lls.training.evaluate import evaluate

    with load_network(run) as (net, state, test, _):
        measured, recorded = evaluate(net, test, run.cfg.machine.precision), state["rows"][-1]
    print(", ".join([run.id, f"epoch {recorded['epoch']}", *overrides]))
    for name, value in measured.items():
        before = f"{recorded[name]:10.4f}" if name in recorded else NOT_RECORDED
        print(f"{name:>10} {value:10.4f}   recorded {before}")


def check_overrides(overrides: list[str], recording: bool) -> None:
    """Raise UserError for an override that may not differ from the run's own configuration."""
    for text in overrides:
        if text.startswith("machine."):
            continue
        if text.partition("=")[0] not in IMAGE_KEYS:
            allowed = f"the keys that can differ from the run's own are machine.* keys and {', '.join(IMAGE_KEYS)}"
            raise UserError(f"{text}: {allowed}")
        if recording:
            raise UserError(f"{text}: --record measures the run's own test images; only machine.* keys can differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as machine.device=cpu")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where to look for RUN (default: outputs)")
    parser.add_argument("--record", action="store_true", help="add to result.json what it lacks")
    arguments = parser.parse_intermixed_args()
    check_overrides(arguments.overrides, arguments.record)
    outputs = [text.partition("=")[2] for text in arguments.overrides if text.startswith("machine.output=")]
    run = find_run(arguments.run, Path(outputs[-1]) if outputs else arguments.output)
    run.cfg = with_overrides(run.cfg, arguments.overrides)
    if arguments.record:
        added = record(run)
        print(f"{run.id}: " + ("added " + ", ".join(added) if added else "result.json lacks nothing"))
    else:
        compare(run, arguments.overrides)


if __name__ == "__main__":
    run_script(main)
