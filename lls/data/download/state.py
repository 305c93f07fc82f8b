"""State of the data folder: which data sets it holds, and how much is still to be downloaded and unpacked."""

from pathlib import Path

from omegaconf import DictConfig

from lls.data.download import arrays, layouts, prepare, published
from lls.data.download.layouts import Listing, wnids_of
from lls.data.download.verify import check_counts
from lls.errors import UserError

NAMES = tuple(published.SIZES)
IMAGENET100 = ("imagenet100_kaggle", "imagenet100_cmc")


def published_name(dataset: DictConfig) -> str | None:
    """Return the name in NAMES of the data set that a configuration names; None for digits and a user's images."""
    name = f"{dataset.name}_{dataset.classes}" if "classes" in dataset else dataset.name
    return name if name in NAMES and dataset.get("root") is None else None


def is_available(name: str, folder: Path) -> bool:
    """Return whether a data set is unpacked, or an image tree replaces it."""
    if image_tree(name, folder):
        return True
    if name in published.TORCHVISION:
        return all(path.exists() for path in arrays.array_paths(name, folder))
    return prepare.dataset_root(name, folder) is not None


def is_obtainable(name: str, folder: Path) -> bool:
    """Return whether a data set can be downloaded, or all its archives are in the data folder."""
    return name not in published.MANUAL_DOWNLOADS or not prepare.missing_archives(
        prepare.available_archives(name, folder), folder
    )


def image_tree(name: str, folder: Path) -> Path | None:
    """Return the folder of class folders that replaces a data set; None if there is none."""
    dataset, _, classes = name.partition("_")
    tree = folder / dataset
    if not (tree / "train").is_dir():
        return None
    if classes and not any((tree / "train" / wnid).is_dir() for wnid in wnids_of(classes)):
        return None  # it has the classes of the other list
    return tree


def list_image_tree(name: str, tree: Path) -> Listing:
    """List an image tree. Raises UserError unless it has the published classes and numbers of images."""
    try:
        listing = layouts.class_tree(tree)
        if classes := name.partition("_")[2]:
            layouts.check_classes(tree / "train", listing.classes, wnids_of(classes))
        check_counts(name, listing.train_y, listing.test_y, listing.classes)
    except UserError as error:
        raise UserError(f"the image tree {tree} is not {name} as published: {error}") from None
    return listing


def bytes_to_download(name: str, folder: Path) -> int:
    """Return the approximate number of bytes that preparing a data set will download."""
    if is_available(name, folder) or name in published.MANUAL_DOWNLOADS:
        return 0
    archives = published.archives(name)
    missing = prepare.missing_archives(archives, folder)
    partial_bytes = sum(path.stat().st_size for a in missing if (path := folder / f"{a.path}.part").exists())
    return max(0, published.SIZES[name][0] * len(missing) // len(archives) - partial_bytes)


def bytes_to_unpack(name: str, folder: Path) -> int:
    """Return the approximate number of bytes that preparing a data set will unpack."""
    return 0 if is_available(name, folder) or not is_obtainable(name, folder) else published.SIZES[name][1]


def resolve_names(word: str, folder: Path) -> list[str]:
    """Return the data sets that a word of the command line stands for.

    - `all`: all that are available or obtainable
    - `imagenet100`: the lists of classes that are available or whose archives are in the data folder, or both lists
    - a name: itself"""
    lists = [name for name in IMAGENET100 if is_available(name, folder) or _has_archives(name, folder)]
    if word == "all":
        others = [name for name in NAMES if name not in IMAGENET100]
        return [name for name in others if is_available(name, folder) or is_obtainable(name, folder)] + lists
    if word == "imagenet100":
        return lists or list(IMAGENET100)
    return [word]


def _has_archives(name: str, folder: Path) -> bool:
    """Return whether the archives of an ImageNet-100 list are in the data folder: for `cmc`, those of ILSVRC2012.

    `kaggle` can be unpacked from ILSVRC2012 too, but then `imagenet100` and `all` stand for `cmc`."""
    archives = prepare.available_archives(name, folder)
    is_ilsvrc = archives == published.archives("imagenet100_cmc")
    return not prepare.missing_archives(archives, folder) and is_ilsvrc == (name == "imagenet100_cmc")
