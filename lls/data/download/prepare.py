"""Download, verify, unpack and list data sets of image files.

lls/data/download/arrays.py does the same for the data sets of arrays that torchvision reads.
"""

import re
import shutil
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from lls.data.download import archives, layouts, published
from lls.data.download.fetch import check_checksums, digest, download
from lls.data.download.layouts import Listing
from lls.data.download.published import Archive
from lls.data.download.verify import check_counts
from lls.errors import UserError

STAMP = ".prepared"  # a file in each folder unpacked by this module: the state of its archives


class Layout(NamedTuple):
    """The folders of a data set, relative to the data folder, and the members of its archive to unpack."""

    roots: tuple[str, ...]  # the folder to unpack to, then other folders that users may have unpacked it to
    marks: tuple[str, ...]  # a folder is a root of the data set if it contains one of these folders
    members: str  # a regular expression for the members to unpack; its first group is the path below the root


LAYOUTS = {
    "tinyimagenet": Layout(("tiny-imagenet-200",), ("train",), r"tiny-imagenet-200/(.+)"),
    "cub200": Layout(("CUB_200_2011",), ("images",), r"CUB_200_2011/(.+)"),
    "flowers102": Layout(("flowers-102/jpg",), (".",), r"jpg/(.+)"),
    "animals10n": Layout(
        ("animals10n/raw_image_ver", "animals10n", "animals10n/raw_image"),
        ("training",),
        r"(?:.*/)?((?:training|testing)/[^/]+)",
    ),
    "imagenet100_kaggle": Layout(
        ("imagenet100/kaggle", "imagenet100", "ILSVRC2012"),
        ("train.X1", "train"),
        r"(?:.*/)?((?:train\.X\d+|val\.X)/.+|Labels\.json)",
    ),
    "imagenet100_cmc": Layout(("imagenet100/cmc", "ILSVRC2012"), ("train",), ""),
}


# -- state of the data folder ----------------------------------------------------------------------------------------


def dataset_root(name: str, folder: Path) -> Path | None:
    """Return the folder of an unpacked data set; None if it is not unpacked."""
    roots = (folder / root for root in LAYOUTS[name].roots)
    return next((root for root in roots if any((root / mark).is_dir() for mark in LAYOUTS[name].marks)), None)


def available_archives(name: str, folder: Path) -> tuple[Archive, ...]:
    """Return the first set of archives that is completely in the data folder, or the set to download if none is."""
    archive_sets = published.archive_sets(name)
    return next((choice for choice in archive_sets if not missing_archives(choice, folder)), archive_sets[0])


def missing_archives(archive_set: tuple[Archive, ...], folder: Path) -> list[Archive]:
    """Return the archives that are not in the data folder."""
    return [archive for archive in archive_set if not (folder / archive.path).is_file()]


def source_fingerprint(name: str, folder: Path) -> str | None:
    """Return a text that changes when the archives of a data set do; None for a folder that something else unpacked."""
    root = dataset_root(name, folder)
    if root is None:
        return _archives_fingerprint(name, folder)
    try:
        return (root / STAMP).read_text()
    except OSError:
        return None


def check_obtainable(name: str, folder: Path) -> None:
    """Raise UserError for a data set that is not unpacked, needs a manual download, and has no archives."""
    check_data_folder(name, folder)
    if (
        name in published.MANUAL_DOWNLOADS
        and dataset_root(name, folder) is None
        and missing_archives(available_archives(name, folder), folder)
    ):
        raise UserError(
            f"{name} is not in {folder}: {published.MANUAL_DOWNLOADS[name].format(folder=folder)}; then run "
            f"python scripts/prepare_data.py {name} to verify and unpack it"
        )


def check_data_folder(name: str, folder: Path) -> None:
    """Raise UserError if neither the data folder nor its parent exists: its path is probably wrong."""
    if not folder.absolute().parent.is_dir():
        files = " and ".join(f"{folder}/{archive.path}" for archive in published.archives(name))
        raise UserError(
            f"machine.data={folder}: no such folder; make it and put {files} there, or an image tree "
            f"{folder}/{name.partition('_')[0]}/{{train,test}}/CLASS/*"
        )


def _archives_fingerprint(name: str, folder: Path) -> str:
    if name not in published.MANUAL_DOWNLOADS:
        return "as published"
    files = [(archive, folder / archive.path) for archive in available_archives(name, folder)]
    return repr([(path.name, archive.md5 or (path.stat().st_size, path.stat().st_mtime_ns)) for archive, path in files])


# -- from archives to listings ---------------------------------------------------------------------------------------


def listing(name: str, folder: Path) -> Listing:
    """List the image files of a data set, downloaded and unpacked first if it is missing.

    Raises UserError if that fails, or if the numbers of images are not the published ones."""
    root = ensure_unpacked(name, folder)
    try:
        return _checked_listing(name, root)
    except UserError as error:
        solution = f"move {root} elsewhere and run python scripts/prepare_data.py {name}"
        raise UserError(f"{name} is broken or incomplete: {error}; {solution}") from None


def ensure_unpacked(name: str, folder: Path) -> Path:
    """Return the folder of a data set, downloaded and unpacked if it is missing.

    Processes that start together do it once."""
    if root := dataset_root(name, folder):
        return root
    check_obtainable(name, folder)
    with lock(name, folder):
        root = dataset_root(name, folder)
        return root or _unpack(name, folder, ensure_archives(name, folder, available_archives(name, folder)))


def ensure_archives(name: str, folder: Path, archive_set: tuple[Archive, ...]) -> list[Path]:
    """Return the paths of the archives, downloaded if they are missing and verified by their MD5s."""
    for archive in archive_set:
        path = folder / archive.path
        if archive.url is None:
            check_checksums(path, md5=archive.md5)
        else:
            if not path.exists():
                print(f"{name}: downloading {archive.url}", flush=True)
            download(archive.url, path, md5=archive.md5)
    return [folder / archive.path for archive in archive_set]


def lock(name: str, folder: Path) -> AbstractContextManager:
    """Acquire the lock of a data set, which one process at a time holds while it downloads and unpacks."""
    try:
        folder.mkdir(exist_ok=True)
        return FileLock(folder / f".{name}.lock").acquire()
    except OSError as error:
        raise UserError(f"machine.data={folder} can't be written, and {name} is not in it: {error}") from None


def _unpack(name: str, folder: Path, paths: list[Path]) -> Path:
    root = folder / LAYOUTS[name].roots[0]
    print(f"{name}: unpacking {', '.join(path.name for path in paths)}", flush=True)
    with archives.staging_folder(root) as staging:
        into = staging / root.name
        if paths[0].name == Path(published.ILSVRC[0].path).name:
            archives.unpack_ilsvrc(*paths, into, layouts.wnids_of(name.partition("_")[2]))
        else:
            archives.unpack(paths[0], into, partial(_member_path, LAYOUTS[name].members))
            for path in paths[1:]:  # the labels and splits of Flowers-102 lie next to its folder of images
                shutil.copy(path, staging)
        try:
            _checked_listing(name, into)
        except UserError as error:
            reason = str(error).replace(f"{into}/", "")
            raise UserError(
                f"{paths[0]} (MD5 {digest(paths[0])}) does not hold {name} as published: {reason}; download it again"
            ) from None
        (into / STAMP).write_text(_archives_fingerprint(name, folder))
    return root


def _checked_listing(name: str, root: Path) -> Listing:
    layout, _, classes = name.partition("_")
    try:
        files = getattr(layouts, layout)(root, *([classes] if classes else []))
    except OSError as error:  # a folder that is missing or can't be read
        raise UserError(f"{root} can't be read: {error}") from None
    check_counts(name, files.train_y, files.test_y, files.classes)
    return files


def _member_path(members: str, name: str) -> str | None:
    match = re.fullmatch(rf"(?:\./)?{members}", name)
    return match[1] if match else None
