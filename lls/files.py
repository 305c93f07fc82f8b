"""Write files atomically, name them after overrides, and set broken ones aside."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lls.errors import one_line


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, sync the file to disk, and rename it to `path`.

    A process that is killed at any moment leaves the old file or the new one, never a part of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.name}.tmp"
    )  # the same name in each process, which overwrites what a killed one left
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # some writers create files that only their owner can read
        write(temporary)
        temporary.chmod(mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def file_stem(name: str, overrides: Iterable[str]) -> str:
    """Return `name` followed by the overrides, as a file name without suffix: `2-budget-0.05`."""
    return "-".join([name, *(re.sub(r"[^\w.]+", "-", text).strip("-") for text in overrides)])


def quarantine(path: Path, error: Exception) -> None:
    """Rename a broken file to `<name>.broken` and print one line about it. The file is never read again."""
    broken = path.with_name(path.name + ".broken")
    os.replace(path, broken)
    print(f"{path} is broken ({one_line(error, 120)}); renamed to {broken.name}, continuing without it", flush=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # other systems cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
