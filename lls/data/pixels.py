"""Images as uint8 pixels of one size, decoded from files or made from arrays."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


def decode_images(paths: list[str], dataset: DictConfig, pad: bool = False) -> Tensor:
    """Return the images of files as uint8 `[N, size, size, channels]`. Raises UserError if one is unreadable."""
    from tqdm import tqdm

    size = dataset.size
    pixels = np.empty((len(paths), size, size, dataset.channels), np.uint8)

    def fill(i: int) -> None:
        with open_image(paths[i], dataset.channels) as image:
            pixels[i] = np.asarray(_fit(image, size, pad)).reshape(pixels.shape[1:])

    with ThreadPoolExecutor() as pool:
        jobs = pool.map(fill, range(len(paths)))
        try:
            for _ in tqdm(jobs, "decoding", len(paths), unit=" images", leave=False, disable=None):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise all images would be decoded before the error is raised
            raise
    return torch.from_numpy(pixels)


@contextmanager
def open_image(path: str, channels: int) -> Iterator["Image.Image"]:
    """Open an image file with Pillow. channels: 1 (grey) or 3 (colour).

    Raises UserError if the file is unreadable or has more than eight bits per channel, which Pillow would clip to
    white.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"it has more than 8 bits a channel: mode {image.mode}")
            yield image.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as an image ({error})") from None


def fit_images(pixels: np.ndarray, size: int, pad: bool = False) -> Tensor:
    """Return uint8 `[N, size, size, C]`: the images unchanged, padded with black, or scaled and centre-cropped."""
    from PIL import Image

    if pixels.shape[1:3] != (size, size):
        flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        pixels = np.stack([np.asarray(_fit(Image.fromarray(image), size, pad)) for image in flat])
        pixels = pixels.reshape(len(flat), size, size, -1)
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _fit(image, size: int, pad: bool):
    """Return a PIL image as `size` x `size`: unchanged, padded with black, or scaled and centre-cropped."""
    from PIL import Image, ImageOps

    if image.size == (size, size):
        return image
    if pad and max(image.size) <= size:
        left, top = (size - image.width) // 2, (size - image.height) // 2
        return ImageOps.expand(image, (left, top, size - image.width - left, size - image.height - top))
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
