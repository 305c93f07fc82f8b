"""Files from the network: whole and checked, or not there."""

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

RETRY_DELAYS_SECONDS = (1, 4)  # seconds before each new try that has not brought a byte more
CHUNK = 1 << 20
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EISDIR)


def download(url: str, path: Path, *, md5: str | None = None, sha256_prefix: str | None = None) -> None:
    """Fetch `url` to `path`, which is there only once it is whole and has this MD5, or a SHA-256 that begins so.

    What was cut off is kept as `path`.part, and gone on with by the next call. A file that is there is checked and
    left. Processes that start together fetch once. UserError, in one line, for whatever goes wrong."""
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
        _fetch(url, part, path)
        if wrong := _mismatch(part, md5, sha256_prefix):
            part.unlink()
            raise UserError(
                f"{url} was fetched, but is not the published file ({wrong}), and was thrown away: try again, and if "
                f"that does not help get it elsewhere and put it at {path}"
            )
        os.replace(part, path)


def check_checksums(path: Path, *, md5: str | None = None, sha256_prefix: str | None = None) -> None:
    """UserError unless the file has this MD5 and a SHA-256 that begins so."""
    if wrong := _mismatch(path, md5, sha256_prefix):
        raise UserError(f"{path} is broken or not whole ({wrong}): delete it and get it again")


def digest(path: Path, kind: str = "md5") -> str:
    """The hexadecimal MD5 or SHA-256 of a file."""
    from tqdm import tqdm

    hashed, size = hashlib.new(kind, usedforsecurity=False), path.stat().st_size
    with (
        open(path, "rb") as file,
        tqdm(desc=f"checking {path.name}", total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
            bar.update(len(chunk))
    return hashed.hexdigest()


def _mismatch(path: Path, md5: str | None, sha256_prefix: str | None) -> str | None:
    for kind, name, expected in (("md5", "MD5", md5), ("sha256", "SHA-256", sha256_prefix)):
        if expected and not (found := digest(path, kind)).startswith(expected):
            return f"its {name} is {found[: len(expected)]}, not {expected}"
    return None


def _fetch(url: str, part: Path, path: Path) -> None:
    """All of `url` into `part`, from where that ends; a broken connection is taken up again while it brings any."""
    waits = list(RETRY_DELAYS_SECONDS)
    while True:
        before = _size(part)
        try:
            if _go_on(url, part):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise UserError(
                    f"{url} can't be fetched ({error.code} {error.reason}): get it elsewhere and put it at {path}"
                ) from None
            reason = f"{error.code} {error.reason}"
        except URLError as error:
            reason = error.reason
        except (HTTPException, OSError) as error:
            if getattr(error, "errno", None) in DISK:
                kept = f"{part.name} is kept, and gone on with next time" if _size(part) else "nothing is left of it"
                raise UserError(f"{part} can't be written ({error.strerror}); {kept}") from None
            reason = str(error) or type(error).__name__
        if _size(part) > before:
            waits = list(RETRY_DELAYS_SECONDS)
        if not waits:
            raise UserError(
                f"{url} can't be fetched ({reason}): with a network the same command goes on where it stopped, or get "
                f"it elsewhere and put it at {path}"
            )
        time.sleep(waits.pop(0))


def _go_on(url: str, part: Path) -> bool:
    """Append to `part` what it lacks of `url`; True if it is whole then."""
    from tqdm import tqdm

    there = _size(part)
    headers = {"User-Agent": "lls", **({"Range": f"bytes={there}-"} if there else {})}
    try:
        response = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if there and error.code == 416:  # nothing comes after what is there: it is whole, or of another file
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(there):
                return True
            part.unlink()
            return _go_on(url, part)
        raise
    with closing(response):
        if there and response.status != 206:
            print(f"{part.name} can't be gone on with, the server only sends whole files: from the start", flush=True)
            there = 0
        length = response.headers.get("Content-Length")
        total = there + int(length) if length else None
        with (
            open(part, "ab" if there else "wb") as file,
            tqdm(
                desc=part.stem, initial=there, total=total, unit="B", unit_scale=True, leave=False, disable=None
            ) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
