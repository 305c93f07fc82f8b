"""Decoded images kept as one file a data set, so that PNGs and archives are read once."""

import hashlib
import json
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lls.data.sources import Images, Source
from lls.files import set_aside, write_whole

DECODER = 1  # to be raised when the same files are decoded to other pixels
TENSORS = ("train_x", "train_y", "test_x", "test_y")


def load(dataset: DictConfig, folder: Path, source: Source) -> Images:
    """The images of `source`, from the cache `folder/cache/` where it is there and up to date, else decoded into it.

    Processes that start together decode once. A folder that can't be written costs the decoding every time."""
    path = folder / "cache" / f"{dataset.name}-{dataset.size}px-{digest(dataset)}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock").acquire()
    except OSError as error:
        print(f"no cache of decoded images: {error}", flush=True)
        return source.read()
    with lock:
        images = _read(path, source.fingerprint) if path.exists() else None
        if images is None:
            images = source.read()
            metadata = {"classes": json.dumps(images.classes), "fingerprint": source.fingerprint}
            tensors = {name: getattr(images, name).contiguous() for name in TENSORS}
            try:
                write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))
            except (OSError, SafetensorError) as error:
                print(f"no cache of decoded images: {error}", flush=True)
        return images


def _read(path: Path, fingerprint: str) -> Images | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata["fingerprint"] != fingerprint:
                return None
            return Images(*(file.get_tensor(name) for name in TENSORS), json.loads(metadata["classes"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        set_aside(path, error)
        return None


def digest(dataset: DictConfig) -> str:
    """What decides the decoded pixels, beside the source's own files."""
    made_of = [DECODER, dataset.source, dataset.get("root"), dataset.channels, dataset.size, dataset.get("geometry")]
    made_of += [dataset.classes] if "classes" in dataset else []
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:8]
