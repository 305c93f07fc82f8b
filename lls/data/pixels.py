"""Images as uint8 pixels of one size: decoded from files, or made of arrays."""

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
    """The images of files as uint8 `[N, size, size, channels]`. UserError for the first that can't be read."""
    from tqdm import tqdm

    size = dataset.size
    pixels = np.empty((len(paths), size, size, dataset.channels), np.uint8)

    def fill(i: int) -> None:
        with open_image(paths[i], dataset.channels) as image:
            pixels[i] = np.asarray(_fit(image, size, pad)).reshape(pixels.shape[1:])

    with ThreadPoolExecutor() as pool:
        todo = pool.map(fill, range(len(paths)))
        try:
            for _ in tqdm(todo, "decoding", len(paths), unit=" images", leave=False, disable=None):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or all of it would be done before the error, or Ctrl-C, is heard
            raise
    return torch.from_numpy(pixels)


@contextmanager
def open_image(path: str, channels: int) -> Iterator["Image.Image"]:
    """The image in a file as Pillow's, grey or colour as `channels` says. UserError if it can't be read, or has more
    than eight bits a channel, which Pillow would cut off at white."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"it has more than 8 bits a channel: mode {image.mode}")
            yield image.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as an image ({error})") from None


def fit_images(pixels: np.ndarray, size: int, pad: bool = False) -> Tensor:
    """uint8 `[N, h, w, C]` to `[N, size, size, C]`: as they are, padded with black, or scaled and cut at the centre."""
    from PIL import Image

    if pixels.shape[1:3] != (size, size):
        flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        pixels = np.stack([np.asarray(_fit(Image.fromarray(image), size, pad)) for image in flat])
        pixels = pixels.reshape(len(flat), size, size, -1)
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _fit(image, size: int, pad: bool):
    """A PIL image as `size` x `size`: as it is, padded with black on all sides, or scaled and cut at the centre."""
    from PIL import Image, ImageOps

    if image.size == (size, size):
        return image
    if pad and max(image.size) <= size:
        left, top = (size - image.width) // 2, (size - image.height) // 2
        return ImageOps.expand(image, (left, top, size - image.width - left, size - image.height - top))
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
