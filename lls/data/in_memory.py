"""How decoded images reach the network: whole batches at a time, from memory, with no work per image.

Images stay uint8, padded once, and beside them their mirror images. A random crop and flip is then a window at a random
place: one strided gather a batch takes them all, one addcmul normalises, and what comes out is already channels_last.
Against PIL this takes about a hundredth of the time,
so there are no worker processes.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lls.errors import UserError


def make_generator(*of: int) -> torch.Generator:
    """The CPU generator of (seed, epoch), or of an image of it, (seed, epoch, index): a function of these alone, so
    that a resumed run meets the same epochs."""
    digest = hashlib.sha256("/".join(map(str, of)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def batch_size_error(batch_size: int, images: int) -> UserError:
    """The error of a batch that can't be filled."""
    return UserError(f"train.batch_size={batch_size}: there are only {images} training images; take a smaller one")


class Normalizer:
    """From pixels to the network's input, on its device."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device):
        mean, std = (torch.tensor(list(of), dtype=torch.float32) for of in (mean, std))
        self.device, self.scale, self.shift = device, (1 / (255 * std)).to(device), (-mean / std).to(device)

    def normalize(self, x: Tensor) -> Tensor:
        """uint8 `[B, H, W, C]` to float32 `[B, C, H, W]` in channels_last: (x/255 - mean) / std."""
        return torch.addcmul(self.shift, x.float(), self.scale).permute(0, 3, 1, 2)


class _DeviceImages(Normalizer):
    """uint8 images `[N, H, W, C]` and labels, on the device if they fit there."""

    def __init__(self, x: Tensor, y: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device):
        super().__init__(mean, std, device)
        home = device if _fits(x, device) else torch.device("cpu")
        self.x, self.y = x.to(home), y.to(home)

    def to_device(self, x: Tensor) -> Tensor:
        return x.to(self.device, non_blocking=True)


class TrainBatches(_DeviceImages):
    """Shuffled, augmented training batches; the last incomplete one of an epoch is dropped.

    x: uint8 `[N, H, W, C]`; y: int64 `[N]`. Each image is padded by `crop_padding` pixels a side (black, or mirrored
    with padding_mode="reflect"), cut at a random place and, if `flip`, mirrored half of the time; `pixels` then changes
    the uint8 batch `[B, H, W, C]` on the device. `len()` is the number of batches in an epoch. Raises UserError where
    there are fewer images than a batch holds.
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
        # windows[i, dy, dx] is image i seen through the crop at (dy, dx); images N and on are the mirrored ones
        self.windows = self.x.as_strided(
            (len(self.x), self.shifts, self.shifts, height, width, channels), (image, row, pixel, row, pixel, 1)
        )

    def __len__(self) -> int:
        return self.n // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch: x float32 `[B, C, H, W]`, y int64 `[B]`, on the device.

        All random numbers of an epoch are drawn at its start, on the CPU, and moved at once: the same on every device,
        and no batch waits for them."""
        g = make_generator(self.seed, epoch)
        order = torch.randperm(self.n, generator=g)
        mirrored = torch.randint(2, (self.n,), generator=g) * self.n if self.flip else 0
        crops = torch.randint(self.shifts, (2, self.n), generator=g)
        chosen = torch.stack([order, order + mirrored, *crops]).to(self.x.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            label_of, *of = chosen[:, start : start + self.batch_size]
            yield self._normalized_windows(*of), self.to_device(self.y[label_of])

    def _normalized_windows(self, image: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        # without a choice of windows, whole images, which are copied ten times as fast
        x = self.to_device(self.windows[image, dy, dx] if self.shifts > 1 else self.x.index_select(0, image))
        return self.normalize(self.pixels(x) if self.pixels else x)


class TestBatches(_DeviceImages):
    """Test images in their own order, in large batches, the last one included."""

    __test__ = False  # no test case, whatever pytest makes of the name
    batch_size = 1000

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True):
            yield self.normalize(self.to_device(x)), self.to_device(y)


def _padded(x: Tensor, padding: int, mode: str, flip: bool) -> Tensor:
    """[N, H, W, C] -> [N or 2N, H+2p, W+2p, C]: padded, then all of it mirrored."""
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
    """[p, ..., 1, 0, 1, ..., side-1, side-2, ...]: the border pixel itself is not repeated."""
    at = torch.arange(-padding, side + padding).abs()
    return torch.where(at < side, at, 2 * (side - 1) - at)


def _fits(x: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return False  # mps shares the CPU's memory: batches are gathered there
    free, _ = torch.cuda.mem_get_info(device)
    return x.nbytes < free / 2
