"""Training time of methods: steps of several methods that take turns in one process, on the same images in memory.

Only such a paired measurement compares methods. Runs that share a machine, or follow each other on it, do not.
"""

import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from lls.files import write_atomic
from lls.paper.tables.cost import classes_of, images_of
from lls.runs.provenance import commit
from lls.runs.run import Run
from lls.training.schedule import make_schedule

if TYPE_CHECKING:
    import torch

    from lls.data.in_memory import TrainBatches

WARMUP_ROUNDS = 5  # not recorded: the network is compiled, and a step becomes a CUDA graph
GPU_TURN_STEPS = 20  # steps per turn on a GPU, because training does not wait for each step


def measure(runs: Sequence[Run], rounds: int) -> Path:
    """Time a training step of each of `runs` and write the seconds to outputs/timing. Return the path of the file.

    runs: they differ in their methods alone.
    rounds: measured after WARMUP_ROUNDS; each method has one turn in a round.
    Images are random. A step is crop, flip, forward, loss, backward and update, computed as in training.
    """
    from lls.device import environment_info, keep_memory, resolve_compute, select_device, set_precision, synchronizer
    from lls.training.build import build_method, build_network, build_step

    cfg = runs[0].cfg
    data, device, classes = cfg.dataset, select_device(cfg.machine.device), classes_of(runs[0])
    compute = resolve_compute(cfg.machine, device, _steps(runs[0]))
    set_precision(compute.precision, device)
    keep_memory(device)
    turn_steps = GPU_TURN_STEPS if device.type == "cuda" else 1
    batches = _random_batches(cfg, max(2, turn_steps), classes, device)
    steps = []
    for run in runs:
        net = build_network(run.cfg.network, classes, data.channels, data.size).train()
        steps.append(build_step(run.cfg, net, build_method(run.cfg.method, classes), compute, device))
        steps[-1].set_lr(cfg.train.lr / 100)

    synchronize = synchronizer(device)

    def seconds_per_step(step, epoch: int) -> float:
        started = time.perf_counter()
        for x, y in islice(batches.epoch(epoch), turn_steps):
            step(x, [(y, 1.0)])
        synchronize()
        return (time.perf_counter() - started) / turn_steps

    seconds: dict[str, list[float]] = {run.cfg.method.name: [] for run in runs}
    for epoch in range(WARMUP_ROUNDS + rounds):
        turns = list(zip(seconds.values(), steps, strict=True))
        for measured, step in turns if epoch % 2 else turns[::-1]:  # no method is always the first
            measured.append(round(seconds_per_step(step, epoch), 6))
    record = {
        "dataset": cfg.dataset.name,
        "network": OmegaConf.to_container(cfg.network, resolve=True),
        "batch_size": cfg.train.batch_size,
        "size": data.size,
        **environment_info(compute, device),
        "commit": commit(),
        "seconds_of_a_step": {name: measured[WARMUP_ROUNDS:] for name, measured in seconds.items()},
    }
    path = _path(runs[0])
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(record, indent=1) + "\n"))
    return path


def _random_batches(cfg: DictConfig, number: int, classes: int, device: "torch.device") -> "TrainBatches":
    """Return `number` batches of random images per epoch, cropped and flipped as in training."""
    import torch

    from lls.data.in_memory import TrainBatches

    data, n = cfg.dataset, number * cfg.train.batch_size
    return TrainBatches(
        torch.randint(0, 256, (n, data.size, data.size, data.channels), dtype=torch.uint8),
        torch.randint(0, classes, (n,)),
        batch_size=cfg.train.batch_size,
        seed=cfg.seed,
        crop_padding=data.crop_padding,
        padding_mode=data.padding_mode,
        flip=data.flip,
        mean=list(data.mean),
        std=list(data.std),
        device=device,
    )


def minutes(run: Run) -> list[float]:
    """Return the minutes of all training steps of a run, without evaluation, one value per round of the measurement.

    The list is empty if the run's data set and network have not been timed.
    """
    seconds = _read(run).get("seconds_of_a_step", {}).get(run.cfg.method.name, [])
    return [second * _steps(run) / 60 for second in seconds]


def timed_on(run: Run) -> str | None:
    """Return the device and the precision of the measurement that `minutes` reads; None if there is none."""
    record = _read(run)
    return f"{record['device']}, {record['precision']}" if record else None


def _steps(run: Run) -> int:
    """Return the number of steps of a run's whole training; 0 where the number of images is not known."""
    images = images_of(run) or (0, 0)
    return images[0] // run.cfg.train.batch_size * make_schedule(run.cfg.train, run.cfg.budget).epochs


def _read(run: Run) -> dict:
    try:
        return json.loads(_path(run).read_text())
    except (OSError, ValueError):
        return {}


def _path(run: Run) -> Path:
    cfg = run.cfg
    return Path(cfg.machine.output) / "timing" / f"{cfg.dataset.name}-{cfg.network.name}.json"
