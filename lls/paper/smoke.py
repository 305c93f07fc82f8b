"""Every run in a small form: tables and figures end to end in minutes on two CPU cores (`SMOKE=1`).

A data set becomes a few generated images a class, under its own name and class names; a network a narrow one of the
same layers; the schedule two epochs. What comes out means nothing but that every part works. It lies in outputs/smoke.
"""

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from lls.config.assemble import GROUPS, assemble, options, parse_overrides
from lls.config.ranges import IN_MEMORY_SIDE

OUTPUT = "outputs/smoke"
LISTS = Path(__file__).parents[1] / "data" / "download" / "lists"
SMALL = {"train.epochs": "2", "train.lr": "0.01"}
MACHINE = {"output": OUTPUT, "data": f"{OUTPUT}/data", "wandb": "disabled", "device": "cpu", "workers": "0"}
GENERATED = tuple(name for name in options("dataset") if name not in ("digits", "imagefolder"))
# Not narrower: in a channels_last 1x1 convolution of 4 channels with stride 2, oneDNN of PyTorch 2.11 writes beyond its
# memory on CPUs with AVX2 and no AVX-512.
NARROW = "network.width=0.125"


def overrides(texts: Sequence[str]) -> list[str]:
    """The overrides of a run's small form: those of the run and, over them, what makes it small. `machine.*` stay."""
    requested = dict(text.partition("=")[::2] for text in texts)
    choices = [(group, requested[group]) for group in GROUPS if group in requested]
    if any(option not in options(group) for group, option in choices):
        return list(texts)  # composing the run refuses it, and says what it might have meant
    cfg = _config(*choices)
    more = SMALL | {"train.batch_size": "20" if (cfg.dataset.num_classes or 100) <= 10 else "40"}
    if cfg.dataset.size > IN_MEMORY_SIDE:
        more |= {"dataset.size": "72", "dataset.resize": "80"}
        if cfg.dataset.pretrained:
            more["dataset.pretrained"] = "null"
    elif "width" in cfg.network:
        more["dataset.size"] = "16"
    if "width" in cfg.network:
        more["network.width"] = NARROW.partition("=")[2]
    if "teacher" in cfg.method and "width" in _teacher_network(requested):
        given = parse_overrides([f"x={requested.get('method.teacher.overrides', '[]')}"])[0].value()
        more["method.teacher.overrides"] = str([*given, NARROW])
    machine = {f"machine.{key}": value for key, value in MACHINE.items()}
    ordered = dict(choices) | machine | requested | more
    return [f"{key}={value}" for key, value in ordered.items()]


@cache
def _config(*choices: tuple[str, str]) -> DictConfig:
    """What the yaml files of these options say."""
    return assemble(parse_overrides([f"{group}={option}" for group, option in choices]))


def _teacher_network(requested: dict[str, str]) -> DictConfig:
    chosen = {group: requested[group] for group in ("dataset", "network") if group in requested}
    if requested.get("method.teacher.network") in options("network"):
        chosen["network"] = requested["method.teacher.network"]
    return _config(*chosen.items()).network


def class_names(dataset: str) -> list[str]:
    """A data set's own class names. `/` is no part of a folder's name: T-shirt-top."""
    if dataset == "imagenet100":
        return (LISTS / "imagenet100_kaggle.txt").read_text().splitlines()
    if dataset in ("tinyimagenet", "cub200"):
        return (LISTS / f"{dataset}.txt").read_text().splitlines()
    if dataset == "cifar100":
        from lls.data.superclasses import CIFAR100

        return [name for group in CIFAR100.values() for name in group.split()]
    if dataset in ("flowers102", "fashionmnist"):
        from torchvision.datasets import FashionMNIST, Flowers102

        names = (Flowers102 if dataset == "flowers102" else FashionMNIST).classes
        return [name.replace("/", "-") for name in names]
    from lls.data.download.layouts import ANIMALS

    return {
        "svhn": list("0123456789"),
        "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        "animals10n": ANIMALS,
    }[dataset]


def each(classes: int) -> tuple[int, int]:
    """Images of a class, in training and test."""
    return max(2, 60 // classes), max(1, 20 // classes)


def images(classes: int) -> tuple[int, int]:
    """All images of a data set, in training and test."""
    train, test = each(classes)
    return classes * train, classes * test


def make_data(root: Path = Path(OUTPUT) / "data") -> None:
    """Write the images of every data set that is not there yet: `root/NAME/{train,test}/CLASS/*.png`, each whole or not
    at all. A class is a colour and a stripe, so that something can be learned."""
    import numpy as np
    from PIL import Image

    for dataset in GENERATED:
        target, building = root / dataset, root / f".{dataset}.{os.getpid()}"
        if target.is_dir():
            continue
        names, random = class_names(dataset), np.random.default_rng(0)
        large = _config(("dataset", dataset)).dataset.size > IN_MEMORY_SIDE
        side = 80 if large else 28 if dataset == "fashionmnist" else 32
        for label, name in enumerate(names):
            pattern = random.integers(40, 216, 3) + 30 * np.sin(np.arange(side) * (1 + label % 7) / 4)[:, None, None]
            for split, count in zip(("train", "test"), each(len(names)), strict=True):
                folder = building / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    pixels = (pattern + random.normal(0, 25, (side, side, 3))).clip(0, 255).astype(np.uint8)
                    image = Image.fromarray(pixels).convert("L" if dataset == "fashionmnist" else "RGB")
                    image.save(folder / f"{i}.png", compress_level=1)
        try:
            building.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(building)
