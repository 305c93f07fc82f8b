"""Downloads and checksums: a file gets its name only when it is complete and verified."""

import errno
import hashlib
import os
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock

from lls.errors import UserError

RETRY_DELAYS_SECONDS = (1, 4)  # before each retry; the count starts again when an attempt has received data
TIMEOUT_SECONDS = 60
CHUNK_BYTES = 1 << 20
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EISDIR)


def download(url: str, path: Path, *, md5: str | None = None, sha256_prefix: str | None = None) -> None:
    """Download `url` to `path` and verify its checksum: its MD5, or the first characters of its SHA-256.

    - Data are written to `path`.part, which is renamed to `path` when it is complete and verified.
    - An interrupted download keeps the .part file, and the next call continues it.
    - A file that exists at `path` is verified and not downloaded again.
    - Processes that start together download once.

    Raises UserError if the download fails, the checksum differs or the disk can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock")).acquire()
    except OSError as error:
        raise UserError(f"{path} can't be written: {error}") from None
    with lock:
        if path.exists():
            check_checksums(path, md5=md5, sha256_prefix=sha256_prefix)
            return
        part = path.with_name(path.name + ".part")
        _download_with_retries(url, part, path)
        if mismatch := _checksum_mismatch(part, md5, sha256_prefix):
            part.unlink()
            raise UserError(
                f"{url} is not the published file ({mismatch}), and the download was deleted: try again, or get the "
                f"file elsewhere and put it at {path}"
            )
        os.replace(part, path)


def check_checksums(path: Path, *, md5: str | None = None, sha256_prefix: str | None = None) -> None:
    """Raise UserError unless the file has this MD5 and a SHA-256 that starts with this prefix. None: not checked."""
    if mismatch := _checksum_mismatch(path, md5, sha256_prefix):
        raise UserError(f"{path} is broken or incomplete ({mismatch}): delete it and download it again")


def digest(path: Path, kind: str = "md5") -> str:
    """Return the hexadecimal digest of a file. kind: a name of hashlib, `md5` or `sha256`."""
    from tqdm import tqdm

    hasher, size = hashlib.new(kind, usedforsecurity=False), path.stat().st_size
    with (
        open(path, "rb") as file,
        tqdm(desc=f"checking {path.name}", total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
            bar.update(len(chunk))
    return hasher.hexdigest()


def _checksum_mismatch(path: Path, md5: str | None, sha256_prefix: str | None) -> str | None:
    for kind, name, expected in (("md5", "MD5", md5), ("sha256", "SHA-256", sha256_prefix)):
        if expected and not (actual := digest(path, kind)).startswith(expected):
            return f"its {name} is {actual[: len(expected)]}, not {expected}"
    return None


def _download_with_retries(url: str, part: Path, path: Path) -> None:
    """Download `url` to `part`, continuing after its end. `path` is named in the messages."""
    delays = list(RETRY_DELAYS_SECONDS)
    while True:
        size_before = _size(part)
        try:
            if _download_missing_bytes(url, part):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise UserError(
                    f"{url} can't be downloaded ({error.code} {error.reason}): get it elsewhere and put it at {path}"
                ) from None
            reason = f"{error.code} {error.reason}"
        except URLError as error:
            reason = error.reason
        except (HTTPException, OSError) as error:
            if getattr(error, "errno", None) in DISK_ERRORS:
                state = f"the next call continues {part.name}" if _size(part) else "no partial file remains"
                raise UserError(f"{part} can't be written ({error.strerror}): free the disk; {state}") from None
            reason = str(error) or type(error).__name__
        if _size(part) > size_before:
            delays = list(RETRY_DELAYS_SECONDS)
        if not delays:
            raise UserError(
                f"{url} can't be downloaded ({reason}): repeat the command to continue the download, or "
                f"get the file elsewhere and put it at {path}"
            )
        time.sleep(delays.pop(0))


def _download_missing_bytes(url: str, part: Path) -> bool:
    """Append the bytes of `url` after the end of `part` to it. Returns whether it is complete then."""
    from tqdm import tqdm

    offset = _size(part)
    headers = {"User-Agent": "lls", **({"Range": f"bytes={offset}-"} if offset else {})}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if offset and error.code == 416:  # the file ends at `offset` or before, where it is another file
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(offset):
                return True
            part.unlink()
            return _download_missing_bytes(url, part)
        raise
    with closing(response):
        if offset and response.status != 206:
            print(f"{part.name} can't be continued, the server only sends whole files: starting from 0", flush=True)
            offset = 0
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        with (
            open(part, "ab" if offset else "wb") as file,
            tqdm(
                desc=part.stem, initial=offset, total=total, unit="B", unit_scale=True, leave=False, disable=None
            ) as bar,
        ):
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
