"""Large images: the rate at which they are decoded, cropped and normalised, and the memory, beside ImageFolder."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.rounds import Times, alternate
from lls.config.compose import compose
from lls.data.loaders import make_loaders
from lls.data.sources import find_source

BATCH_SIZE, IMAGE_SIZE = 64, (375, 500)  # height and width of most ImageNet images
IMAGE_FOLDER = "torchvision ImageFolder, random resized crops"
OVERRIDES = {
    "random resized crops": [],
    "random crops of 256x256": ["dataset.crop=random", "dataset.keep_aspect=false"],
    "random resized crops from the store": ["dataset.resize_first=true", "machine.cache=true"],
    "random crops of 256x256 from the store": [
        "dataset.crop=random",
        "dataset.keep_aspect=false",
        "machine.cache=true",
    ],
}


class EpochMeasures(NamedTuple):
    """Seconds per epoch of each loader, and the memory of its worker processes together, in MB."""

    times: Times
    megabytes: dict[str, float]


def compare(folder: Path, n: int, workers: int, rounds: int) -> EpochMeasures:
    """Read `n` generated JPEGs with each loader, in turns. folder: for the images and their stores."""
    root = make_jpegs(folder / "images", n)
    loader = image_folder(root, workers)
    epochs, processes = {IMAGE_FOLDER: _read(lambda: iter(loader))}, {}
    with ExitStack() as stack:
        for name, overrides in OVERRIDES.items():
            keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=224", f"train.batch_size={BATCH_SIZE}"]
            cfg = compose([*keys, f"machine.data={folder}", f"machine.workers={workers}", *overrides])
            loaders = stack.enter_context(make_loaders(cfg, find_source(cfg.dataset, folder), torch.device("cpu")))
            batches = loaders.train()
            epochs[name] = _read(lambda batches=batches: batches.epoch(0))
        for name, read in epochs.items():  # a loader starts its workers in its first epoch, and they stay
            before = set(multiprocessing.active_children())
            read()
            processes[name] = set(multiprocessing.active_children()) - before
        times = alternate(epochs, rounds)
        return EpochMeasures(times, {name: _megabytes(workers) for name, workers in processes.items()})


def make_jpegs(folder: Path, n: int) -> Path:
    """Write `n` training JPEGs of waves and noise, in two classes, and a few test images. Returns the folder."""
    from PIL import Image

    rng, (y, x) = np.random.default_rng(0), np.mgrid[: IMAGE_SIZE[0], : IMAGE_SIZE[1]]
    for i in range(n):
        waves = [np.sin(x * rng.uniform(0.01, 0.2)) + np.sin(y * rng.uniform(0.01, 0.2)) for _ in range(3)]
        pixels = 127 + 50 * np.stack(waves, -1) + rng.normal(0, 8, (*IMAGE_SIZE, 3))
        for split in ("train", "test")[: 1 + (i < 4)]:
            path = folder / split / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def image_folder(root: Path, workers: int) -> torch.utils.data.DataLoader:
    """Return a loader of torchvision's ImageFolder, as in PyTorch's ImageNet example."""
    from torchvision import datasets, transforms

    steps = [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    images = datasets.ImageFolder(root / "train", transforms.Compose(steps))
    return torch.utils.data.DataLoader(
        images, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )


def _read(epoch: Callable[[], Iterator]) -> Callable[[], None]:
    def work() -> None:
        for _ in epoch():
            pass

    return work


def _megabytes(workers: Iterable[BaseProcess]) -> float:
    """Return the proportional set size of processes in MB; nan where the system does not report it.

    A page that n processes share counts as 1/n for each."""
    total = 0
    for worker in workers:
        try:
            lines = Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return float("nan")
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
