"""FashionMNIST, CIFAR-10, CIFAR-100 and SVHN as arrays, read by torchvision.

torchvision names the archives and reads the unpacked files. It does not download or unpack them: it would read files
that an interrupted process has left incomplete.
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
    """uint8 images `[N, H, W, C]`, int64 labels `[N]`, and the class names in the order of the labels."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: list[str]


def read_arrays(name: str, folder: Path) -> Arrays:
    """Read a data set from the data folder, downloaded and unpacked first if it is missing.

    Raises UserError if that fails, or if the numbers of images are not the published ones."""
    ensure_files(name, folder)
    splits = []
    for split in ("train", "test"):
        dataset = _read_split(name, folder, split)
        labels = np.asarray(dataset.labels if name == "svhn" else dataset.targets, np.int64)
        splits += [_channels_last(np.asarray(dataset.data)), labels]
    data = Arrays(*splits, list(getattr(dataset, "classes", map(str, range(10)))))
    try:
        check_counts(name, data.train_y, data.test_y, data.classes)
    except UserError as error:
        raise UserError(f"{name}: {error}; {_redo_command(name, folder)}") from None
    return data


def ensure_files(name: str, folder: Path) -> None:
    """Download and unpack the missing files of a data set. Processes that start together do it once."""
    paths = array_paths(name, folder)
    if all(path.exists() for path in paths):
        return
    with lock(name, folder):
        if name == "fashionmnist":
            for path, archive in zip(paths, published.archives(name), strict=True):
                if not path.exists():
                    (gz,) = ensure_archives(name, folder, (archive,))
                    archives.gunzip(gz, path)
        elif name == "svhn":
            ensure_archives(name, folder, published.archives(name))
        elif not paths[0].exists():
            (tar,) = ensure_archives(name, folder, published.archives(name))
            print(f"{name}: unpacking {tar.name}", flush=True)
            with archives.staging_folder(paths[0]) as staging:
                archives.unpack(tar, staging, lambda member: member)
                if fault := _first_fault(name, staging):
                    raise UserError(f"{tar} does not hold {name} as published: {fault}; download it again")


def array_paths(name: str, folder: Path) -> list[Path]:
    """Return the paths that torchvision reads a data set from: one folder for CIFAR, else files."""
    if name.startswith("cifar"):
        return [folder / published.torchvision_class(name).base_folder]
    files = [folder / archive.path for archive in published.archives(name)]
    return [file.with_suffix("") for file in files] if name == "fashionmnist" else files


def _read_split(name: str, folder: Path, split: str):
    arguments = {"split": split} if name == "svhn" else {"train": split == "train"}
    try:
        return published.torchvision_class(name)(folder, download=False, **arguments)
    except Exception as error:  # torchvision raises many kinds for broken files
        reason = _first_fault(name, folder) or one_line(error)
        raise UserError(f"{name} is broken or incomplete: {reason}; {_redo_command(name, folder)}") from None


def _first_fault(name: str, folder: Path) -> str | None:
    """Describe the first file that is missing or has another MD5 than torchvision gives; None if all are right."""
    if name == "fashionmnist":
        return None  # torchvision gives the MD5s of its archives only
    if name == "svhn":
        checksums = [(Path(archive.path), archive.md5) for archive in published.archives(name)]
    else:
        dataset = published.torchvision_class(name)
        files = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
        checksums = [(Path(dataset.base_folder) / file, md5) for file, md5 in files]
    for file, md5 in checksums:
        if not (folder / file).is_file():
            return f"{file} is missing"
        if (actual := digest(folder / file)) != md5:
            return f"{file} has the MD5 {actual}, not {md5}"
    return None


def _redo_command(name: str, folder: Path) -> str:
    paths = ", ".join(map(str, array_paths(name, folder)))
    return f"delete {paths} and run python scripts/prepare_data.py {name}"


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3:  # FashionMNIST: [N, H, W]
        return pixels[..., None]
    return pixels.transpose(0, 2, 3, 1) if pixels.shape[1] == 3 else pixels  # SVHN: [N, C, H, W]
