"""Measure a run's saved network again: python scripts/evaluate.py RUN [machine.device=cpu ...]

RUN is a run's folder, or the beginning of its id. What is measured is printed beside what was recorded."""

import argparse
import sys
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lls.config import UserError
from lls.runs import Run, find_run


def measure(run: Run) -> tuple[dict[str, float], dict]:
    """What the network in last.pt scores on the test images, and the row it had then."""
    import torch

    from lls import machine
    from lls.build import build_network
    from lls.data import TestBatches, find, load, take
    from lls.evaluate import evaluate

    cfg = run.cfg
    state = run.restore()
    if state is None:
        raise UserError(f"{run.folder} has no weights (last.pt): they are not tracked by git; train the run again")
    device, folder = machine.device(cfg.machine.device), Path(cfg.machine.data)
    machine.set_precision(cfg.machine.precision)
    images = take(load(cfg.dataset, folder, find(cfg.dataset, folder)), cfg.dataset.get("subset"), cfg.seed)
    net = build_network(cfg.network, len(images.classes), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last)
    test = TestBatches(images.test_x, images.test_y, list(cfg.dataset.mean), list(cfg.dataset.std), device)
    return evaluate(net, test, cfg.machine.precision), state["rows"][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", nargs="*", help="machine.* keys to measure it with, such as machine.device=cpu")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where to look for RUN (default: outputs)")
    arguments = parser.parse_args()
    if wrong := [text for text in arguments.overrides if not text.startswith("machine.")]:
        raise UserError(f"{wrong[0]}: only machine.* keys can differ from the run's own")
    run = find_run(arguments.run, arguments.output)
    OmegaConf.set_struct(run.cfg, True)
    try:
        run.cfg.merge_with_dotlist(arguments.overrides)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from None
    measured, recorded = measure(run)
    print(f"{run.id}, epoch {recorded['epoch']}")
    for name, value in measured.items():
        print(f"{name:>6} {value:10.4f}   recorded {recorded[name]:10.4f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
