"""Batches of large images, decoded by worker processes when they are needed.

Workers return uint8 batches; the device normalises them. The crop of an image depends on the seed, the epoch and its
index only, not on the number of workers. A store of scaled images saves the decoding (lls/data/image_store.py).
"""

import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lls.data.image_store import ImageStore, decode
from lls.data.in_memory import Normalizer, batch_size_error, make_generator
from lls.errors import UserError

Transform = Callable[[Tensor], Tensor]  # uint8 [C, h, w] to uint8 [C, size, size]


class Geometry(NamedTuple):
    """How large images are scaled and cropped. `train` and `test` return torchvision transforms of one image."""

    size: int
    crop: str  # random_resized | random
    resize: int
    keep_aspect: bool
    resize_first: bool
    flip: bool

    @property
    def scaled(self) -> int | list[int]:
        """The argument of torchvision's Resize: the short side, or both sides."""
        return self.resize if self.keep_aspect else [self.resize, self.resize]

    def train(self, stored: bool) -> Transform:
        """Return the training transform. stored: whether images were scaled before."""
        from torchvision.transforms import v2

        unscaled_crop = self.crop == "random_resized" and not self.resize_first
        resize = [] if stored or unscaled_crop else [v2.Resize(self.scaled)]
        crop = {"random_resized": v2.RandomResizedCrop, "random": v2.RandomCrop}[self.crop](self.size)
        return v2.Compose([*resize, crop, *([v2.RandomHorizontalFlip()] if self.flip else [])])

    def test(self, stored: bool) -> Transform:
        from torchvision.transforms import v2

        return v2.Compose([*([] if stored else [v2.Resize(self.scaled)]), v2.CenterCrop(self.size)])


def geometry(dataset: DictConfig) -> Geometry:
    """Return the geometry of a data set's configuration, with defaults in place of nulls."""
    return Geometry(
        dataset.size,
        dataset.crop or "random_resized",
        dataset.resize or round(dataset.size * 8 / 7),
        dataset.keep_aspect is not False,
        dataset.resize_first is True,
        dataset.flip,
    )


class _CropDataset(Dataset):
    """Batches of crops of image files. A key is (epoch, indices), or (None, indices) for test crops."""

    def __init__(self, paths: list[str], crops: Geometry, channels: int, seed: int, store: ImageStore | None):
        self.paths, self.size, self.channels, self.seed, self.store = paths, crops.size, channels, seed, store
        self.train, self.test = crops.train(store is not None), crops.test(store is not None)

    def __getitem__(self, key: tuple[int | None, list[int]]) -> Tensor | UserError:
        epoch, indices = key
        batch = torch.empty((len(indices), self.size, self.size, self.channels), dtype=torch.uint8)
        try:
            for pixels, index in zip(batch, indices, strict=True):
                image = self.store[index] if self.store else decode(self.paths[index], self.channels)
                pixels.copy_(self.crop(image, epoch, index).permute(1, 2, 0))
        except UserError as error:  # the DataLoader would add a traceback of the worker to its message
            return error
        return batch

    def crop(self, image: Tensor, epoch: int | None, index: int) -> Tensor:
        if epoch is None:
            return self.test(image)
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator only
            torch.set_rng_state(make_generator(self.seed, epoch, index).get_state())
            return self.train(image)


class _StreamedBatches(Normalizer):
    """Image files and their labels `[N]`. store: holds the images' pixels, or None."""

    def __init__(
        self,
        paths: list[str],
        y: Tensor,
        dataset: DictConfig,
        *,
        seed: int,
        workers: int,
        store: ImageStore | None,
        device: torch.device,
    ):
        super().__init__(dataset.mean, dataset.std, device)
        self.y, self.seed, self.keys = y.to(device), seed, []
        self.loader = DataLoader(
            _CropDataset(paths, geometry(dataset), dataset.channels, seed, store),
            batch_size=None,  # each key is a batch
            sampler=self.keys,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # the DataLoader would draw seeds from the run's generator
            pin_memory=device.type == "cuda",
        )

    def crops(self, epoch: int | None, batches: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        self.keys[:] = [(epoch, batch.tolist()) for batch in batches]
        for batch, pixels in zip(batches, self.loader, strict=True):
            if isinstance(pixels, UserError):
                raise pixels
            yield pixels.to(self.device, non_blocking=True), self.y[batch.to(self.y.device, non_blocking=True)]

    def close(self) -> None:
        """Stop the worker processes. The next epoch would start new ones.

        Without this call the garbage collector stops them, and may wait five seconds for each. PyTorch 2.11 has no
        public way.
        """
        iterator, self.loader._iterator = self.loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()


class StreamedTrain(_StreamedBatches):
    """Shuffled, augmented training batches, with the interface of TrainBatches. The last incomplete batch is dropped.

    pixels: changes a uint8 batch `[B, H, W, C]` on the device.
    Raises UserError if there are fewer images than a batch holds, and in an epoch if an image is unreadable.
    """

    def __init__(self, *images, batch_size: int, pixels: Callable[[Tensor], Tensor] | None = None, **loading):
        super().__init__(*images, **loading)
        if len(self.y) < batch_size:
            raise batch_size_error(batch_size, len(self.y))
        self.batch_size, self.pixels = batch_size, pixels

    def __len__(self) -> int:
        return len(self.y) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch on the device: x float32 `[B, C, H, W]`, y int64 `[B]`."""
        order = torch.randperm(len(self.y), generator=make_generator(self.seed, epoch))
        for x, y in self.crops(epoch, list(order[: len(self) * self.batch_size].split(self.batch_size))):
            yield self.normalize(self.pixels(x) if self.pixels else x), y


class StreamedTest(_StreamedBatches):
    """Centre crops in the images' own order, including the last incomplete batch, with the interface of TestBatches."""

    batch_size = 128

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.crops(None, list(torch.arange(len(self.y)).split(self.batch_size))):
            yield self.normalize(x), y


def _ignore_signals(worker: int) -> None:
    """Ignore Ctrl-C and SLURM's time-limit signal. The main process handles them and stops the workers."""
    for number in (signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
