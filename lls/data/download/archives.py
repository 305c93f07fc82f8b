"""Archives to folders that are either whole or not there."""

import gzip
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
PlaceMember = Callable[[str], str | None]  # a member's name to its place in the folder, or None to leave it out


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, standing for its parent: what the block leaves in it under `target`'s name is
    moved to `target` when the block ends well. Whatever happens, nothing else is left. UserError for a full disk."""
    stand_in = target.with_name(f".{target.name}.unpacking")
    try:
        if target.exists() and any(target.iterdir()):
            raise UserError(f"{target} is not whole, and in the way: move it elsewhere or delete it")
        shutil.rmtree(stand_in, ignore_errors=True)  # of a process that was killed
        stand_in.mkdir(parents=True)
        yield stand_in
        if hasattr(os, "sync"):
            os.sync()  # one for all files: none may be empty under its final name after a power cut
        os.replace(stand_in / target.name, target)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"{target} can't be unpacked ({reason}); nothing half-written is left") from None
    finally:
        shutil.rmtree(stand_in, ignore_errors=True)


def unpack(archive: Path, into: Path, place: PlaceMember) -> int:
    """Write the files of a zip or tar for which `place` has a place below `into`; how many they were.

    Only regular files are taken, and none may lie outside. UserError for an archive that is broken, or has none."""
    from tqdm import tqdm

    written = 0
    try:
        with (
            archive_errors(archive),
            tqdm(desc=f"unpacking {archive.name}", unit=" files", leave=False, disable=None) as bar,
        ):
            for name, file in _members(archive):
                where = place(name)
                if where is not None:
                    _write(file, _inside(into, where, archive))
                    written += 1
                    bar.update()
        if not written:
            written = _unpack_inner(archive, into, place)
    except RuntimeError as error:  # zipfile's for a password
        raise UserError(f"{archive} can't be read: {one_line(error)}") from None
    return written


def unpack_ilsvrc(train: Path, val: Path, devkit: Path, into: Path, wnids: Iterable[str]) -> None:
    """The images of `wnids` from ILSVRC2012's own archives, as train/WNID/* and val/WNID/*.

    The training archive is a tar of one tar a class; the validation images are flat, in the order of the devkit's
    ground truth, whose numbers its meta.mat explains."""
    from tqdm import tqdm

    kept = set(wnids)
    with (
        archive_errors(train),
        tqdm(desc="unpacking classes", total=len(kept), leave=False, disable=None) as bar,
    ):
        for name, of_class in _members(train):
            wnid = PurePosixPath(name).stem
            if wnid in kept:
                with tarfile.open(fileobj=of_class) as inner:
                    for image, file in _files_of(inner):
                        _write(file, _inside(into, f"train/{wnid}/{PurePosixPath(image).name}", train))
                bar.update()
    truth = _ground_truth(devkit)

    def place(name: str) -> str | None:
        file = PurePosixPath(name).name
        number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", file)
        if number is None or not 1 <= int(number[1]) <= len(truth):
            raise UserError(f"{val} holds {name}, of which the devkit's ground truth knows nothing")
        wnid = truth[int(number[1]) - 1]
        return f"val/{wnid}/{file}" if wnid in kept else None

    unpack(val, into, place)


def gunzip(archive: Path, path: Path) -> None:
    """The file that a .gz holds, whole at `path` or not there. UserError for a broken archive or a full disk."""
    try:
        with archive_errors(archive), gzip.open(archive) as file:
            write_atomic(path, lambda temporary: _write(file, temporary))
    except OSError as error:
        raise UserError(f"{path} can't be unpacked ({error.strerror or error}); nothing half-written is left") from None


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Whatever a broken archive raises as a UserError that names it."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        reason = one_line(error)
        raise UserError(f"{archive} is broken or not whole ({reason}): delete it and get it again") from None


# -- their parts -----------------------------------------------------------------------------------------------------


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as whole:
            for member in whole.infolist():
                if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                    with whole.open(member) as file:
                        yield member.filename, file
    else:
        with tarfile.open(archive) as whole:
            yield from _files_of(whole)


def _files_of(whole: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in whole:
        if member.isfile():
            yield member.name, whole.extractfile(member)
        whole.members = []  # else it remembers them all


def _inside(into: Path, name: str, archive: Path) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\\" in name or ":" in parts[0]:
        raise UserError(f"{archive} wants to write outside its folder ({name}): get it from where it is published")
    return into.joinpath(*parts)


def _write(file: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def _unpack_inner(archive: Path, into: Path, place: PlaceMember) -> int:
    """An archive that holds nothing of what is looked for may hold the zip that does."""
    written, inner = 0, into / ".inner.zip"
    with archive_errors(archive):
        for name, file in _members(archive):
            if name.lower().endswith(".zip"):
                _write(file, inner)
                written += unpack(inner, into, place)
                inner.unlink()
    if not written:
        raise UserError(f"{archive} holds nothing of what it should: it is another archive")
    return written


def _ground_truth(devkit: Path) -> list[str]:
    """The WNID of each validation image, in order."""
    from io import BytesIO

    from scipy.io import loadmat

    contents = {}
    with archive_errors(devkit):
        for name, file in _members(devkit):
            contents[PurePosixPath(name).name] = file.read()
    try:
        synsets = loadmat(BytesIO(contents["meta.mat"]), squeeze_me=True)["synsets"]
        wnid = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        return [wnid[int(n)] for n in contents["ILSVRC2012_validation_ground_truth.txt"].split()]
    except Exception as error:  # scipy raises many kinds for a broken file
        raise UserError(f"{devkit} is not ILSVRC2012's devkit ({type(error).__name__}: {one_line(error)})") from None
