"""Files that are either whole or not there, and ones found broken."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lls.errors import one_line


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and rename it into place.

    A process killed at any moment leaves the old file or the new one, never a part of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # one for all processes: a killed one's is written over
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # some writers make files that only their owner can read
        write(temporary)
        temporary.chmod(mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def file_stem(name: str, overrides: Iterable[str]) -> str:
    """Return a file's name, without its suffix, that says which overrides it was made with: `2-budget-0.05`."""
    return "-".join([name, *(re.sub(r"[^\w.]+", "-", text).strip("-") for text in overrides)])


def quarantine(path: Path, why: Exception) -> None:
    """Rename a broken file to `<name>.broken`, and say so in one line: it may be worth a look, but not be trusted."""
    aside = path.with_name(path.name + ".broken")
    os.replace(path, aside)
    print(f"{path} is broken ({one_line(why, 120)}); kept as {aside.name}, starting without it", flush=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder can't be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
