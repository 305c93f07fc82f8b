"""Batches of decoded images: whole batches at a time, from memory, without work per image.

Images stay uint8. They are padded once and stored together with their mirror images. A random crop and flip is then a
window at a random position: one strided gather takes the windows of a batch, one addcmul normalises them, and the
    result is in channels_last. This takes about a hundredth of the time of PIL, so that no worker processes are needed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lls.errors import UserError


def make_generator(*seeds: int) -> torch.Generator:
    """Return a CPU generator seeded by (seed, epoch) or (seed, epoch, image index).

    It depends on nothing else, so that a resumed run draws the same numbers.
    """
    digest = hashlib.sha256("/".join(map(str, seeds)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def batch_size_error(batch_size: int, images: int) -> UserError:
    """Return the error for a batch size above the number of images."""
    return UserError(
        f"train.batch_size={batch_size}: there are only {images} training images; set a smaller batch size"
    )


class Normalizer:
    """Converts pixels to the network's input on its device."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device):
        mean, std = (torch.tensor(list(values), dtype=torch.float32) for values in (mean, std))
        self.device, self.scale, self.shift = device, (1 / (255 * std)).to(device), (-mean / std).to(device)

    def normalize(self, x: Tensor) -> Tensor:
        """Return (x/255 - mean) / std: uint8 `[B, H, W, C]` to float32 `[B, C, H, W]` in channels_last."""
        return torch.addcmul(self.shift, x.float(), self.scale).permute(0, 3, 1, 2)


class _DeviceImages(Normalizer):
    """uint8 images `[N, H, W, C]` and labels, stored on the device if they fit."""

    def __init__(self, x: Tensor, y: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device):
        super().__init__(mean, std, device)
        storage = device if _fits(x, device) else torch.device("cpu")
        self.x, self.y = x.to(storage), y.to(storage)

    def to_device(self, x: Tensor) -> Tensor:
        return x.to(self.device, non_blocking=True)


class TrainBatches(_DeviceImages):
    """Shuffled, augmented training batches. The last incomplete batch of an epoch is dropped.

    x: uint8 `[N, H, W, C]`.
    y: int64 `[N]`.
    crop_padding: pixels by which each side is padded before a random crop; black, or mirrored if
        padding_mode="reflect".
    flip: whether half of the images are mirrored.
    pixels: a function that changes the uint8 batch `[B, H, W, C]` on the device, or None.

    `len()` is the number of batches in an epoch. Raises UserError if there are fewer images than a batch holds.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int,
        seed: int,
        mean: Sequence[float],
        std: Sequence[float],
        crop_padding: int = 0,
        padding_mode: str = "zeros",
        flip: bool = False,
        pixels: Callable[[Tensor], Tensor] | None = None,
        device: torch.device | str = "cpu",
    ):
        if len(y) < batch_size:
            raise batch_size_error(batch_size, len(y))
        self.n, self.batch_size, self.seed, self.pixels = len(y), batch_size, seed, pixels
        self.shifts, self.flip = 2 * crop_padding + 1, flip
        height, width, channels = x.shape[1:]
        super().__init__(_padded(x, crop_padding, padding_mode, flip), y, mean, std, torch.device(device))
        image, row, pixel, _ = self.x.stride()
        # windows[i, dy, dx] is the crop of image i at (dy, dx). Images from N on are the mirrored ones.
        self.windows = self.x.as_strided(
            (len(self.x), self.shifts, self.shifts, height, width, channels), (image, row, pixel, row, pixel, 1)
        )

    def __len__(self) -> int:
        return self.n // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch on the device: x float32 `[B, C, H, W]`, y int64 `[B]`.

        All random numbers of the epoch are drawn on the CPU at its start and moved at once. They are the same on every
        device, and no batch waits for them.
        """
        g = make_generator(self.seed, epoch)
        order = torch.randperm(self.n, generator=g)
        mirrored = torch.randint(2, (self.n,), generator=g) * self.n if self.flip else 0
        crops = torch.randint(self.shifts, (2, self.n), generator=g)
        draws = torch.stack([order, order + mirrored, *crops]).to(self.x.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index, *window = draws[:, start : start + self.batch_size]
            yield self._normalized_windows(*window), self.to_device(self.y[index])

    def _normalized_windows(self, image: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        # Whole images are copied ten times as fast as windows.
        x = self.to_device(self.windows[image, dy, dx] if self.shifts > 1 else self.x.index_select(0, image))
        return self.normalize(self.pixels(x) if self.pixels else x)


class TestBatches(_DeviceImages):
    """Test images in their own order in large batches, including the last incomplete one."""

    __test__ = False  # pytest must not collect this class
    batch_size = 1000

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True):
            yield self.normalize(self.to_device(x)), self.to_device(y)


def _padded(x: Tensor, padding: int, mode: str, flip: bool) -> Tensor:
    """Return padded images and, if `flip`, their mirror images: [N, H, W, C] to [N or 2N, H+2p, W+2p, C]."""
    n, height, width, channels = x.shape
    if padding == 0 and not flip:
        return x.contiguous()
    out = x.new_zeros((1 + flip, n, height + 2 * padding, width + 2 * padding, channels))
    if mode == "reflect":
        rows, columns = (_reflected(side, padding) for side in (height, width))
        out[0] = x[:, rows][:, :, columns]
    else:
        out[0, :, padding : padding + height, padding : padding + width] = x
    if flip:
        out[1] = out[0].flip(2)
    return out.flatten(0, 1)


def _reflected(side: int, padding: int) -> Tensor:
    """Return [p, ..., 1, 0, 1, ..., side-1, side-2, ...]: reflection that does not repeat the border pixel."""
    index = torch.arange(-padding, side + padding).abs()
    return torch.where(index < side, index, 2 * (side - 1) - index)


def _fits(x: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return False  # mps shares the CPU's memory, so that batches are gathered on the CPU
    free, _ = torch.cuda.mem_get_info(device)
    return x.nbytes < free / 2
