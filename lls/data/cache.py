"""Cache of decoded images: one file per data set, so that images are decoded once."""

import json
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lls.data import fingerprint
from lls.data.sources import Images, Source
from lls.files import quarantine, write_atomic

TENSORS = ("train_x", "train_y", "test_x", "test_y")


def load_images(dataset: DictConfig, folder: Path, source: Source) -> Images:
    """Return the images of `source`: from the cache `folder/cache/` if it is up to date, else decoded and cached.

    Processes that start together decode once. If the folder cannot be written, images are decoded in every run. A
    cache file whose pixels do not match its checksum is decoded again.
    """
    path = fingerprint.cache_path(dataset, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock").acquire()
    except OSError as error:
        print(f"decoded images are not cached: {error}", flush=True)
        return _decode(source)
    with lock:
        images = _read(path, source.fingerprint) if path.exists() else None
        if images is None:
            images = _decode(source)
            metadata = {"classes": json.dumps(images.classes), "fingerprint": source.fingerprint}
            metadata["content"] = images.content
            if source.files is not None:
                metadata["files"] = fingerprint.of_files(source.files())
            tensors = {name: getattr(images, name).contiguous() for name in TENSORS}
            try:
                write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata))
            except (OSError, SafetensorError) as error:
                print(f"decoded images are not cached: {error}", flush=True)
        return images


def _decode(source: Source) -> Images:
    images = source.read()
    return images._replace(content=fingerprint.of_pixels(images))


def _read(path: Path, source_fingerprint: str) -> Images | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata["fingerprint"] != source_fingerprint:
                return None
            images = Images(*(file.get_tensor(name) for name in TENSORS), json.loads(metadata["classes"]))
        content = fingerprint.of_pixels(images)
        if metadata.get("content", content) != content:  # files of older versions have no checksum
            raise ValueError("its pixels do not match its checksum")
        return images._replace(content=content)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        quarantine(path, error)
        return None
