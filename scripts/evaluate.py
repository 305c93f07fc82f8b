"""Measure a run's saved network again: python scripts/evaluate.py RUN [KEY=VALUE ...] [--record]

RUN is a run's folder, or the beginning of its id. What is measured is printed beside what was recorded. KEY is one of
machine.*, or of those that say how test images are scaled: dataset.geometry, dataset.resize, dataset.keep_aspect.
--record adds to result.json the numbers that it lacks, and writes predictions.npz; what it has stays as it is.
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

SCALED = ("dataset.geometry", "dataset.resize", "dataset.keep_aspect")
TOLERANCE = 0.1  # points of top-1 by which another machine's rounding may change what saved weights reach


class Saved(NamedTuple):
    """A run's saved network on its device, its checkpoint and its test batches."""

    net: object
    state: dict
    test: object
    device: object


@contextmanager
def saved(run: Run) -> Iterator[Saved]:
    """The network in last.pt and the test images. UserError where there is none, or where they do not go together."""
    import torch

    from lls.data.loaders import make_loaders
    from lls.data.sources import find_source
    from lls.device import select_device, set_precision
    from lls.training.build import build_network
    from lls.training.checkpoint import load

    cfg = run.cfg
    try:
        state = load(run)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            again = "git does not track weights; train the run again in another folder, machine.output=mine"
            raise UserError(f"{run.folder}/last.pt is not there: {again}") from None
        again = "remove the folder and train the run again"
        raise UserError(f"{run.folder}/last.pt is broken ({error}): {again}") from None
    device, folder = select_device(cfg.machine.device), Path(cfg.machine.data)
    set_precision(cfg.machine.precision, device)
    net = build_network(cfg.network, len(state["classes"]), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last)
    with make_loaders(cfg, find_source(cfg.dataset, folder), device) as images:
        if images.classes != state["classes"]:
            raise UserError(f"{cfg.dataset.name} has other classes now than when {run.id} was trained")
        yield Saved(net, state, images.eval_batches("test"), device)


def record(run: Run) -> list[str]:
    """Add to a finished run's result.json what it lacks and its weights can tell. Returns the keys that were added."""
    from lls.runs.provenance import commit
    from lls.runs.schema import VERSION, Result
    from lls.runs.validation import check_written
    from lls.training.evaluate import predict
    from lls.training.result import measure_logits, save_predictions, timestamp

    result = run.result
    if result is None:
        raise UserError(f"{run.id} is not finished: there is no result.json")
    with saved(run) as (net, state, test, device):
        logits, y = predict(net, test, run.cfg.machine.precision)
        measured = measure_logits(run.cfg, net, logits, y, state["classes"], run.cfg.machine.precision, device)
        if abs(measured["top1"] - result.get("top1", measured["top1"])) > TOLERANCE:
            reached = f"top-1 {measured['top1']:.2f} %, and {result['top1']:.2f} % is recorded"
            raise UserError(f"{run.id}: the saved weights have {reached}: nothing is written")
        added = {key: value for key, value in measured.items() if key not in result}
        about = {"commit": commit() or "none", "finished": timestamp(), "keys": sorted(added)}
        whole = {"version": VERSION} | result | added | {"reevaluated": about}
        try:
            check_written(whole, Result)
        except ValueError as error:
            lacks = f"{error}, and the saved weights do not tell it: nothing is written"
            raise UserError(f"{run.folder}/result.json: {lacks}") from None
        save_predictions(run.folder / "predictions.npz", logits, y, state["classes"])
    if added:
        run.finish(whole)
    return sorted(added)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as machine.device=cpu")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where to look for RUN (default: outputs)")
    parser.add_argument("--record", action="store_true", help="add to result.json what it lacks")
    arguments = parser.parse_intermixed_args()
    if wrong := [
        text for text in arguments.overrides if not (text.startswith("machine.") or text.partition("=")[0] in SCALED)
    ]:
        raise UserError(f"{wrong[0]}: what can differ from the run's own are machine.* keys and {', '.join(SCALED)}")
    if arguments.record and (wrong := [text for text in arguments.overrides if not text.startswith("machine.")]):
        raise UserError(f"{wrong[0]}: --record measures the run's own test images; only machine.* can differ")
    named = [text.partition("=")[2] for text in arguments.overrides if text.startswith("machine.output=")]
    run = find_run(arguments.run, Path(named[-1]) if named else arguments.output)
    run.cfg = with_overrides(run.cfg, arguments.overrides)
    if arguments.record:
        added = record(run)
        print(f"{run.id}: " + ("added " + ", ".join(added) if added else "result.json lacks nothing"))
        return
    from lls.training.evaluate import evaluate

    with saved(run) as (net, state, test, _):
        measured, recorded = evaluate(net, test, run.cfg.machine.precision), state["rows"][-1]
    print(", ".join([run.id, f"epoch {recorded['epoch']}", *arguments.overrides]))
    for name, value in measured.items():
        before = f"{recorded[name]:10.4f}" if name in recorded else NOT_RECORDED
        print(f"{name:>10} {value:10.4f}   recorded {before}")


if __name__ == "__main__":
    run_script(main)
