"""Read the folders and label files of a data set. All functions raise UserError for what is missing or unreadable."""

import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from lls.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


def image_files(folder: Path | str) -> Iterator[str]:
    """Yield the paths of the image files in a folder and its subfolders, in no order. Hidden files are left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from image_files(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                yield entry.path


def class_folders(split: Path) -> dict[str, list[str]]:
    """Return the image files of each class folder in `split`, classes and files sorted by name."""
    if not split.is_dir():
        raise UserError(f"{split} is missing")
    with os.scandir(split) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if len(names) < 2:
        content = f"only one class folder, {names[0]}" if names else "no class folders"
        raise UserError(f"{split} has {content}: it needs {split}/CLASS/* for each class")
    files = {name: sorted(image_files(split / name)) for name in names}
    if empty := [name for name in names if not files[name]]:
        raise UserError(f"{split / empty[0]} holds no image ({', '.join(sorted(SUFFIXES))})")
    return files


def flatten(files: dict[str, list[str]]) -> tuple[list[str], list[int]]:
    """Return the paths of all classes, and their labels: 0 for the first class, and so on."""
    paths = [path for class_files in files.values() for path in class_files]
    return paths, [label for label, class_files in enumerate(files.values()) for _ in class_files]


def check_classes(split: Path, classes: Collection[str], expected: Collection[str]) -> None:
    """Raise UserError unless the class folders of `split` are the expected ones."""
    if missing := sorted(set(expected) - set(classes)):
        raise UserError(f"{split} has no folder {missing[0]}, which is one of the {len(expected)} classes")
    if unexpected := sorted(set(classes) - set(expected)):
        raise UserError(f"{split}/{unexpected[0]} is none of the {len(expected)} classes")


def check_files(folder: Path, files: Iterable[str]) -> None:
    """Raise UserError unless all `files`, paths below `folder`, are among its image files."""
    present = {os.path.relpath(file, folder) for file in image_files(folder)} if folder.is_dir() else set()
    if missing := next((file for file in files if file not in present), None):
        raise UserError(f"{folder / missing} is missing")


def read_rows(path: Path, columns: int) -> list[list[str]]:
    """Return the rows of a text file, split at tabs, or at the first spaces in lines without a tab."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    rows = [line.split("\t") if "\t" in line else line.split(maxsplit=columns - 1) for line in lines if line.strip()]
    if invalid := [row for row in rows if len(row) != columns]:
        raise UserError(f"{path}: {' '.join(invalid[0])!r} does not have {columns} columns")
    return rows


def read_mat(path: Path, key: str) -> list[int]:
    """Return an array of integers from a MATLAB file, flattened."""
    from scipy.io import loadmat

    try:
        return [int(value) for value in loadmat(path)[key].ravel()]
    except Exception as error:  # scipy raises many kinds for a broken file
        raise UserError(f"{path} can't be read as a file of Flowers-102 ({type(error).__name__}: {error})") from None


def read_json(path: Path) -> dict[str, str] | None:
    """Return the content of a JSON file; None if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
