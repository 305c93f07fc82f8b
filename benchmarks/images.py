"""How fast large images are decoded, cropped and normalised, and in how much memory; torchvision's ImageFolder too."""

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

BATCH, SIDE = 64, (375, 500)  # of most of ImageNet's images
FOLDER = "torchvision ImageFolder, random resized crops"
OURS = {
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
    """Seconds of an epoch each way, and megabytes that its worker processes have to themselves, together."""

    times: Times
    megabytes: dict[str, float]


def compare(folder: Path, n: int, workers: int, rounds: int) -> EpochMeasures:
    """Read `n` generated JPEGs in each way, epochs alternating; `folder` is for them and their stores."""
    root = jpegs(folder / "images", n)
    loader = image_folder(root, workers)
    epochs, processes = {FOLDER: _read(lambda: iter(loader))}, {}
    with ExitStack() as opened:
        for name, overrides in OURS.items():
            keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=224", f"train.batch_size={BATCH}"]
            cfg = compose([*keys, f"machine.data={folder}", f"machine.workers={workers}", *overrides])
            batches = opened.enter_context(
                make_loaders(cfg, find_source(cfg.dataset, folder), torch.device("cpu"))
            ).train()
            epochs[name] = _read(lambda batches=batches: batches.epoch(0))
        for name, read in epochs.items():  # each starts its workers in its first epoch, and keeps them
            before = set(multiprocessing.active_children())
            read()
            processes[name] = set(multiprocessing.active_children()) - before
        times = alternate(epochs, rounds)
        return EpochMeasures(times, {name: _megabytes(workers) for name, workers in processes.items()})


def jpegs(folder: Path, n: int) -> Path:
    """`n` JPEGs, smooth shapes and noise, in two classes."""
    from PIL import Image

    rng, (y, x) = np.random.default_rng(0), np.mgrid[: SIDE[0], : SIDE[1]]
    for i in range(n):
        waves = [np.sin(x * rng.uniform(0.01, 0.2)) + np.sin(y * rng.uniform(0.01, 0.2)) for _ in range(3)]
        pixels = 127 + 50 * np.stack(waves, -1) + rng.normal(0, 8, (*SIDE, 3))
        for split in ("train", "test")[: 1 + (i < 4)]:
            path = folder / split / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def image_folder(root: Path, workers: int) -> torch.utils.data.DataLoader:
    """torchvision's ImageFolder and PyTorch's DataLoader, as their documentation and the ImageNet example use them."""
    from torchvision import datasets, transforms

    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    seen = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    images = datasets.ImageFolder(root / "train", transforms.Compose(seen))
    return torch.utils.data.DataLoader(
        images, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )


def _read(epoch: Callable[[], Iterator]) -> Callable[[], None]:
    def work() -> None:
        for _ in epoch():
            pass

    return work


def _megabytes(workers: Iterable[BaseProcess]) -> float:
    """Of some workers, what they share with others divided among the sharers; nan where the system does not say."""
    total = 0
    for worker in workers:
        try:
            lines = Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return float("nan")
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
