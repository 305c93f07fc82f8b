"""From archives, on the network or on disk, to data sets of image files that can be listed.

torchvision's four data sets of arrays are next door (lls/data/download/arrays.py).
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

STAMP = ".prepared"  # in a folder that was unpacked here: the state of the archives it came from


class Layout(NamedTuple):
    """How a data set lies on disk."""

    roots: tuple[str, ...]  # the folder it is unpacked to, and others where users may have put it
    marks: tuple[str, ...]  # a root is one of the data set if one of these folders is in it
    members: str  # which files of the archive are taken; the first group is their place below the root


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


# -- what is there ---------------------------------------------------------------------------------------------------


def dataset_root(name: str, folder: Path) -> Path | None:
    """The folder of an unpacked data set; None where there is none."""
    roots = (folder / root for root in LAYOUTS[name].roots)
    return next((root for root in roots if any((root / mark).is_dir() for mark in LAYOUTS[name].marks)), None)


def available_archives(name: str, folder: Path) -> tuple[Archive, ...]:
    """What to unpack a data set from: the first of its forms of which all archives are there, else the first of all."""
    forms = published.archive_sets(name)
    return next((form for form in forms if not missing_archives(form, folder)), forms[0])


def missing_archives(form: tuple[Archive, ...], folder: Path) -> list[Archive]:
    """Those of some archives that are not there."""
    return [archive for archive in form if not (folder / archive.path).is_file()]


def source_fingerprint(name: str, folder: Path) -> str | None:
    """What tells one state of a data set from another: the archives that it was, or will be, unpacked from. None for a
    folder that was not unpacked here."""
    root = dataset_root(name, folder)
    if root is None:
        return _state(name, folder)
    try:
        return (root / STAMP).read_text()
    except OSError:
        return None


def check_obtainable(name: str, folder: Path) -> None:
    """UserError for a data set that is not there and can't be fetched or unpacked."""
    check_data_folder(name, folder)
    if (
        name in published.MANUAL_DOWNLOADS
        and dataset_root(name, folder) is None
        and missing_archives(available_archives(name, folder), folder)
    ):
        raise UserError(
            f"{name} is not in {folder}: {published.MANUAL_DOWNLOADS[name].format(folder=folder)}; "
            f"python scripts/prepare_data.py {name} then verifies and unpacks it"
        )


def check_data_folder(name: str, folder: Path) -> None:
    """UserError for a data folder that can't be meant: not even the folder that it would lie in is there."""
    if not folder.absolute().parent.is_dir():
        files = " and ".join(f"{folder}/{archive.path}" for archive in published.archives(name))
        raise UserError(
            f"machine.data={folder}: no such folder; make it and put {files} there, or an image tree "
            f"{folder}/{name.partition('_')[0]}/{{train,test}}/CLASS/*"
        )


def _state(name: str, folder: Path) -> str:
    if name not in published.MANUAL_DOWNLOADS:
        return "as published"
    files = [(archive, folder / archive.path) for archive in available_archives(name, folder)]
    return repr([(path.name, archive.md5 or (path.stat().st_size, path.stat().st_mtime_ns)) for archive, path in files])


# -- from archives to listings ---------------------------------------------------------------------------------------


def listing(name: str, folder: Path) -> Listing:
    """The image files of a data set, fetched and unpacked first where it is not there. UserError where that fails, or
    where they are not as many as are published."""
    root = ensure_unpacked(name, folder)
    try:
        return _checked(name, root)
    except UserError as error:
        again = f"move {root} elsewhere and run python scripts/prepare_data.py {name}"
        raise UserError(f"{name} is not whole: {error}; {again}") from None


def ensure_unpacked(name: str, folder: Path) -> Path:
    """The folder of an unpacked data set, fetched and unpacked first where there is none; processes that start together
    do it once."""
    if root := dataset_root(name, folder):
        return root
    check_obtainable(name, folder)
    with lock(name, folder):
        found = dataset_root(name, folder)
        return found or _unpacked(name, folder, ensure_archives(name, folder, available_archives(name, folder)))


def ensure_archives(name: str, folder: Path, wanted: tuple[Archive, ...]) -> list[Path]:
    """Archives of a data set, fetched where they are missing, and checked against their MD5."""
    for archive in wanted:
        path = folder / archive.path
        if archive.url is None:
            check_checksums(path, md5=archive.md5)
        else:
            if not path.exists():
                print(f"{name}: fetching {archive.url}", flush=True)
            download(archive.url, path, md5=archive.md5)
    return [folder / archive.path for archive in wanted]


def lock(name: str, folder: Path) -> AbstractContextManager:
    """Held, until the end of its `with`, by the one process that fetches and unpacks a data set."""
    try:
        folder.mkdir(exist_ok=True)
        return FileLock(folder / f".{name}.lock").acquire()
    except OSError as error:
        raise UserError(f"machine.data={folder} can't be written, and {name} is not in it: {error}") from None


def _unpacked(name: str, folder: Path, paths: list[Path]) -> Path:
    root = folder / LAYOUTS[name].roots[0]
    print(f"{name}: unpacking {', '.join(path.name for path in paths)}", flush=True)
    with archives.staging_folder(root) as stand_in:
        into = stand_in / root.name
        if paths[0].name == Path(published.ILSVRC[0].path).name:
            archives.unpack_ilsvrc(*paths, into, layouts.wnids_of(name.partition("_")[2]))
        else:
            archives.unpack(paths[0], into, partial(_place, LAYOUTS[name].members))
            for path in paths[1:]:  # Flowers-102's labels, which lie beside its images
                shutil.copy(path, stand_in)
        try:
            _checked(name, into)
        except UserError as error:
            reason = str(error).replace(f"{into}/", "")
            raise UserError(
                f"{paths[0]} (MD5 {digest(paths[0])}) does not hold {name} as published: {reason}; get it again"
            ) from None
        (into / STAMP).write_text(_state(name, folder))
    return root


def _checked(name: str, root: Path) -> Listing:
    kind, _, which = name.partition("_")
    try:
        found = getattr(layouts, kind)(root, *([which] if which else []))
    except OSError as error:  # a folder that is not there, or can't be read
        raise UserError(f"{root} can't be read: {error}") from None
    check_counts(name, found.train_y, found.test_y, found.classes)
    return found


def _place(members: str, name: str) -> str | None:
    match = re.fullmatch(rf"(?:\./)?{members}", name)
    return match[1] if match else None
