"""Measure a run's saved network again: python scripts/evaluate.py RUN [KEY=VALUE ...]

RUN is a run's folder, or the beginning of its id. What is measured is printed beside what was recorded. KEY is one of
machine.*, or of those that say how test images are scaled: dataset.geometry, dataset.resize, dataset.keep_aspect.
"""

import argparse
import sys
from pathlib import Path

from lls.config import changed
from lls.errors import UserError
from lls.runs import Run, find_run

SCALED = ("dataset.geometry", "dataset.resize", "dataset.keep_aspect")


def measure(run: Run) -> tuple[dict[str, float], dict]:
    """What the network in last.pt scores on the test images, and the row it had then."""
    from lls import machine
    from lls.build import build_network
    from lls.data import feed, find
    from lls.evaluate import evaluate
    from lls.layers import place

    cfg = run.cfg
    try:
        state = run.load()
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            again = "git does not track weights; train the run again in another folder, machine.output=mine"
            raise UserError(f"{run.folder}/last.pt is not there: {again}") from None
        again = "remove the folder and train the run again"
        raise UserError(f"{run.folder}/last.pt is broken ({error}): {again}") from None
    device, folder = machine.device(cfg.machine.device), Path(cfg.machine.data)
    machine.set_precision(cfg.machine.precision, device)
    net = build_network(cfg.network, len(state["classes"]), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    place(net, device)
    with feed(cfg, find(cfg.dataset, folder), device) as images:
        if images.classes != state["classes"]:
            raise UserError(f"{cfg.dataset.name} has other classes now than when {run.id} was trained")
        return evaluate(net, images.plain("test"), cfg.machine.precision), state["rows"][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as machine.device=cpu")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where to look for RUN (default: outputs)")
    arguments = parser.parse_args()
    if wrong := [
        text for text in arguments.overrides if not (text.startswith("machine.") or text.partition("=")[0] in SCALED)
    ]:
        raise UserError(f"{wrong[0]}: what can differ from the run's own are machine.* keys and {', '.join(SCALED)}")
    named = [text.partition("=")[2] for text in arguments.overrides if text.startswith("machine.output=")]
    run = find_run(arguments.run, Path(named[-1]) if named else arguments.output)
    run.cfg = changed(run.cfg, arguments.overrides)
    measured, recorded = measure(run)
    print(", ".join([run.id, f"epoch {recorded['epoch']}", *arguments.overrides]))
    for name, value in measured.items():
        print(f"{name:>6} {value:10.4f}   recorded {recorded[name]:10.4f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
