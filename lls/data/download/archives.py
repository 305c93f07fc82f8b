"""Unpack archives to folders that are either complete or absent."""

import gzip
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from lls.errors import UserError, one_line
from lls.files import write_atomic

ARCHIVE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
)
MemberPath = Callable[[str], str | None]  # from a member's name to its path in the folder; None: don't unpack it


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; move its entry called `target.name` to `target` when the block succeeds.

    The temporary folder lies next to `target` and is always removed. Raises UserError if `target` exists and is not
    empty, or if the disk can't be written."""
    staging = target.with_name(f".{target.name}.unpacking")
    try:
        if target.exists() and any(target.iterdir()):
            raise UserError(f"{target} exists but is incomplete: move it elsewhere or delete it")
        shutil.rmtree(staging, ignore_errors=True)  # a killed process may have left it
        staging.mkdir(parents=True)
        yield staging
        if hasattr(os, "sync"):
            os.sync()  # one call for all files: none may be empty under its final name after a power cut
        os.replace(staging / target.name, target)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(_unpacking_failed(target, reason)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive: Path, into: Path, member_path: MemberPath) -> int:
    """Unpack a zip or tar file to the folder `into`. Returns the number of files written.

    - member_path: gives the path below `into` of each member, or None to leave the member out.
    - Only regular files are unpacked.
    - If no member is to be unpacked, zip files inside the archive are unpacked instead.

    Raises UserError if the archive is broken, has nothing to unpack, or has a member that would lie outside `into`."""
    from tqdm import tqdm

    num_files = 0
    try:
        with (
            archive_errors(archive),
            tqdm(desc=f"unpacking {archive.name}", unit=" files", leave=False, disable=None) as bar,
        ):
            for name, file in _members(archive):
                path = member_path(name)
                if path is not None:
                    _write(file, _path_inside(into, path, archive))
                    num_files += 1
                    bar.update()
        if not num_files:
            num_files = _unpack_inner_zips(archive, into, member_path)
    except RuntimeError as error:  # zipfile raises it for an encrypted archive
        raise UserError(f"{archive} can't be read ({one_line(error)}): download it again") from None
    return num_files


def unpack_ilsvrc(train: Path, val: Path, devkit: Path, into: Path, wnids: Iterable[str]) -> None:
    """Unpack the images of the classes `wnids` from ILSVRC2012's archives to into/train/WNID/* and into/val/WNID/*.

    The training archive is a tar file with one tar file per class. The validation archive has no folders: the devkit's
    ground truth gives the class number of each image in order, and its meta.mat the WNID of each number."""
    from tqdm import tqdm

    classes = set(wnids)
    with (
        archive_errors(train),
        tqdm(desc="unpacking classes", total=len(classes), leave=False, disable=None) as bar,
    ):
        for name, class_tar in _members(train):
            wnid = PurePosixPath(name).stem
            if wnid in classes:
                with tarfile.open(fileobj=class_tar) as inner:
                    for image, file in _tar_members(inner):
                        _write(file, _path_inside(into, f"train/{wnid}/{PurePosixPath(image).name}", train))
                bar.update()
    val_wnids = _ground_truth(devkit)

    def member_path(name: str) -> str | None:
        file = PurePosixPath(name).name
        number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", file)
        if number is None or not 1 <= int(number[1]) <= len(val_wnids):
            raise UserError(f"{val} holds {name}, which the devkit's ground truth does not list: get both again")
        wnid = val_wnids[int(number[1]) - 1]
        return f"val/{wnid}/{file}" if wnid in classes else None

    unpack(val, into, member_path)


def gunzip(archive: Path, path: Path) -> None:
    """Decompress a .gz file to `path`, atomically. Raises UserError if it is broken or the disk can't be written."""
    try:
        with archive_errors(archive), gzip.open(archive) as file:
            write_atomic(path, lambda temporary: _write(file, temporary))
    except OSError as error:
        raise UserError(_unpacking_failed(path, error.strerror or str(error))) from None


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Turn the exceptions that a broken archive raises into a UserError that names it."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        reason = one_line(error)
        raise UserError(f"{archive} is broken or incomplete ({reason}): delete it and download it again") from None


# -- helpers ---------------------------------------------------------------------------------------------------------


def _unpacking_failed(target: Path, reason: str) -> str:
    return f"{target} can't be unpacked ({reason}): fix this and run the command again; no partial files remain"


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the open file of each regular file in a zip or tar file."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zip_file:
            for member in zip_file.infolist():
                if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                    with zip_file.open(member) as file:
                        yield member.filename, file
    else:
        with tarfile.open(archive) as tar_file:
            yield from _tar_members(tar_file)


def _tar_members(tar_file: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar_file:
        if member.isfile():
            yield member.name, tar_file.extractfile(member)
        tar_file.members = []  # otherwise it keeps all members in memory


def _path_inside(into: Path, name: str, archive: Path) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\\" in name or ":" in parts[0]:
        raise UserError(f"{archive} has a member outside its folder ({name}): get the archive from its official site")
    return into.joinpath(*parts)


def _write(file: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def _unpack_inner_zips(archive: Path, into: Path, member_path: MemberPath) -> int:
    num_files, inner = 0, into / ".inner.zip"
    with archive_errors(archive):
        for name, file in _members(archive):
            if name.lower().endswith(".zip"):
                _write(file, inner)
                num_files += unpack(inner, into, member_path)
                inner.unlink()
    if not num_files:
        raise UserError(f"{archive} holds none of the expected files: it is another archive; download the right one")
    return num_files


def _ground_truth(devkit: Path) -> list[str]:
    """Return the WNID of each validation image, in order."""
    from scipy.io import loadmat

    contents = {}
    with archive_errors(devkit):
        for name, file in _members(devkit):
            contents[PurePosixPath(name).name] = file.read()
    try:
        synsets = loadmat(BytesIO(contents["meta.mat"]), squeeze_me=True)["synsets"]
        wnid = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        return [wnid[int(number)] for number in contents["ILSVRC2012_validation_ground_truth.txt"].split()]
    except Exception as error:  # scipy raises many kinds for a broken file
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{devkit} is not the devkit of ILSVRC2012 ({reason}): download it again") from None
