"""Single large images: decoded from their files, or read from a store of images that were decoded and scaled once."""

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
    """The image in a file as uint8 `[channels, h, w]`, grey or colour as `channels` says; UserError if it has none.

    torchvision's decoder where it knows the format, which is a sixth faster than Pillow and gives the same pixels."""
    from torchvision.io import ImageReadMode, decode_image

    try:
        pixels = decode_image(path, ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB)
    except RuntimeError:
        pixels = None
    if pixels is not None and pixels.dtype == torch.uint8:  # it hands over 16 bits as they are
        return pixels
    with open_image(path, channels) as image:
        return torch.from_numpy(np.array(image).reshape(image.height, image.width, channels)).permute(2, 0, 1)


class ImageStore:
    """Images decoded and scaled once: one memory-mapped file of pixels, and where in it each image begins.

    `store[i]` is uint8 `[C, h, w]`, a view of the file's pages, which processes share. places: keep these images only.
    """

    def __init__(self, folder: Path, places: list[int] | None = None):
        self.folder, self.places = folder, places
        self.channels = json.loads((folder / "index.json").read_text())["channels"]
        shapes = np.load(folder / "shapes.npy")
        ends = (shapes.prod(1) * self.channels).cumsum()
        with warnings.catch_warnings(action="ignore"):  # PyTorch has no read-only tensors, and says so
            self.pixels = torch.from_numpy(np.memmap(folder / "pixels.bin", np.uint8, "r", shape=(int(ends[-1]),)))
        kept = slice(None) if places is None else places
        self.shapes, self.ends = shapes[kept], ends[kept]

    def __reduce__(self):
        return ImageStore, (self.folder, self.places)  # a worker process that is not forked maps the file for itself

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> Tensor:
        height, width = self.shapes[index].tolist()
        end = int(self.ends[index])
        pixels = self.pixels[end - height * width * self.channels : end]
        return pixels.view(height, width, self.channels).permute(2, 0, 1)


def make_store(folder: Path, paths: list[str], scaled: int | list[int], channels: int, fingerprint: str) -> None:
    """Make the store of `paths`, scaled as torchvision's Resize(scaled) does, at `folder`, unless it is there and of
    the same files. Processes that start together make it once. UserError where it can't be written."""
    wanted = {"fingerprint": fingerprint, "images": len(paths), "scaled": scaled, "channels": channels}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is(folder, wanted):
                _make(folder, paths, scaled, channels, wanted)
    except OSError as error:
        raise UserError(
            f"machine.cache=true: {folder} can't be written ({error}); machine.cache=false does without"
        ) from None


def _is(folder: Path, wanted: dict) -> bool:
    """Whether a folder is the store that is wanted, with all of its pixels."""
    try:
        if json.loads((folder / "index.json").read_text()) != wanted:
            return False
        size = int(np.load(folder / "shapes.npy").prod(1).sum()) * wanted["channels"]
        return (folder / "pixels.bin").stat().st_size == size
    except (OSError, ValueError, EOFError):
        return False


def _make(folder: Path, paths: list[str], scaled: int | list[int], channels: int, meta: dict) -> None:
    from torchvision.transforms.v2.functional import resize
    from tqdm import tqdm

    def image(path: str) -> Tensor:
        return resize(decode(path, channels), scaled if isinstance(scaled, list) else [scaled])

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        shapes = []
        with open(folder / "pixels.bin", "wb") as file, ThreadPoolExecutor() as pool:
            todo = tqdm(range(0, len(paths), 256), "storing", unit=" x 256 images", leave=False, disable=None)
            for start in todo:  # in pieces: a pool's map would run ahead of the disk
                for pixels in pool.map(image, paths[start : start + 256]):
                    shapes.append(pixels.shape[1:])
                    file.write(pixels.permute(1, 2, 0).contiguous().numpy())
            file.flush()
            os.fsync(file.fileno())
        write_atomic(folder / "shapes.npy", lambda temporary: _save(temporary, np.array(shapes, np.int64)))
        # last: what makes the folder a store
        write_atomic(folder / "index.json", lambda temporary: temporary.write_text(json.dumps(meta)))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # given a name, NumPy adds .npy to it
        np.save(file, array)
