"""Layouts of the data sets of image files: the split and the class of each file.

A layout is a function `layout(root) -> Listing`. It opens no image. It raises UserError if a file or a folder is
missing or has unexpected content. lls/data/download/verify.py checks the numbers of images.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from lls.data.download.folders import (
    check_classes,
    check_files,
    class_folders,
    flatten,
    image_files,
    read_json,
    read_mat,
    read_rows,
)
from lls.errors import UserError

LISTS = Path(__file__).resolve().parent / "lists"
ANIMALS = ["cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig"]


class Listing(NamedTuple):
    """The image files of a data set: paths, labels from 0, and class names in the order of the labels."""

    train: list[str]
    train_y: list[int]
    test: list[str]
    test_y: list[int]
    classes: list[str]


def class_tree(root: Path) -> Listing:
    """List ROOT/train/CLASS/* and ROOT/test/CLASS/* (or ROOT/val/CLASS/*).

    Classes are in alphabetical order. Images may lie in subfolders of their class."""
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test is None:
        raise UserError(f"{root} is no image folder: it needs train/CLASS/* and test/CLASS/* (or val/CLASS/*)")
    train_files, test_files = class_folders(root / "train"), class_folders(test)
    if set(train_files) != set(test_files):
        unmatched = sorted(set(train_files) ^ set(test_files))
        raise UserError(
            f"{root}: train and {test.name} have different classes ({', '.join(unmatched[:5])} in one of them only)"
        )
    return Listing(*flatten(train_files), *flatten(test_files), list(train_files))


def tinyimagenet(root: Path) -> Listing:
    """List Tiny-ImageNet: train/WNID/images/*.JPEG, and val/images/*.JPEG as the test images.

    The labels of the test images are in val/val_annotations.txt. Classes are in the order of their WNIDs. The images
    of test/ have no labels and are left out."""
    wnids = sorted(wnid for (wnid,) in read_rows(root / "wnids.txt", 1))
    train_files = class_folders(root / "train")
    check_classes(root / "train", train_files, wnids)
    label = {wnid: i for i, wnid in enumerate(wnids)}
    annotations = [row[:2] for row in read_rows(root / "val" / "val_annotations.txt", 6)]
    if unknown := [wnid for _, wnid in annotations if wnid not in label]:
        raise UserError(f"{root}/val/val_annotations.txt: {unknown[0]} is none of the {len(wnids)} classes")
    images = root / "val" / "images"
    check_files(images, (file for file, _ in annotations))
    test, test_y = [f"{images}/{file}" for file, _ in annotations], [label[wnid] for _, wnid in annotations]
    words = dict(read_rows(root / "words.txt", 2))
    return Listing(*flatten(train_files), test, test_y, _class_names(wnids, words))


def animals10n(root: Path) -> Listing:
    """List Animals-10N: training/<label>_*.jpg and testing/<label>_*.jpg, with labels 0 to 9."""
    splits = []
    labels = {str(label): label for label in range(len(ANIMALS))}
    for split in ("training", "testing"):
        files = sorted(image_files(root / split))
        prefixes = [os.path.basename(file).partition("_")[0] for file in files]
        if invalid := [file for file, prefix in zip(files, prefixes, strict=True) if prefix not in labels]:
            raise UserError(f"{invalid[0]}: the label before the _ must be 0 to {len(ANIMALS) - 1}")
        splits += [files, [labels[prefix] for prefix in prefixes]]
    return Listing(*splits, list(ANIMALS))


def cub200(root: Path) -> Listing:
    """List CUB-200-2011: images/*, with the labels and the split in the text files of `root`.

    The labels are the class numbers of classes.txt minus 1."""
    classes = [name.partition(".")[2].replace("_", " ") for _, name in read_rows(root / "classes.txt", 2)]
    files = dict(read_rows(root / "images.txt", 2))
    numbers = dict(read_rows(root / "image_class_labels.txt", 2))
    in_train = dict(read_rows(root / "train_test_split.txt", 2))
    if not files.keys() == numbers.keys() == in_train.keys():
        raise UserError(
            f"{root}: images.txt, image_class_labels.txt and train_test_split.txt are not of the same images"
        )
    labels = {str(i + 1): i for i in range(len(classes))}
    if invalid := [image for image, number in numbers.items() if number not in labels]:
        image = invalid[0]
        raise UserError(
            f"{root}/image_class_labels.txt: image {image} has label {numbers[image]}; labels are 1 to {len(classes)}"
        )
    check_files(root / "images", files.values())
    splits = []
    for flag in ("1", "0"):
        images = [image for image in files if in_train[image] == flag]
        splits += [[f"{root}/images/{files[i]}" for i in images], [labels[numbers[i]] for i in images]]
    return Listing(*splits, classes)


def flowers102(root: Path) -> Listing:
    """List Flowers-102: the images of the folder jpg/, which is `root`, without the official validation images.

    The labels (1 to 102) and the splits are in imagelabels.mat and setid.mat next to `root`."""
    from torchvision.datasets import Flowers102

    classes, labels = Flowers102.classes, read_mat(root.parent / "imagelabels.mat", "labels")
    split_images = [read_mat(root.parent / "setid.mat", split) for split in ("trnid", "tstid")]
    if invalid := [label for label in labels if not 1 <= label <= len(classes)]:
        raise UserError(f"{root.parent}/imagelabels.mat: label {invalid[0]}; labels are 1 to {len(classes)}")
    if invalid := [image for images in split_images for image in images if not 1 <= image <= len(labels)]:
        raise UserError(f"{root.parent}/setid.mat: image {invalid[0]}; imagelabels.mat labels 1 to {len(labels)}")
    check_files(root, (f"image_{image:05d}.jpg" for images in split_images for image in images))
    splits = []
    for images in split_images:
        splits += [[f"{root}/image_{i:05d}.jpg" for i in images], [labels[i - 1] - 1 for i in images]]
    return Listing(*splits, list(classes))


def imagenet100(root: Path, classes: str) -> Listing:
    """List the 100 classes of a list, in the order of their WNIDs.

    classes: the list, `kaggle` or `cmc`. root: has one of these layouts, and may have other classes as well:

    - train/WNID/* and val/WNID/*
    - Kaggle's: train.X1/WNID/* to train.X4/WNID/*, val.X/WNID/* and Labels.json"""
    wnids = wnids_of(classes)
    val = root / ("val.X" if (root / "val.X").is_dir() else "val")
    splits = []
    for parts in (sorted(root.glob("train.X*")) or [root / "train"], [val]):
        folders = {wnid: [part / wnid for part in parts if (part / wnid).is_dir()] for wnid in wnids}
        if missing := [wnid for wnid in wnids if not folders[wnid]]:
            paths = ", ".join(map(str, parts))
            raise UserError(f"{paths}: no {missing[0]}, which is one of the 100 classes of {classes}")
        splits += flatten({wnid: sorted(f for folder in folders[wnid] for f in image_files(folder)) for wnid in wnids})
    words = read_json(root / "Labels.json") or _timm_words(wnids)
    return Listing(*splits, _class_names(wnids, words))


def wnids_of(classes: str, sha256: str | None = None) -> list[str]:
    """Return the sorted WNIDs of an ImageNet-100 list, `kaggle` or `cmc`.

    Raises UserError if there is no such list or its file does not have this SHA-256. None: not checked."""
    path = LISTS / f"imagenet100_{classes}.txt"
    if not path.is_file():
        names = sorted(file.stem.partition("_")[2] for file in LISTS.glob("imagenet100_*.txt"))
        raise UserError(f"dataset.classes={classes}: no such list; use one of {', '.join(names)}")
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 not in (None, actual):
        raise UserError(f"dataset.list={sha256}: the list {classes} has the SHA-256 {actual}; leave this key unset")
    return sorted(path.read_text().split())


def _timm_words(wnids: list[str]) -> dict[str, str]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {wnid: info.label_name_to_description(wnid) for wnid in wnids}


def _class_names(wnids: list[str], words: dict[str, str]) -> list[str]:
    """Return the first word of each WNID, followed by the WNID if another class has the same word (crane).

    words: comma-separated words by WNID. A WNID without words is its own class name."""
    first_words = [words.get(wnid, wnid).partition(",")[0].strip() for wnid in wnids]
    counts = Counter(first_words)
    return [word if counts[word] == 1 else f"{word} {wnid}" for word, wnid in zip(first_words, wnids, strict=True)]
