"""The data sets of image files as they are distributed: which file is in which split, and of which class.

A layout is a function `layout(root) -> Listing`. It opens no image, and raises UserError where the folder does not hold
what it should; how many images there should be is not its matter (lls/data/download/verify.py).
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lls.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
LISTS = Path(__file__).resolve().parent / "lists"
ANIMALS = ["cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig"]


class Listing(NamedTuple):
    """The image files of a data set, none of them opened: paths, labels from 0, class names in the labels' order."""

    train: list[str]
    train_y: list[int]
    test: list[str]
    test_y: list[int]
    classes: list[str]


# -- layouts ---------------------------------------------------------------------------------------------------------


def class_tree(root: Path) -> Listing:
    """ROOT/train/CLASS/* and ROOT/test/CLASS/* (or ROOT/val/): classes in alphabetical order; images may lie deeper."""
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test is None:
        raise UserError(f"{root} is no image folder: it needs train/CLASS/* and test/CLASS/* (or val/CLASS/*)")
    of_train, of_test = _class_folders(root / "train"), _class_folders(test)
    if set(of_train) != set(of_test):
        odd = sorted(set(of_train) ^ set(of_test))
        raise UserError(
            f"{root}: train and {test.name} have different classes ({', '.join(odd[:5])} in one of them only)"
        )
    return Listing(*_flat(of_train), *_flat(of_test), list(of_train))


def tinyimagenet(root: Path) -> Listing:
    """Tiny-ImageNet: train/WNID/images/*.JPEG; val/images/*.JPEG, flat, with their labels in val/val_annotations.txt.
    Classes are in the order of their WNIDs; the images of test/ have no labels and are left alone."""
    wnids = sorted(wnid for (wnid,) in _rows(root / "wnids.txt", 1))
    of_train = _class_folders(root / "train")
    check_classes(root / "train", of_train, wnids)
    label = {wnid: i for i, wnid in enumerate(wnids)}
    notes = [row[:2] for row in _rows(root / "val" / "val_annotations.txt", 6)]
    if unknown := [wnid for _, wnid in notes if wnid not in label]:
        raise UserError(f"{root}/val/val_annotations.txt: {unknown[0]} is none of the {len(wnids)} classes")
    images = root / "val" / "images"
    _present(images, (file for file, _ in notes))
    words = dict(_rows(root / "words.txt", 2))
    test = [f"{images}/{file}" for file, _ in notes]
    return Listing(*_flat(of_train), test, [label[wnid] for _, wnid in notes], _words(wnids, words))


def animals10n(root: Path) -> Listing:
    """Animals-10N: training/<label>_*.jpg and testing/<label>_*.jpg, with labels 0 to 9."""
    splits = []
    for split in ("training", "testing"):
        files = sorted(_images_under(root / split))
        prefixes = [os.path.basename(file).partition("_")[0] for file in files]
        known = {str(label): label for label in range(len(ANIMALS))}
        if odd := [file for file, prefix in zip(files, prefixes, strict=True) if prefix not in known]:
            raise UserError(f"{odd[0]}: the label before the _ must be 0 to {len(ANIMALS) - 1}")
        splits += [files, [known[prefix] for prefix in prefixes]]
    return Listing(*splits, list(ANIMALS))


def cub200(root: Path) -> Listing:
    """CUB-200-2011: images/, and images.txt, image_class_labels.txt, train_test_split.txt and classes.txt beside it.
    Labels are classes.txt's numbers less one."""
    classes = [name.partition(".")[2].replace("_", " ") for _, name in _rows(root / "classes.txt", 2)]
    files = dict(_rows(root / "images.txt", 2))
    labels, in_train = dict(_rows(root / "image_class_labels.txt", 2)), dict(_rows(root / "train_test_split.txt", 2))
    if not files.keys() == labels.keys() == in_train.keys():
        raise UserError(
            f"{root}: images.txt, image_class_labels.txt and train_test_split.txt are not of the same images"
        )
    known = {str(i + 1): i for i in range(len(classes))}
    if odd := [image for image, label in labels.items() if label not in known]:
        raise UserError(
            f"{root}/image_class_labels.txt: image {odd[0]} has label {labels[odd[0]]}; they are 1 to {len(classes)}"
        )
    _present(root / "images", files.values())
    splits = []
    for part in ("1", "0"):
        of_part = [image for image in files if in_train[image] == part]
        splits += [[f"{root}/images/{files[i]}" for i in of_part], [known[labels[i]] for i in of_part]]
    return Listing(*splits, classes)


def flowers102(root: Path) -> Listing:
    """Flowers-102: the images of jpg/, which is `root`, with imagelabels.mat (1 to 102) and setid.mat beside it; the
    official validation images are left out."""
    from torchvision.datasets import Flowers102

    classes, labels = Flowers102.classes, _mat(root.parent / "imagelabels.mat", "labels")
    ids = [_mat(root.parent / "setid.mat", split) for split in ("trnid", "tstid")]
    if odd := [label for label in labels if not 1 <= label <= len(classes)]:
        raise UserError(f"{root.parent}/imagelabels.mat: label {odd[0]}; they are 1 to {len(classes)}")
    if odd := [image for of_split in ids for image in of_split if not 1 <= image <= len(labels)]:
        raise UserError(f"{root.parent}/setid.mat: image {odd[0]}; imagelabels.mat has labels of 1 to {len(labels)}")
    _present(root, (f"image_{image:05d}.jpg" for of_split in ids for image in of_split))
    splits = []
    for of_split in ids:
        splits += [[f"{root}/image_{i:05d}.jpg" for i in of_split], [labels[i - 1] - 1 for i in of_split]]
    return Listing(*splits, list(classes))


def imagenet100(root: Path, which: str) -> Listing:
    """The 100 classes of a list (`kaggle` or `cmc`) in the order of their WNIDs, from a folder with train/WNID and
    val/WNID, which may have others too, or from Kaggle's own: train.X1/WNID to train.X4/WNID, val.X/WNID and
    Labels.json."""
    wnids = wnids_of(which)
    val = root / ("val.X" if (root / "val.X").is_dir() else "val")
    splits = []
    for parts in (sorted(root.glob("train.X*")) or [root / "train"], [val]):
        folders = {wnid: [part / wnid for part in parts if (part / wnid).is_dir()] for wnid in wnids}
        if missing := [wnid for wnid, of_class in folders.items() if not of_class]:
            places = ", ".join(str(part) for part in parts)
            raise UserError(f"{places}: no {missing[0]}, which is one of the 100 classes of {which}")
        splits += _flat({w: sorted(file for f in of for file in _images_under(f)) for w, of in folders.items()})
    return Listing(*splits, _words(wnids, _labels_json(root / "Labels.json") or _timms_words(wnids)))


def wnids_of(which: str, sha256: str | None = None) -> list[str]:
    """The sorted WNIDs of an ImageNet-100 list. UserError where there is no such list or it has not this SHA-256."""
    path = LISTS / f"imagenet100_{which}.txt"
    if not path.is_file():
        known = sorted(file.stem.partition("_")[2] for file in LISTS.glob("imagenet100_*.txt"))
        raise UserError(f"dataset.classes={which}: there are {', '.join(known)}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 not in (None, found):
        raise UserError(f"dataset.list={sha256}: the list {which} that is there has the SHA-256 {found}")
    return sorted(path.read_text().split())


# -- their parts -----------------------------------------------------------------------------------------------------


def _class_folders(split: Path) -> dict[str, list[str]]:
    """Class name -> its images, both sorted by name; images may lie deeper, as Tiny-ImageNet's do."""
    if not split.is_dir():
        raise UserError(f"{split} is not there")
    with os.scandir(split) as entries:
        folders = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if len(folders) < 2:
        found = f"only one class folder, {folders[0]}" if folders else "no class folders"
        raise UserError(f"{split} has {found}: it needs {split}/CLASS/* for each class")
    listed = {name: sorted(_images_under(split / name)) for name in folders}
    if empty := [name for name, files in listed.items() if not files]:
        raise UserError(f"{split / empty[0]} holds no image ({', '.join(sorted(SUFFIXES))})")
    return listed


def _images_under(folder: Path | str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _images_under(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                yield entry.path


def _flat(listed: dict[str, list[str]]) -> tuple[list[str], list[int]]:
    return (
        [file for files in listed.values() for file in files],
        [label for label, files in enumerate(listed.values()) for _ in files],
    )


def check_classes(split: Path, found: dict, wanted: list[str]) -> None:
    if missing := sorted(set(wanted) - set(found)):
        raise UserError(f"{split} has no folder {missing[0]}, which is one of the {len(wanted)} classes")
    if odd := sorted(set(found) - set(wanted)):
        raise UserError(f"{split}/{odd[0]} is none of the {len(wanted)} classes")


def _present(folder: Path, files: Iterator[str]) -> None:
    there = {os.path.relpath(file, folder) for file in _images_under(folder)} if folder.is_dir() else set()
    if missing := next((file for file in files if file not in there), None):
        raise UserError(f"{folder / missing} is not there")


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The rows of a text file, parted at tabs, or where there are none at the first spaces."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    rows = [line.split("\t") if "\t" in line else line.split(maxsplit=columns - 1) for line in lines if line.strip()]
    if odd := [row for row in rows if len(row) != columns]:
        raise UserError(f"{path}: {' '.join(odd[0])!r} has not {columns} columns")
    return rows


def _mat(path: Path, key: str) -> list[int]:
    from scipy.io import loadmat

    try:
        return [int(value) for value in loadmat(path)[key].ravel()]
    except Exception as error:  # scipy raises many kinds for a broken file
        raise UserError(f"{path} can't be read as Flowers-102's ({type(error).__name__}: {error})") from None


def _labels_json(path: Path) -> dict[str, str] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


def _timms_words(wnids: list[str]) -> dict[str, str]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {wnid: info.label_name_to_description(wnid) for wnid in wnids}


def _words(wnids: list[str], words: dict[str, str]) -> list[str]:
    """Each WNID's first word, with the WNID where two have the same (two kinds of crane), or where it has none."""
    first = [words.get(wnid, wnid).partition(",")[0].strip() for wnid in wnids]
    times = Counter(first)
    return [word if times[word] == 1 else f"{word} {wnid}" for word, wnid in zip(first, wnids, strict=True)]
