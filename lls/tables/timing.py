"""What a method costs in time: steps of several methods that take turns in one process, on one resident set of images.

Only such a pairing compares methods: runs of a sweep that share a machine, or follow each other on it, do not.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lls.files import write_whole
from lls.runs import Run
from lls.schedule import schedule
from lls.tables.cost import classes_of, images_of


def measure(runs: Sequence[Run], rounds: int) -> Path:
    """Time a training step of each of `runs`, which differ in their methods alone, in `rounds` rounds after two to warm
    up, and write the seconds. Images are random; a step is crop, flip, forward, loss, backward and update."""
    import torch

    from lls import machine
    from lls.build import build_method, build_network
    from lls.data.batches import TrainBatches
    from lls.method import Batch

    cfg = runs[0].cfg
    device, classes, size = machine.device(cfg.machine.device), classes_of(runs[0]), cfg.dataset.size
    machine.set_precision(cfg.machine.precision, device)
    n = cfg.train.batch_size * 2
    images = torch.randint(0, 256, (n, size, size, cfg.dataset.channels), dtype=torch.uint8)
    look = {"mean": list(cfg.dataset.mean), "std": list(cfg.dataset.std), "device": device}
    batches = TrainBatches(
        images,
        torch.randint(0, classes, (n,)),
        batch_size=cfg.train.batch_size,
        seed=cfg.seed,
        crop_padding=cfg.dataset.get("crop_padding", 0),
        flip=cfg.dataset.flip,
        **look,
    )
    trained = []
    for run in runs:
        net = build_network(run.cfg.network, classes, cfg.dataset.channels, size).train()
        net.to(device, memory_format=torch.channels_last)
        method = build_method(run.cfg.method, classes).to(device)
        groups = [{"params": list(net.parameters())}, *method.param_groups(cfg.train.weight_decay)]
        keys = {"momentum": cfg.train.momentum, "weight_decay": cfg.train.weight_decay, "fused": True}
        trained.append((net, method, torch.optim.SGD(groups, lr=cfg.train.lr / 100, **keys)))

    def step(net, method, optimizer, epoch: int) -> float:
        started = time.perf_counter()
        x, y = next(iter(batches.epoch(epoch)))
        with machine.autocast(device, cfg.machine.precision):
            logits, features = net(x)
        loss = method.loss(Batch(logits.float(), y, x, features, net))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    seconds: dict[str, list[float]] = {run.cfg.method.name: [] for run in runs}
    for epoch in range(rounds + 2):
        turns = list(zip(runs, trained, strict=True))
        for run, parts in turns if epoch % 2 else turns[::-1]:  # nobody is always first
            took = step(*parts, epoch)
            if epoch >= 2:
                seconds[run.cfg.method.name].append(round(took, 6))
    found = {
        "dataset": cfg.dataset.name,
        "network": OmegaConf.to_container(cfg.network, resolve=True),
        "batch_size": cfg.train.batch_size,
        "size": size,
        **machine.record(machine.ways(cfg.machine, device), device),
        "commit": machine.commit(),
        "seconds_of_a_step": seconds,
    }
    path = _path(runs[0])
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(found, indent=1) + "\n"))
    return path


def minutes(run: Run) -> list[float]:
    """Minutes that a run's training steps take, without evaluation, by each round of the paired measurement of its
    network; none where there is no such measurement."""
    seconds, images = _read(run).get("seconds_of_a_step", {}).get(run.cfg.method.name), images_of(run)
    if not seconds or images is None:
        return []
    steps = images[0] // run.cfg.train.batch_size * schedule(run.cfg.train, run.cfg.budget).epochs
    return [second * steps / 60 for second in seconds]


def device(run: Run) -> str | None:
    """Where that measurement was made; None where there is none."""
    found = _read(run)
    return f"{found['device']}, {found['precision']}" if found else None


def _read(run: Run) -> dict:
    try:
        return json.loads(_path(run).read_text())
    except (OSError, ValueError):
        return {}


def _path(run: Run) -> Path:
    cfg = run.cfg
    return Path(cfg.machine.output) / "timing" / f"{cfg.dataset.name}-{cfg.network.name}.json"
