"""Measure what the data path costs: python scripts/bench.py data | images [--rounds N]

data: on a small data set, the share of a training epoch that goes into its batches.
images: JPEG decoding, cropping and normalising with one worker process, beside torchvision's ImageFolder with the
transforms and the DataLoader of its documentation, and from a store of scaled images (machine.cache).

Rounds alternate between what is compared; medians are shown with the quartiles of the rounds. Nothing else should run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.config import compose
from lls.data import feed, find

BATCH = 64


def shares(overrides: list[str], steps: int, rounds: int) -> str:
    """The share of the batches in the time of a training step, on synthetic images of a data set's size."""
    from lls import machine
    from lls.build import build_network
    from lls.data.batches import TrainBatches

    cfg = compose(["network=alexnet", *overrides])
    data, size, device = cfg.dataset, cfg.dataset.size, machine.device(cfg.machine.device)
    n = max(10_000, (steps + 1) * cfg.train.batch_size)
    x = torch.randint(256, (n, size, size, data.channels), dtype=torch.uint8)
    y = torch.randint(data.num_classes, (n,))
    keys = {"batch_size": cfg.train.batch_size, "seed": 0, "mean": data.mean, "std": data.std, "device": device}
    keys |= {"crop_padding": data.crop_padding, "padding_mode": data.padding_mode, "flip": data.flip}
    batches = TrainBatches(x, y, **keys)
    net = build_network(cfg.network, data.num_classes, data.channels, size).to(
        device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def train(step: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(step[0])[0], step[1]).backward()
        optimizer.step()

    def only_data(_) -> None:
        pass

    times = {train: [], only_data: []}
    for number in range(rounds + 1):
        for work, seconds in times.items():
            seconds.append(_seconds(work, batches.epoch(number), steps, device))
    training, alone = (statistics.median(seconds[1:]) / steps for seconds in times.values())  # the first round warms up
    return (
        f"{data.name:<14} {cfg.network.name:<9} step {1e3 * training:7.2f} ms   its batch {1e3 * alone:6.3f} ms   "
        f"{100 * alone / training:5.2f} %"
    )


def _seconds(work: Callable, epoch: Iterator, steps: int, device: torch.device) -> float:
    started = time.perf_counter()
    for _, step in zip(range(steps), epoch, strict=False):
        work(step)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def jpegs(folder: Path, n: int) -> Path:
    """`n` JPEGs of 500x375, the size of most of ImageNet's: smooth shapes and noise, about 110 kB each, in two classes."""
    from PIL import Image

    rng, (y, x) = np.random.default_rng(0), np.mgrid[:375, :500]
    for i in range(n):
        waves = [np.sin(x * rng.uniform(0.01, 0.2)) + np.sin(y * rng.uniform(0.01, 0.2)) for _ in range(3)]
        pixels = 127 + 50 * np.stack(waves, -1) + rng.normal(0, 8, (375, 500, 3))
        for split in ("train", "test")[: 1 + (i < 4)]:
            path = folder / split / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def ours(cfg: DictConfig) -> Callable[[int], Iterator]:
    return feed(cfg, find(cfg.dataset, Path(cfg.machine.data)), torch.device("cpu")).train().epoch


def image_folder(root: Path, workers: int) -> Callable[[int], Iterator]:
    """torchvision's ImageFolder and PyTorch's DataLoader, as their documentation and the ImageNet example use them."""
    from torchvision import datasets, transforms

    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    seen = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    images = datasets.ImageFolder(root / "train", transforms.Compose(seen))
    loader = torch.utils.data.DataLoader(
        images, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    return lambda _: iter(loader)


def rates(n: int, rounds: int, workers: int) -> list[str]:
    """Images a second of each way to read JPEGs, epochs alternating."""
    with tempfile.TemporaryDirectory() as folder:
        root = jpegs(Path(folder) / "images", n)
        keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=224", f"train.batch_size={BATCH}"]
        keys += [f"machine.data={folder}", f"machine.workers={workers}"]
        ways = {
            "torchvision ImageFolder, random resized crops": image_folder(root, workers),
            "ours, random resized crops": ours(compose(keys)),
            "ours, random crops of 256x256": ours(compose([*keys, "dataset.crop=random", "dataset.keep_aspect=false"])),
            "ours, random resized crops from the store": ours(
                compose([*keys, "dataset.resize_first=true", "machine.cache=true"])
            ),
            "ours, random crops of 256x256 from the store": ours(
                compose([*keys, "dataset.crop=random", "dataset.keep_aspect=false", "machine.cache=true"])
            ),
        }
        seen = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, epoch in ways.items():
                started = time.perf_counter()
                images = sum(len(y) for _, y in epoch(number))
                seen[name].append(images / (time.perf_counter() - started))
    first = statistics.median(next(iter(seen.values()))[1:])
    lines = []
    for name, per_second in seen.items():
        low, median, high = statistics.quantiles(per_second[1:], n=4)
        lines.append(f"{name:<46} {median:7.0f} images/s ({low:.0f} to {high:.0f})  {median / first:5.2f}x")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["data", "images"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps a round (data)")
    parser.add_argument("--images", type=int, default=512, help="JPEGs to generate (images)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (images)")
    arguments = parser.parse_args()
    if arguments.what == "data":
        for name in ("fashionmnist", "cifar10", "cifar100"):
            print(shares([f"dataset={name}"], arguments.steps, arguments.rounds), flush=True)
        for name in ("tinyimagenet", "animals10n"):  # AlexNet takes 32x32 only
            print(shares([f"dataset={name}", "network=resnet18"], arguments.steps // 10, arguments.rounds), flush=True)
    else:
        print("\n".join(rates(arguments.images, arguments.rounds, arguments.workers)))


if __name__ == "__main__":
    main()
