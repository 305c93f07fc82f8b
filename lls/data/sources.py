"""Sources of images. A source knows its number of classes at once and reads its images when asked.

A source is a public function `source(dataset, folder) -> Source` of this module. The key `source` of a data set's yaml
names it.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.data.download import arrays, layouts, prepare
from lls.data.download.layouts import Listing
from lls.data.download.published import COUNTS, TORCHVISION
from lls.data.pixels import decode_images, fit_images
from lls.errors import UserError


class Images(NamedTuple):
    """A decoded data set: images uint8 `[N, H, W, C]`, labels int64 `[N]`, class names in the order of the labels."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: list[str]
    content: str = ""  # fingerprint of the decoded images (lls/data/fingerprint.py)


class Source(NamedTuple):
    """Where a data set's images come from."""

    num_classes: int
    fingerprint: str  # changes if the files change
    read: Callable[[], Images]  # downloads if necessary and decodes all images
    files: Callable[[], Listing] | None  # for data sets of image files
    on_disk: bool = True  # False if `files` has to download or unpack


def find_source(dataset: DictConfig, folder: Path) -> Source:
    """Return the source of a data set's images, without reading an image.

    A folder `folder/<name>/train/CLASS/*` replaces a named data set's own files. Raises UserError if there is nothing
    to read, or if it does not fit the data set.
    """
    from lls.config.lookup import public_function

    make_source = public_function(sys.modules[__name__], dataset.source, "dataset.source")
    tree = folder / dataset.name
    if dataset.get("root") is None and (tree / "train").is_dir():
        source = _tree(dataset, tree)
    else:
        source = make_source(dataset, folder)
    if dataset.num_classes not in (None, source.num_classes):
        raise UserError(f"dataset.num_classes={dataset.num_classes}: {dataset.name} has {source.num_classes} classes")
    return source


# -- arrays ----------------------------------------------------------------------------------------------------------


def digits(dataset: DictConfig, folder: Path) -> Source:
    """scikit-learn's digits: 1,437 training and 360 test images, in a fixed split stratified by class."""

    def read() -> Images:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        bunch = load_digits()
        x = fit_images((bunch.images * (255 / 16)).round().astype(np.uint8)[..., None], dataset.size)
        y = torch.from_numpy(bunch.target).long()
        train, test = train_test_split(
            np.arange(len(y)), test_size=COUNTS["digits"].test.total, stratify=bunch.target, random_state=0
        )
        return Images(x[train], y[train], x[test], y[test], names)

    names = [str(digit) for digit in range(COUNTS["digits"].classes)]
    return Source(len(names), "scikit-learn", read, None)


def torchvision(dataset: DictConfig, folder: Path) -> Source:
    """FashionMNIST, CIFAR-10, CIFAR-100 or SVHN as torchvision reads them from `folder`, downloaded if missing."""
    if dataset.name not in TORCHVISION:
        raise UserError(f"dataset.name={dataset.name}: must be one of {', '.join(TORCHVISION)}")
    prepare.check_data_folder(dataset.name, folder)

    def read() -> Images:
        data = arrays.read_arrays(dataset.name, folder)
        pad, resize_test = "geometry" in dataset, dataset.get("geometry") == "paper"
        return Images(
            fit_images(data.train_x, dataset.size, pad),
            torch.from_numpy(data.train_y),
            fit_images(data.test_x, dataset.size, pad and not resize_test),
            torch.from_numpy(data.test_y),
            data.classes,
        )

    return Source(COUNTS[dataset.name].classes, "torchvision", read, None)


# -- image files -----------------------------------------------------------------------------------------------------


def tinyimagenet(dataset: DictConfig, folder: Path) -> Source:
    """Tiny-ImageNet as distributed, downloaded if missing."""
    return _distributed(dataset, folder, "tinyimagenet")


def animals10n(dataset: DictConfig, folder: Path) -> Source:
    """Animals-10N as distributed. The archive is unpacked if necessary."""
    return _distributed(dataset, folder, "animals10n")


def cub200(dataset: DictConfig, folder: Path) -> Source:
    """CUB-200-2011 as distributed, downloaded if missing."""
    return _distributed(dataset, folder, "cub200")


def flowers102(dataset: DictConfig, folder: Path) -> Source:
    """Flowers-102 in torchvision's layout, downloaded if missing: the training and test images."""
    return _distributed(dataset, folder, "flowers102")


def imagenet100(dataset: DictConfig, folder: Path) -> Source:
    """The 100 ImageNet classes of the list `dataset.classes`, from Kaggle's ImageNet-100 or from ILSVRC2012."""
    layouts.wnids_of(dataset.classes, dataset.list)
    return _distributed(dataset, folder, f"imagenet100_{dataset.classes}")


def imagefolder(dataset: DictConfig, folder: Path) -> Source:
    """A folder with train/CLASS/* and test/CLASS/* (or val/CLASS/*) at `dataset.root`."""
    if dataset.root is None:
        raise UserError(
            "dataset=imagefolder needs dataset.root=FOLDER, with FOLDER/train/CLASS/* and FOLDER/test/CLASS/*"
        )
    return _tree(dataset, Path(str(dataset.root)).expanduser())


def _distributed(dataset: DictConfig, folder: Path, name: str) -> Source:
    prepare.check_obtainable(name, folder)
    fingerprint, files = prepare.source_fingerprint(name, folder), partial(prepare.listing, name, folder)
    if fingerprint is None:  # unpacked by another program
        listing = prepare.listing(name, folder)
        fingerprint, files = _state(listing), lambda: listing
    on_disk = prepare.dataset_root(name, folder) is not None
    return Source(COUNTS[name].classes, f"{name} {fingerprint}", lambda: _images(files(), dataset), files, on_disk)


def _tree(dataset: DictConfig, root: Path) -> Source:
    try:
        listing = layouts.class_tree(root)
        if "list" in dataset:  # ImageNet-100
            layouts.check_classes(root / "train", listing.classes, layouts.wnids_of(dataset.classes, dataset.list))
        fingerprint = _state(listing)
    except OSError as error:  # a broken link, a loop of links, a folder without permission
        raise UserError(f"{root} can't be read: {error}") from None
    return Source(len(listing.classes), fingerprint, lambda: _images(listing, dataset), lambda: listing)


def _state(listing: Listing) -> str:
    """Return a hash of paths, labels, sizes and modification times, which changes if an image or its label does."""
    paths = [*listing.train, *listing.test]
    stats = [(path, (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((sorted(stats), listing.train_y, listing.test_y)).encode()).hexdigest()


def _images(listing: Listing, dataset: DictConfig) -> Images:
    pad, paper = "geometry" in dataset, dataset.get("geometry") == "paper"
    return Images(
        decode_images(listing.train, dataset, pad),
        torch.tensor(listing.train_y),
        decode_images(listing.test, dataset, pad and not paper),
        torch.tensor(listing.test_y),
        listing.classes,
    )
