"""Where images come from: a source knows its number of classes early, and decodes its images to uint8 when asked.

A source is a public function `source(dataset, folder) -> Source` of this module, named by a dataset yaml's `source`.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.config import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


class Images(NamedTuple):
    """A decoded data set: images uint8 `[N, H, W, C]`, labels int64 `[N]`, class names in the order of the labels."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: list[str]


class Source(NamedTuple):
    num_classes: int
    fingerprint: str  # changes when the files do
    read: Callable[[], Images]  # decodes everything; may take a minute


def find(dataset: DictConfig, folder: Path) -> Source:
    """The source of a dataset's images, without reading any. A tree `folder/<name>/train/CLASS/*` stands in for a named
    dataset's own files. UserError where there is nothing to read, or where it does not fit the dataset."""
    from lls.build import public_function

    tree = folder / dataset.name
    if dataset.get("root") is None and (tree / "train").is_dir():
        found = _tree(dataset, tree)
    else:
        found = public_function(sys.modules[__name__], dataset.source, "dataset.source")(dataset, folder)
    if dataset.num_classes not in (None, found.num_classes):
        raise UserError(f"dataset.num_classes={dataset.num_classes}: {dataset.name} has {found.num_classes} classes")
    return found


def digits(dataset: DictConfig, folder: Path) -> Source:
    """scikit-learn's digits, split once and for all: 1,437 to train on, 360 to test on, stratified by class."""

    def read() -> Images:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        bunch = load_digits()
        x = _fit_all((bunch.images * (255 / 16)).round().astype(np.uint8)[..., None], dataset.size)
        y = torch.from_numpy(bunch.target).long()
        train, test = train_test_split(np.arange(len(y)), test_size=360, stratify=bunch.target, random_state=0)
        return Images(x[train], y[train], x[test], y[test], names)

    names = [str(digit) for digit in range(10)]
    return Source(len(names), "scikit-learn", read)


def torchvision(dataset: DictConfig, folder: Path) -> Source:
    """FashionMNIST, CIFAR-10, CIFAR-100 or SVHN as torchvision reads them from `folder`, downloaded where missing."""
    made = {
        "fashionmnist": ("FashionMNIST", 10, "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
        "cifar10": ("CIFAR10", 10, "cifar-10-python.tar.gz"),
        "cifar100": ("CIFAR100", 100, "cifar-100-python.tar.gz"),
        "svhn": ("SVHN", 10, "{train,test}_32x32.mat"),
    }
    if dataset.name not in made:
        raise UserError(f"dataset.name={dataset.name}: torchvision's are {', '.join(made)}")
    name, num_classes, files = made[dataset.name]
    where = f"put {folder}/{files} there, or an image tree {folder}/{dataset.name}/{{train,test}}/CLASS/*"
    if not folder.absolute().parent.is_dir():
        raise UserError(f"machine.data={folder}: no such folder; make it and {where}")

    def read() -> Images:
        import torchvision.datasets as tv

        try:
            train, test = (
                getattr(tv, name)(
                    folder, download=True, **({"split": split} if name == "SVHN" else {"train": split == "train"})
                )
                for split in ("train", "test")
            )
        except Exception as error:  # no network, no space, a broken archive: torchvision raises many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]
            raise UserError(f"{dataset.name} is not in {folder} and can't be downloaded ({reason}): {where}") from None
        classes = list(getattr(train, "classes", [str(digit) for digit in range(10)]))
        pad, resize_test = "geometry" in dataset, dataset.get("geometry") == "paper"
        return Images(
            _fit_all(_nhwc(train.data), dataset.size, pad),
            _labels(train),
            _fit_all(_nhwc(test.data), dataset.size, pad and not resize_test),
            _labels(test),
            classes,
        )

    return Source(num_classes, "torchvision", read)


def imagefolder(dataset: DictConfig, folder: Path) -> Source:
    """Any tree ROOT/train/CLASS/* and ROOT/test/CLASS/* (or ROOT/val/), at `dataset.root`."""
    if dataset.root is None:
        raise UserError(
            "dataset=imagefolder needs dataset.root=FOLDER, with FOLDER/train/CLASS/* and FOLDER/test/CLASS/*"
        )
    return _tree(dataset, Path(str(dataset.root)).expanduser())


# -- image trees -----------------------------------------------------------------------------------------------------


def _tree(dataset: DictConfig, root: Path) -> Source:
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test is None:
        raise UserError(f"{root} is no image folder: it needs train/CLASS/* and test/CLASS/* (or val/CLASS/*)")
    try:
        listed = {split: _listing(split) for split in (root / "train", test)}
        files = [entry for classes in listed.values() for images in classes.values() for entry in images]
        state = sorted((entry.path, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in files)
    except OSError as error:  # a link to nowhere, a loop of links, a folder without permission
        raise UserError(f"{root} can't be read: {error}") from None
    classes, other = (list(files) for files in listed.values())
    if set(classes) != set(other):
        odd = sorted(set(classes) ^ set(other))
        raise UserError(
            f"{root}: train and {test.name} have different classes ({', '.join(odd[:5])} in one of them only)"
        )
    fingerprint = hashlib.sha256(repr(state).encode()).hexdigest()

    def read() -> Images:
        pad, paper = "geometry" in dataset, dataset.get("geometry") == "paper"
        train_x, train_y = _decode(listed[root / "train"], dataset, pad)
        test_x, test_y = _decode(listed[test], dataset, pad and not paper)
        return Images(train_x, train_y, test_x, test_y, classes)

    return Source(len(classes), fingerprint, read)


def _listing(split: Path) -> dict[str, list[os.DirEntry]]:
    """Class name -> its images, both sorted by name; images may lie deeper, as Tiny-ImageNet's do."""
    with os.scandir(split) as entries:
        folders = sorted((e for e in entries if e.is_dir() and not e.name.startswith(".")), key=lambda e: e.name)
    if len(folders) < 2:
        found = f"only one class folder, {folders[0].name}" if folders else "no class folders"
        raise UserError(f"{split} has {found}: it needs {split}/CLASS/* for each class")
    listed = {f.name: sorted(_images_under(f.path), key=lambda e: e.path) for f in folders}
    empty = [name for name, files in listed.items() if not files]
    if empty:
        raise UserError(f"{split / empty[0]} holds no image ({', '.join(sorted(SUFFIXES))})")
    return listed


def _images_under(folder: str) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _images_under(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                yield entry


def _decode(listed: dict[str, list[os.DirEntry]], dataset: DictConfig, pad: bool) -> tuple[Tensor, Tensor]:
    from PIL import Image
    from tqdm import tqdm

    size, mode = dataset.size, "L" if dataset.channels == 1 else "RGB"
    paths = [entry.path for files in listed.values() for entry in files]
    labels = [label for label, files in enumerate(listed.values()) for _ in files]
    pixels = np.empty((len(paths), size, size, dataset.channels), np.uint8)

    def decode(i: int) -> None:
        try:
            with Image.open(paths[i]) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"it has more than 8 bits a channel: mode {image.mode}")
                pixels[i] = np.asarray(_fit(image.convert(mode), size, pad)).reshape(pixels.shape[1:])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{paths[i]} can't be read as an image ({error})") from None

    with ThreadPoolExecutor() as pool:
        for _ in tqdm(
            pool.map(decode, range(len(paths))), "decoding", len(paths), unit=" images", leave=False, disable=None
        ):
            pass
    return torch.from_numpy(pixels), torch.tensor(labels)


# -- pixels ----------------------------------------------------------------------------------------------------------


def _fit(image, size: int, pad: bool):
    """A PIL image as `size` x `size`: as it is, padded with black on all sides, or scaled and cut at the centre."""
    from PIL import Image, ImageOps

    if image.size == (size, size):
        return image
    if pad and max(image.size) <= size:
        left, top = (size - image.width) // 2, (size - image.height) // 2
        return ImageOps.expand(image, (left, top, size - image.width - left, size - image.height - top))
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _fit_all(pixels: np.ndarray, size: int, pad: bool = False) -> Tensor:
    """uint8 `[N, h, w, C]` to `[N, size, size, C]`."""
    from PIL import Image

    if pixels.shape[1:3] != (size, size):
        flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        pixels = np.stack([np.asarray(_fit(Image.fromarray(image), size, pad)) for image in flat])
        pixels = pixels.reshape(len(flat), size, size, -1)
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _nhwc(pixels: np.ndarray | Tensor) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.ndim == 3:  # FashionMNIST: [N, H, W]
        return pixels[..., None]
    return pixels.transpose(0, 2, 3, 1) if pixels.shape[1] == 3 else pixels  # SVHN: [N, C, H, W]


def _labels(dataset) -> Tensor:
    return torch.as_tensor(np.asarray(dataset.labels if hasattr(dataset, "labels") else dataset.targets)).long()
