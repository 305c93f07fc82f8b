"""Fingerprints of a data set's images, the same on every machine that has the same images.

`pixels:...` is of decoded images, labels and class names, where all are decoded into the cache; `files:...` is of
names, sizes and labels, where images are decoded as they are needed. Nothing here imports torch before it has to.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lls.errors import UserError

if TYPE_CHECKING:
    from lls.data.download.layouts import Listing
    from lls.data.sources import Images

DECODER = 1  # to be raised when the same files are decoded to other pixels
ARRAYS = ("digits", "torchvision")  # sources that are no image files


def of_pixels(images: "Images") -> str:
    """Of decoded images."""
    digest = hashlib.sha256(json.dumps(images.classes).encode())
    for tensor in (images.train_x, images.train_y, images.test_x, images.test_y):
        digest.update(repr(list(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return f"pixels:{digest.hexdigest()[:16]}"


def of_files(listing: "Listing") -> str:
    """Of image files; of a path, its last two parts."""
    digest = hashlib.sha256(json.dumps(listing.classes).encode())
    for paths, labels in ((listing.train, listing.train_y), (listing.test, listing.test_y)):
        for path, label in zip(paths, labels, strict=True):
            digest.update(f"{'/'.join(Path(path).parts[-2:])}\0{os.path.getsize(path)}\0{int(label)}\n".encode())
        digest.update(b"\n")
    return f"files:{digest.hexdigest()[:16]}"


def cache_path(dataset: DictConfig, folder: Path) -> Path:
    """Where the decoded images of a data set are kept."""
    return folder / "cache" / f"{dataset.name}-{dataset.size}px-{of_decoding(dataset)}.safetensors"


def of_decoding(dataset: DictConfig) -> str:
    """Fingerprint of what decides the decoded pixels, beside the source's own files."""
    made_of = [DECODER, dataset.source, dataset.get("root"), dataset.channels, dataset.size, dataset.get("geometry")]
    made_of += [dataset.classes] if "classes" in dataset else []
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:8]


def current(dataset: DictConfig, folder: Path, recorded: str) -> str | None:
    """The fingerprint of the images that are there now, to be compared with `recorded`; None where that can't be told:
    they are not there, or not decoded yet. It fetches and decodes nothing."""
    known = _cached(dataset, folder)
    tree = dataset.get("root") is None and (folder / dataset.name / "train").is_dir()
    if dataset.source in ARRAYS and not tree:
        return known.get("content")
    from lls.data.sources import find_source

    try:
        source = find_source(dataset, folder)
        if not source.on_disk:
            return None
        files = of_files(source.files())
    except (UserError, OSError):
        return None
    if recorded.startswith("files:"):
        return files
    if "files" not in known:
        return None
    if known["files"] == files:
        return known["content"]
    return files if known["content"] == recorded else None  # the cache is of other files than those that are there


def _cached(dataset: DictConfig, folder: Path) -> dict[str, str]:
    """What the cache file says of itself; nothing where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(cache_path(dataset, folder), "np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}
