"""What a run costs before it is run: parameters and operations of its network, and the seconds that an epoch takes.

Counts and the measured rate are kept in outputs/cache, so that a plan imports torch only when it meets something new.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.data.download import published
from lls.files import write_atomic
from lls.host import host_fingerprint
from lls.paper import smoke as small
from lls.runs.find import run_in
from lls.runs.provenance import PACKAGE
from lls.runs.run import RUNS, Run, teacher_run

FOLDER = Path("outputs/cache")
PAPERS_RATE = 15e12  # FLOP/s: Table 9's 142 minutes of ResNet-18 on Tiny-ImageNet, which are 133 PFLOP
STEP = 0.002  # seconds: what a step takes at least, whatever the network
EPOCH = 0.2  # and an epoch, with its evaluation and its checkpoint


class Size(NamedTuple):
    """A network's trainable parameters, and the floating-point operations of its forward pass for one image."""

    parameters: int
    flops: int


class Rate(NamedTuple):
    """What training ResNet-18 on 32x32 images reaches here."""

    device: str  # as result.json names it
    flops: float  # a second


def parameters(run: Run) -> int:
    """Trainable parameters of a run's network and method, counted on the modules themselves."""
    import torch

    from lls.training.build import build_method

    with torch.device("meta"):
        method = build_method(run.cfg.method, classes_of(run))
    return size_of(run).parameters + sum(p.numel() for p in method.parameters() if p.requires_grad)


def size_of(run: Run) -> Size:
    """Of a run's network, without its weights being made."""
    network = OmegaConf.to_container(run.cfg.network, resolve=True)
    network.pop("weights", None)
    trunk = _trunk(json.dumps([network, run.cfg.dataset.channels, run.cfg.dataset.size], sort_keys=True))
    classes = classes_of(run)
    return Size(trunk.parameters + classes * (trunk.features + 1), trunk.flops + 2 * classes * trunk.features)


def classes_of(run: Run) -> int:
    data = run.cfg.dataset
    return (data.num_classes or 2) // (2 if data.subset == "classes" else 1)


def images_of(run: Run) -> tuple[int, int] | None:
    """Return the numbers of training and test images of a run; None for a data set of one's own."""
    data = run.cfg.dataset
    if (found := published.images(data.name, data.get("classes"))) is None:
        return None
    train, test = small.images(data.num_classes) if run.cfg.machine.data == small.MACHINE["data"] else found
    return (train if data.subset is None else train // 2), (test // 2 if data.subset == "classes" else test)


def flops_of_epoch(run: Run) -> float | None:
    """Forward and backward over the training images, forward over the test images, and a teacher's forward."""
    if (images := images_of(run)) is None:
        return None
    train, test = images
    flops, teacher = size_of(run).flops, teacher_run(run)
    teacher_flops = size_of(teacher).flops if teacher and "q" not in run.cfg.method else 0
    return train * (3 * flops + teacher_flops) + test * flops


def seconds_of_epoch(run: Run, flops_a_second: float) -> float | None:
    """An epoch's seconds at a rate; None where the number of images is not known."""
    if (flops := flops_of_epoch(run)) is None:
        return None
    return max(flops / flops_a_second, STEP * (images_of(run)[0] // run.cfg.train.batch_size), EPOCH)


def measured(output: Path, runs: Iterable[Run], device: str) -> dict[tuple, float]:
    """Seconds an epoch of the finished runs in an output folder on this device, by what decides it (see `kind`): of
    those whose data set and network some of `runs` have."""
    known = {run.folder: run for run in runs}
    wanted, found = {(run.cfg.dataset.name, run.cfg.network.name) for run in known.values()}, {}
    for path in sorted((output / RUNS).glob("*/result.json")):
        result = json.loads(path.read_text())
        same = (result.get("dataset"), result.get("network")) in wanted and result.get("device") == device
        if same and "seconds" in result and "epochs" in result:
            run = known.get(path.parent) or run_in(path.parent)
            found.setdefault(kind(run), []).append(result["seconds"] / result["epochs"])
    return {key: median(seconds) for key, seconds in found.items()}


def kind(run: Run) -> tuple:
    cfg = run.cfg
    return cfg.dataset.name, cfg.network.name, cfg.dataset.size, cfg.dataset.subset, cfg.network.get("width")


def rate() -> Rate:
    """This machine's, measured in some seconds the first time."""
    name = f"rate-{host_fingerprint()}.json"
    known = _known(name)
    if not known:
        known = _measure()._asdict()
        _keep(name, known)
    return Rate(**known)


class Trunk(NamedTuple):
    """A network without its last Linear, which alone knows the number of classes and takes `features`."""

    parameters: int
    flops: int
    features: int


@cache
def _trunk(key: str) -> Trunk:
    name = f"networks-{hashlib.sha256((PACKAGE / 'networks' / 'models.py').read_bytes()).hexdigest()[:12]}.json"
    known = _known(name)
    if key not in known:
        known[key] = _count(*json.loads(key))
        _keep(name, known)
    return Trunk(*known[key])


def _count(network: dict, channels: int, size: int) -> Trunk:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lls.training.build import build_network

    with torch.device("meta"):
        net = build_network(OmegaConf.create(network), 2, channels, size).eval()
    net.classifier, features = torch.nn.Identity(), net.classifier.in_features
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, size, size, device="meta"))
    return Trunk(sum(p.numel() for p in net.parameters() if p.requires_grad), counter.get_total_flops(), features)


def _measure() -> Rate:
    """As runs are trained here, but on a CPU with a smaller batch, which is somewhat slower."""
    import torch

    from lls.device import autocast, device_name, keep_memory, select_device, synchronizer
    from lls.networks.models import resnet

    device = select_device("auto")
    keep_memory(device)
    batch = 32 if device.type == "cpu" else 256
    net = resnet(100, 3, 32, 18, "small", "2x2")
    net.to(device, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    wait, seconds = synchronizer(device), []
    for _ in range(4):
        started = time.perf_counter()
        with autocast(device, "auto"):
            net(x)[0].sum().backward()
        wait()
        seconds.append(time.perf_counter() - started)
    return Rate(device_name(device), batch * 3 * 1.113e9 / min(seconds[1:]))


def _known(name: str) -> dict:
    try:
        return json.loads((FOLDER / name).read_text())
    except (OSError, ValueError):
        return {}


def _keep(name: str, known: dict) -> None:
    try:
        write_atomic(FOLDER / name, lambda temporary: temporary.write_text(json.dumps(known, indent=1) + "\n"))
    except OSError:
        return  # counted again the next time
