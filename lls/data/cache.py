"""Decoded images kept as one file a data set, so that PNGs and archives are read once."""

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
    """The images of `source`, from the cache `folder/cache/` where it is there and up to date, else decoded into it.

    Processes that start together decode once. A folder that can't be written costs the decoding every time. A cache
    whose pixels are not those that were written is decoded again."""
    path = fingerprint.cache_path(dataset, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock").acquire()
    except OSError as error:
        print(f"no cache of decoded images: {error}", flush=True)
        return _decoded(source)
    with lock:
        images = _read(path, source.fingerprint) if path.exists() else None
        if images is None:
            images = _decoded(source)
            metadata = {"classes": json.dumps(images.classes), "fingerprint": source.fingerprint}
            metadata["content"] = images.content
            if source.files is not None:
                metadata["files"] = fingerprint.of_files(source.files())
            tensors = {name: getattr(images, name).contiguous() for name in TENSORS}
            try:
                write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata))
            except (OSError, SafetensorError) as error:
                print(f"no cache of decoded images: {error}", flush=True)
        return images


def _decoded(source: Source) -> Images:
    images = source.read()
    return images._replace(content=fingerprint.of_pixels(images))


def _read(path: Path, of_source: str) -> Images | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata["fingerprint"] != of_source:
                return None
            images = Images(*(file.get_tensor(name) for name in TENSORS), json.loads(metadata["classes"]))
        content = fingerprint.of_pixels(images)
        if metadata.get("content", content) != content:  # caches of older versions have none
            raise ValueError("its pixels are not those that were written")
        return images._replace(content=content)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        quarantine(path, error)
        return None
