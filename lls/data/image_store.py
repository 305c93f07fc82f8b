"""Large images: decoded from their files, or read from a store of images that were decoded and scaled once."""

import json
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from lls.data.pixels import open_image
from lls.errors import UserError
from lls.files import write_atomic


def decode(path: str, channels: int) -> Tensor:
    """Decode an image file to uint8 `[channels, h, w]`. channels: 1 (grey) or 3 (colour).

    Uses torchvision's decoder for the formats that it supports: a sixth faster than Pillow, with the same pixels.
    Raises UserError if the file is unreadable.
    """
    from torchvision.io import ImageReadMode, decode_image

    try:
        pixels = decode_image(path, ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB)
    except RuntimeError:
        pixels = None
    if pixels is not None and pixels.dtype == torch.uint8:  # 16-bit images stay 16-bit
        return pixels
    with open_image(path, channels) as image:
        return torch.from_numpy(np.array(image).reshape(image.height, image.width, channels)).permute(2, 0, 1)


class ImageStore:
    """Images that were decoded and scaled once: one memory-mapped file of pixels and the position of each image.

    `store[i]` is uint8 `[C, h, w]`, a view of the file's pages, which processes share.
    indices: restrict the store to these images.
    """

    def __init__(self, folder: Path, indices: list[int] | None = None):
        self.folder, self.indices = folder, indices
        self.channels = json.loads((folder / "index.json").read_text())["channels"]
        shapes = np.load(folder / "shapes.npy")
        ends = (shapes.prod(1) * self.channels).cumsum()
        with warnings.catch_warnings(action="ignore"):  # PyTorch warns that the array is read-only
            self.pixels = torch.from_numpy(np.memmap(folder / "pixels.bin", np.uint8, "r", shape=(int(ends[-1]),)))
        selection = slice(None) if indices is None else indices
        self.shapes, self.ends = shapes[selection], ends[selection]

    def __reduce__(self):
        return ImageStore, (self.folder, self.indices)  # a spawned worker maps the file again

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> Tensor:
        height, width = self.shapes[index].tolist()
        end = int(self.ends[index])
        pixels = self.pixels[end - height * width * self.channels : end]
        return pixels.view(height, width, self.channels).permute(2, 0, 1)


def make_store(folder: Path, paths: list[str], scaled: int | list[int], channels: int, fingerprint: str) -> None:
    """Make a store of `paths` at `folder`, scaled as by torchvision's Resize(scaled), unless it is complete already.

    Processes that start together make it once. Raises UserError if the folder cannot be written.
    """
    meta = {"fingerprint": fingerprint, "images": len(paths), "scaled": scaled, "channels": channels}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_complete(folder, meta):
                _write_store(folder, paths, scaled, channels, meta)
    except OSError as error:
        raise UserError(
            f"machine.cache=true: {folder} can't be written ({error}); free disk space or set machine.cache=false"
        ) from None


def _is_complete(folder: Path, meta: dict) -> bool:
    """Return whether `folder` holds a complete store with this metadata."""
    try:
        if json.loads((folder / "index.json").read_text()) != meta:
            return False
        size = int(np.load(folder / "shapes.npy").prod(1).sum()) * meta["channels"]
        return (folder / "pixels.bin").stat().st_size == size
    except (OSError, ValueError, EOFError):
        return False


def _write_store(folder: Path, paths: list[str], scaled: int | list[int], channels: int, meta: dict) -> None:
    from torchvision.transforms.v2.functional import resize
    from tqdm import tqdm

    def load(path: str) -> Tensor:
        return resize(decode(path, channels), scaled if isinstance(scaled, list) else [scaled])

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        shapes = []
        with open(folder / "pixels.bin", "wb") as file, ThreadPoolExecutor() as pool:
            starts = tqdm(range(0, len(paths), 256), "storing", unit=" x 256 images", leave=False, disable=None)
            for start in starts:  # in parts, because the pool's map would decode faster than the disk writes
                for pixels in pool.map(load, paths[start : start + 256]):
                    shapes.append(pixels.shape[1:])
                    file.write(pixels.permute(1, 2, 0).contiguous().numpy())
            file.flush()
            os.fsync(file.fileno())
        write_atomic(folder / "shapes.npy", lambda temporary: _save_array(temporary, np.array(shapes, np.int64)))
        # Written last: it marks the store as complete.
        write_atomic(folder / "index.json", lambda temporary: temporary.write_text(json.dumps(meta)))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save adds .npy to a name
        np.save(file, array)
