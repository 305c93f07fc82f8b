"""How large images reach the network: decoded by worker processes as they are needed, a batch at a time.

Workers hand over uint8 batches; normalising them is left to the device. What an image is cut to depends on the seed,
the epoch and its place in the list alone, not on the number of workers. A store of images decoded and scaled once takes
the decoding away (lls/data/image_store.py).
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
    """What of a large image the network sees; `train` and `test` are torchvision's transforms of one image."""

    size: int
    crop: str  # random_resized | random
    resize: int
    keep_aspect: bool
    resize_first: bool
    flip: bool

    @property
    def scaled(self) -> int | list[int]:
        """What torchvision calls it: the short side, or both sides."""
        return self.resize if self.keep_aspect else [self.resize, self.resize]

    def train(self, stored: bool) -> Transform:
        """The training transform; `stored`: of images that were scaled before."""
        from torchvision.transforms import v2

        resized = (
            [] if stored or (self.crop == "random_resized" and not self.resize_first) else [v2.Resize(self.scaled)]
        )
        crop = {"random_resized": v2.RandomResizedCrop, "random": v2.RandomCrop}[self.crop](self.size)
        return v2.Compose([*resized, crop, *([v2.RandomHorizontalFlip()] if self.flip else [])])

    def test(self, stored: bool) -> Transform:
        from torchvision.transforms import v2

        return v2.Compose([*([] if stored else [v2.Resize(self.scaled)]), v2.CenterCrop(self.size)])


def geometry(dataset: DictConfig) -> Geometry:
    """The geometry of a dataset's configuration, its nulls replaced by the defaults."""
    return Geometry(
        dataset.size,
        dataset.crop or "random_resized",
        dataset.resize or round(dataset.size * 8 / 7),
        dataset.keep_aspect is not False,
        dataset.resize_first is True,
        dataset.flip,
    )


class _CropDataset(Dataset):
    """Batches of views of image files. A key is (epoch, indices), or (None, indices) for test views."""

    def __init__(self, paths: list[str], seen: Geometry, channels: int, seed: int, store: ImageStore | None):
        self.paths, self.size, self.channels, self.seed, self.store = paths, seen.size, channels, seed, store
        self.train, self.test = seen.train(store is not None), seen.test(store is not None)

    def __getitem__(self, key: tuple[int | None, list[int]]) -> Tensor | UserError:
        epoch, indices = key
        batch = torch.empty((len(indices), self.size, self.size, self.channels), dtype=torch.uint8)
        try:
            for view, index in zip(batch, indices, strict=True):
                image = self.store[index] if self.store else decode(self.paths[index], self.channels)
                view.copy_(self.view(image, epoch, index).permute(1, 2, 0))
        except UserError as error:  # an error raised in a worker would arrive as a page of text
            return error
        return batch

    def view(self, image: Tensor, epoch: int | None, index: int) -> Tensor:
        if epoch is None:
            return self.test(image)
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator only
            torch.set_rng_state(make_generator(self.seed, epoch, index).get_state())
            return self.train(image)


class _StreamedBatches(Normalizer):
    """Image files and their labels `[N]`; `store` holds their pixels, if there is one."""

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
            batch_size=None,  # the keys are batches already
            sampler=self.keys,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_signals,
            generator=torch.Generator(),  # of the workers' seeds, which nothing uses: the run's own is left alone
            pin_memory=device.type == "cuda",
        )

    def views(self, epoch: int | None, batches: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        self.keys[:] = [(epoch, batch.tolist()) for batch in batches]
        for batch, pixels in zip(batches, self.loader, strict=True):
            if isinstance(pixels, UserError):
                raise pixels
            yield pixels.to(self.device, non_blocking=True), self.y[batch.to(self.y.device, non_blocking=True)]

    def close(self) -> None:
        """Stop the workers; the next epoch would start others.

        Left to the garbage collector, in a cycle with some frame, each would be waited for five seconds. PyTorch 2.11
        has no public way."""
        running, self.loader._iterator = self.loader._iterator, None
        if running is not None:
            running._shutdown_workers()


class StreamedTrain(_StreamedBatches):
    """Shuffled, augmented training batches; the last incomplete one of an epoch is dropped. Used as TrainBatches is.

    pixels: changes a uint8 batch `[B, H, W, C]` on the device. Raises UserError where there are fewer images than a
    batch holds, and in an epoch for an image that can't be read."""

    def __init__(self, *images, batch_size: int, pixels: Callable[[Tensor], Tensor] | None = None, **loading):
        super().__init__(*images, **loading)
        if len(self.y) < batch_size:
            raise batch_size_error(batch_size, len(self.y))
        self.batch_size, self.pixels = batch_size, pixels

    def __len__(self) -> int:
        return len(self.y) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch: x float32 `[B, C, H, W]`, y int64 `[B]`, on the device."""
        order = torch.randperm(len(self.y), generator=make_generator(self.seed, epoch))
        for x, y in self.views(epoch, list(order[: len(self) * self.batch_size].split(self.batch_size))):
            yield self.normalize(self.pixels(x) if self.pixels else x), y


class StreamedTest(_StreamedBatches):
    """The centres of images in their own order, the last incomplete batch included. Used as TestBatches is."""

    batch_size = 128

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.views(None, list(torch.arange(len(self.y)).split(self.batch_size))):
            yield self.normalize(x), y


def _leave_signals(worker: int) -> None:
    """Ctrl-C, and SLURM's word that a job's time is over, are the main process's to answer: it ends the workers."""
    for number in (signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
