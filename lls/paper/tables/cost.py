"""The cost of a run before it is trained: parameters and FLOPs of its network, and seconds per epoch.

Counts and the measured speed are cached in outputs/cache, so that a plan imports torch only for a new network.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

from omegaconf import OmegaConf

from lls.data.download import layouts, published
from lls.errors import UserError
from lls.files import write_atomic
from lls.host import host_fingerprint
from lls.paper.smoke import MACHINE, image_counts
from lls.runs.find import run_in
from lls.runs.provenance import PACKAGE
from lls.runs.run import RUNS, Run, teacher_run

CACHE = Path("outputs/cache")
PAPER_FLOPS_PER_SECOND = 15e12  # Table 9: ResNet-18 on Tiny-ImageNet takes 142 minutes, which are 133 PFLOP
MIN_STEP_SECONDS = 0.002  # the least that a training step takes, whatever the network
MIN_EPOCH_SECONDS = 0.2  # the least that an epoch takes, with its evaluation and its checkpoint
RESNET18_FLOPS = 1.113e9  # forward pass of ResNet-18 for one 32x32 image


class Size(NamedTuple):
    """Trainable parameters of a network, and the floating-point operations of its forward pass for one image."""

    parameters: int
    flops: int


class Backbone(NamedTuple):
    """A network without its classifier, the last Linear layer. `features` is that layer's number of inputs."""

    parameters: int
    flops: int
    features: int


class Rate(NamedTuple):
    """The speed at which this machine trains ResNet-18 on 32x32 images."""

    device: str  # as in result.json
    flops: float  # floating-point operations per second


def parameters(run: Run) -> int:
    """Return the number of trainable parameters of a run's network and method, counted on the modules themselves."""
    import torch

    from lls.training.build import build_method

    with torch.device("meta"):
        method = build_method(run.cfg.method, classes_of(run))
    return size_of(run).parameters + sum(p.numel() for p in method.parameters() if p.requires_grad)


def size_of(run: Run) -> Size:
    """Return the size of a run's network. No weights are allocated."""
    network = OmegaConf.to_container(run.cfg.network, resolve=True)
    network.pop("weights", None)
    backbone = _backbone(json.dumps([network, run.cfg.dataset.channels, run.cfg.dataset.size], sort_keys=True))
    classes = classes_of(run)
    return Size(
        backbone.parameters + classes * (backbone.features + 1), backbone.flops + 2 * classes * backbone.features
    )


def classes_of(run: Run) -> int:
    """Return the number of classes that a run trains on; 2 where the configuration does not say."""
    data = run.cfg.dataset
    return (data.num_classes or 2) // (2 if data.subset == "classes" else 1)


def images_of(run: Run) -> tuple[int, int] | None:
    """Return the numbers of training and test images of a run; None where a user's images cannot be listed."""
    data = run.cfg.dataset
    if (counts := published.images(data.name, data.get("classes")) or _count_images(data.get("root"))) is None:
        return None
    train, test = image_counts(data.num_classes) if run.cfg.machine.data == MACHINE["data"] else counts
    return (train if data.subset is None else train // 2), (test // 2 if data.subset == "classes" else test)


@cache
def _count_images(root: str | None) -> tuple[int, int] | None:
    """Count the training and test images in a folder of class folders; None if there are none."""
    try:
        listing = layouts.class_tree(Path(str(root)).expanduser()) if root else None
    except (OSError, UserError):
        return None
    return listing and (len(listing.train), len(listing.test))


def flops_of_epoch(run: Run) -> float | None:
    """Return the FLOPs of one epoch; None where the number of images is not known.

    An epoch is forward and backward over the training images and forward over the test images. A teacher that is a
    network adds its forward pass over the training images.
    """
    if (images := images_of(run)) is None:
        return None
    train, test = images
    flops, teacher = size_of(run).flops, teacher_run(run)
    teacher_flops = size_of(teacher).flops if teacher and "q" not in run.cfg.method else 0
    return train * (3 * flops + teacher_flops) + test * flops


def seconds_of_epoch(run: Run, flops_per_second: float) -> float | None:
    """Return the seconds of one epoch at a speed; None where the number of images is not known."""
    if (flops := flops_of_epoch(run)) is None:
        return None
    steps = images_of(run)[0] // run.cfg.train.batch_size
    return max(flops / flops_per_second, MIN_STEP_SECONDS * steps, MIN_EPOCH_SECONDS)


def measured_epoch_seconds(output: Path, runs: Iterable[Run], device: str) -> dict[tuple, float]:
    """Return the median seconds per epoch of finished runs on this device, keyed by `speed_key`.

    Only runs in the folder `output` count, with a data set and network that one of `runs` has.
    """
    runs_by_folder = {run.folder: run for run in runs}
    pairs = {(run.cfg.dataset.name, run.cfg.network.name) for run in runs_by_folder.values()}
    seconds = defaultdict(list)
    for path in sorted((output / RUNS).glob("*/result.json")):
        result = json.loads(path.read_text())
        matches = (result.get("dataset"), result.get("network")) in pairs and result.get("device") == device
        if matches and "seconds" in result and "epochs" in result:
            run = runs_by_folder.get(path.parent) or run_in(path.parent)
            seconds[speed_key(run)].append(result["seconds"] / result["epochs"])
    return {key: median(values) for key, values in seconds.items()}


def speed_key(run: Run) -> tuple:
    """Return what decides a run's seconds per epoch: data set, network, image size, subset and network width."""
    cfg = run.cfg
    return cfg.dataset.name, cfg.network.name, cfg.dataset.size, cfg.dataset.subset, cfg.network.get("width")


def machine_rate() -> Rate:
    """Return this machine's speed. The first call measures it, which takes seconds; later ones read the cache."""
    name = f"rate-{host_fingerprint()}.json"
    cached = _read_cache(name)
    if not cached:
        cached = measure_rate()._asdict()
        _write_cache(name, cached)
    return Rate(**cached)


def measure_rate() -> Rate:
    """Time forward and backward passes of ResNet-18 on random 32x32 images, in the precision of runs.

    Another process does it, so that this process, which may train runs, holds no memory of the GPU. The
    batch on a CPU is smaller than that of runs, which is somewhat slower.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_time_passes)


def _time_passes() -> Rate:
    import torch

    from lls.device import autocast, device_name, keep_memory, select_device, synchronizer
    from lls.networks.models import resnet

    device = select_device("auto")
    keep_memory(device)
    batch = 32 if device.type == "cpu" else 256
    net = resnet(100, 3, 32, 18, "small", "2x2")
    net.to(device, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    synchronize, seconds = synchronizer(device), []
    for _ in range(4):
        started = time.perf_counter()
        with autocast(device, "auto"):
            net(x)[0].sum().backward()
        synchronize()
        seconds.append(time.perf_counter() - started)
    return Rate(device_name(device), batch * 3 * RESNET18_FLOPS / min(seconds[1:]))  # the first pass is a warm-up


@cache
def _backbone(key: str) -> Backbone:
    """Read the counts of a network's backbone from the cache, or count and cache them. Key: JSON of _count's inputs."""
    name = f"networks-{hashlib.sha256((PACKAGE / 'networks' / 'models.py').read_bytes()).hexdigest()[:12]}.json"
    cached = _read_cache(name)
    if key not in cached:
        cached[key] = _count(*json.loads(key))
        _write_cache(name, cached)
    return Backbone(*cached[key])


def _count(network: dict, channels: int, size: int) -> Backbone:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lls.training.build import build_network

    with torch.device("meta"):
        net = build_network(OmegaConf.create(network), 2, channels, size).eval()
    net.classifier, features = torch.nn.Identity(), net.classifier.in_features
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, size, size, device="meta"))
    return Backbone(sum(p.numel() for p in net.parameters() if p.requires_grad), counter.get_total_flops(), features)


def _read_cache(name: str) -> dict:
    try:
        return json.loads((CACHE / name).read_text())
    except (OSError, ValueError):
        return {}


def _write_cache(name: str, values: dict) -> None:
    try:
        write_atomic(CACHE / name, lambda temporary: temporary.write_text(json.dumps(values, indent=1) + "\n"))
    except OSError:
        return  # a folder that cannot be written to: the next call counts again
