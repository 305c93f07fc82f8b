"""Fingerprints of a data set's images. They are equal on all machines that have the same images.

`pixels:...` covers decoded images, labels and class names, for data sets that are decoded into the cache. `files:...`
covers names, sizes and labels, for images that are decoded when needed. This module imports torch only when it must.
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

DECODER = 1  # increase this when the same files decode to other pixels
ARRAYS = ("digits", "torchvision")  # sources without image files


def of_pixels(images: "Images") -> str:
    """Return the fingerprint of decoded images."""
    digest = hashlib.sha256(json.dumps(images.classes).encode())
    for tensor in (images.train_x, images.train_y, images.test_x, images.test_y):
        digest.update(repr(list(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return f"pixels:{digest.hexdigest()[:16]}"


def of_files(listing: "Listing") -> str:
    """Return the fingerprint of image files. Of each path, the last two parts count."""
    digest = hashlib.sha256(json.dumps(listing.classes).encode())
    for paths, labels in ((listing.train, listing.train_y), (listing.test, listing.test_y)):
        for path, label in zip(paths, labels, strict=True):
            digest.update(f"{'/'.join(Path(path).parts[-2:])}\0{os.path.getsize(path)}\0{int(label)}\n".encode())
        digest.update(b"\n")
    return f"files:{digest.hexdigest()[:16]}"


def cache_path(dataset: DictConfig, folder: Path) -> Path:
    """Return the path of a data set's cache file."""
    return folder / "cache" / f"{dataset.name}-{dataset.size}px-{of_decoding(dataset)}.safetensors"


def of_decoding(dataset: DictConfig) -> str:
    """Return the fingerprint of the configuration values that determine the decoded pixels."""
    values = [DECODER, dataset.source, dataset.get("root"), dataset.channels, dataset.size, dataset.get("geometry")]
    values += [dataset.classes] if "classes" in dataset else []
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def current(dataset: DictConfig, folder: Path, recorded: str) -> str | None:
    """Return the fingerprint of the present images, for comparison with `recorded`. Fetches and decodes nothing.

    Returns None if the images are absent or not decoded yet.
    """
    cached = _cached_metadata(dataset, folder)
    tree = dataset.get("root") is None and (folder / dataset.name / "train").is_dir()
    if dataset.source in ARRAYS and not tree:
        return cached.get("content")
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
    if "files" not in cached:
        return None
    if cached["files"] == files:
        return cached["content"]
    return files if cached["content"] == recorded else None  # the cache belongs to other files


def _cached_metadata(dataset: DictConfig, folder: Path) -> dict[str, str]:
    """Return the metadata of the cache file; empty if there is no readable file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(cache_path(dataset, folder), "np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}
