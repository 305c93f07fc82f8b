"""The small form of every run (`SMOKE=1`): all tables and figures, end to end, in minutes on two CPU cores.

- A data set becomes a few generated images per class, under its own name and class names.
- A network becomes a narrow one with the same layers.
- The schedule becomes two epochs.

The numbers mean nothing; a smoke run shows that each part works. Its output is in outputs/smoke.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from lls.config.assemble import GROUPS, assemble, options, parse_overrides
from lls.config.ranges import IN_MEMORY_SIDE

OUTPUT = "outputs/smoke"
LISTS = Path(__file__).parents[1] / "data" / "download" / "lists"
TRAIN = {"train.epochs": "2", "train.lr": "0.01"}
MACHINE = {"output": OUTPUT, "data": f"{OUTPUT}/data", "wandb": "disabled", "device": "cpu", "workers": "0"}
GENERATED = tuple(name for name in options("dataset") if name not in ("digits", "imagefolder"))
# No narrower: in a channels_last 1x1 convolution of 4 channels with stride 2, oneDNN of PyTorch 2.11 writes outside its
# memory on CPUs with AVX2 and without AVX-512.
NARROW_WIDTH = "network.width=0.125"


def overrides(texts: Sequence[str]) -> list[str]:
    """Return the overrides of a run's small form.

    texts: the run's overrides. Those that make it small win over them, except for `machine.*`.
    """
    requested = dict(text.partition("=")[::2] for text in texts)
    choices = [(group, requested[group]) for group in GROUPS if group in requested]
    if any(option not in options(group) for group, option in choices):
        return list(texts)  # composing the run raises the error for the unknown option
    cfg = _config(*choices)
    small = TRAIN | {"train.batch_size": "20" if (cfg.dataset.num_classes or 100) <= 10 else "40"}
    if cfg.dataset.size > IN_MEMORY_SIDE:
        small |= {"dataset.size": "72", "dataset.resize": "80"}
        if cfg.dataset.pretrained:
            small["dataset.pretrained"] = "null"
    elif "width" in cfg.network:
        small["dataset.size"] = "16"
    if "width" in cfg.network:
        small["network.width"] = NARROW_WIDTH.partition("=")[2]
    if "teacher" in cfg.method and "width" in _teacher_network(requested):
        of_teacher = parse_overrides([f"x={requested.get('method.teacher.overrides', '[]')}"])[0].value()
        small["method.teacher.overrides"] = str([*of_teacher, NARROW_WIDTH])
    machine = {f"machine.{key}": value for key, value in MACHINE.items()}
    merged = dict(choices) | machine | requested | small
    return [f"{key}={value}" for key, value in merged.items()]


@cache
def _config(*choices: tuple[str, str]) -> DictConfig:
    """Compose the configuration of these options, (group, option) each."""
    return assemble(parse_overrides([f"{group}={option}" for group, option in choices]))


def _teacher_network(requested: dict[str, str]) -> DictConfig:
    choices = {group: requested[group] for group in ("dataset", "network") if group in requested}
    if requested.get("method.teacher.network") in options("network"):
        choices["network"] = requested["method.teacher.network"]
    return _config(*choices.items()).network


def class_names(dataset: str) -> list[str]:
    """Return the class names of a data set, as folder names: without `/`, as in T-shirt-top."""
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


def images_per_class(classes: int) -> tuple[int, int]:
    """Return the numbers of training and test images of each class of a generated data set."""
    return max(2, 60 // classes), max(1, 20 // classes)


def image_counts(classes: int) -> tuple[int, int]:
    """Return the numbers of all training and test images of a generated data set."""
    train, test = images_per_class(classes)
    return classes * train, classes * test


def make_data(root: Path = Path(OUTPUT) / "data", datasets: Iterable[str] = GENERATED) -> None:
    """Generate the images of data sets: root/NAME/{train,test}/CLASS/*.png. Skip those that exist.

    Each data set is written whole or not at all. A class is a colour and a stripe pattern, so that it can be learned.
    """
    for dataset in datasets:
        if (root / dataset).is_dir():
            continue
        building = root / f".{dataset}.{os.getpid()}"
        _write_images(dataset, building)
        try:
            building.rename(root / dataset)
        except OSError:  # another process was faster
            shutil.rmtree(building)


def _write_images(dataset: str, folder: Path) -> None:
    import numpy as np
    from PIL import Image

    names, random = class_names(dataset), np.random.default_rng(0)
    large = _config(("dataset", dataset)).dataset.size > IN_MEMORY_SIDE
    side = 80 if large else 28 if dataset == "fashionmnist" else 32
    for label, name in enumerate(names):
        pattern = random.integers(40, 216, 3) + 30 * np.sin(np.arange(side) * (1 + label % 7) / 4)[:, None, None]
        for split, count in zip(("train", "test"), images_per_class(len(names)), strict=True):
            class_folder = folder / split / name
            class_folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = (pattern + random.normal(0, 25, (side, side, 3))).clip(0, 255).astype(np.uint8)
                image = Image.fromarray(pixels).convert("L" if dataset == "fashionmnist" else "RGB")
                image.save(class_folder / f"{i}.png", compress_level=1)
