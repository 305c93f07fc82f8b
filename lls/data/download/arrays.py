"""torchvision's data sets of arrays: FashionMNIST, CIFAR-10, CIFAR-100, SVHN.

torchvision reads them and names their archives. It does not fetch them here: what it unpacks is not whole until it is
done, and is trusted before.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lls.data.download import archives, published
from lls.data.download.fetch import digest
from lls.data.download.prepare import ensure_archives, lock
from lls.data.download.verify import check_counts
from lls.errors import UserError, one_line


class Arrays(NamedTuple):
    """uint8 images `[N, h, w, C]`, int64 labels `[N]`, class names in the order of the labels."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: list[str]


def read_arrays(name: str, folder: Path) -> Arrays:
    """The images of a data set, fetched and unpacked first where they are not there. UserError where that fails, or
    where they are not what is published."""
    ensure_files(name, folder)
    splits = []
    for split in ("train", "test"):
        made = _read(name, folder, split)
        labels = np.asarray(made.labels if name == "svhn" else made.targets, np.int64)
        splits += [_nhwc(np.asarray(made.data)), labels]
    found = Arrays(*splits, list(getattr(made, "classes", map(str, range(10)))))
    try:
        check_counts(name, found.train_y, found.test_y, found.classes)
    except UserError as error:
        raise UserError(f"{name}: {error}; {_again(name, folder)}") from None
    return found


def ensure_files(name: str, folder: Path) -> None:
    """Fetch and unpack what is missing of a data set; processes that start together do it once."""
    if all(path.exists() for path in array_files_path(name, folder)):
        return
    with lock(name, folder):
        if name == "fashionmnist":
            for path, archive in zip(array_files_path(name, folder), published.archives(name), strict=True):
                if not path.exists():
                    (gz,) = ensure_archives(name, folder, (archive,))
                    archives.gunzip(gz, path)
        elif name == "svhn":
            ensure_archives(name, folder, published.archives(name))
        elif not array_files_path(name, folder)[0].exists():
            (tar,), (target,) = ensure_archives(name, folder, published.archives(name)), array_files_path(name, folder)
            print(f"{name}: unpacking {tar.name}", flush=True)
            with archives.staging_folder(target) as stand_in:
                archives.unpack(tar, stand_in, lambda member: member)
                if faulty := _faulty(name, stand_in):
                    raise UserError(f"{tar} does not hold {name} as published: {faulty}; get it again")


def array_files_path(name: str, folder: Path) -> list[Path]:
    """The files, or the folder, that torchvision reads a data set from."""
    if name.startswith("cifar"):
        return [folder / _torchvisions(name).base_folder]
    files = [folder / archive.path for archive in published.archives(name)]
    return [file.with_suffix("") for file in files] if name == "fashionmnist" else files


def _read(name: str, folder: Path, split: str):
    which = {"split": split} if name == "svhn" else {"train": split == "train"}
    try:
        return _torchvisions(name)(folder, download=False, **which)
    except Exception as error:  # torchvision raises many kinds for broken files
        reason = _faulty(name, folder) or one_line(error)
        raise UserError(f"{name} is not whole: {reason}; {_again(name, folder)}") from None


def _faulty(name: str, folder: Path) -> str | None:
    """What is wrong with the first file that has not the MD5 torchvision wants."""
    made = _torchvisions(name)
    if name.startswith("cifar"):
        base = Path(made.base_folder)
        files = [*made.train_list, *made.test_list, (made.meta["filename"], made.meta["md5"])]
        wanted = [(base / file, md5) for file, md5 in files]
    elif name == "svhn":
        wanted = [(Path(archive.path), archive.md5) for archive in published.archives(name)]
    else:
        return None  # torchvision knows the MD5s of FashionMNIST's archives only
    for file, md5 in wanted:
        if not (folder / file).is_file():
            return f"{file} is missing"
        if (found := digest(folder / file)) != md5:
            return f"{file} has the MD5 {found}, not {md5}"
    return None


def _again(name: str, folder: Path) -> str:
    places = ", ".join(map(str, array_files_path(name, folder)))
    return f"delete {places} and run python scripts/prepare_data.py {name}"


def _torchvisions(name: str):
    import torchvision.datasets as tv

    return getattr(tv, published.TORCHVISION[name])


def _nhwc(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3:  # FashionMNIST: [N, H, W]
        return pixels[..., None]
    return pixels.transpose(0, 2, 3, 1) if pixels.shape[1] == 3 else pixels  # SVHN: [N, C, H, W]
