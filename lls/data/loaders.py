"""A run's images as batches: small images from memory, large images streamed, behind the same two methods."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.config.ranges import IN_MEMORY_SIDE, LARGE
from lls.data import fingerprint
from lls.data.cache import load_images
from lls.data.image_store import ImageStore, make_store
from lls.data.in_memory import TestBatches, TrainBatches
from lls.data.sources import Images, Source
from lls.data.streaming import StreamedTest, StreamedTrain, geometry
from lls.data.subset import select_subset
from lls.errors import UserError

Pixels = Callable[[Tensor], Tensor]


def make_loaders(cfg: DictConfig, source: Source, device: torch.device) -> "InMemoryData | StreamingData":
    """Return the images of `source` for the run `cfg`, as a context manager that stops worker processes at its end.

    Small images are decoded, or read from their cache. Of large images only the names are read. Raises UserError if the
    configuration has a key for large images and the images are small.
    """
    if cfg.dataset.size > IN_MEMORY_SIDE and source.files is not None:
        return StreamingData(cfg, source, device)
    if large_keys := [key for key in LARGE if cfg.dataset[key] is not None]:
        raise UserError(
            f"dataset.{large_keys[0]} applies only to image files above {IN_MEMORY_SIDE}x{IN_MEMORY_SIDE}; remove it"
        )
    return InMemoryData(cfg, source, device)


class InMemoryData:
    """Images that are decoded once and stay in memory.

    classes: class names. fingerprint: that of the whole data set (lls/data/fingerprint.py).
    """

    def __init__(self, cfg: DictConfig, source: Source, device: torch.device):
        images = load_images(cfg.dataset, Path(cfg.machine.data), source)
        self.fingerprint = images.content
        self.images: Images = select_subset(images, cfg.dataset.subset, cfg.seed)
        self.classes, self.cfg = self.images.classes, cfg
        self.normalization = {"mean": list(cfg.dataset.mean), "std": list(cfg.dataset.std), "device": device}

    def __enter__(self) -> "InMemoryData":
        return self

    def __exit__(self, *_) -> None:
        """Do nothing: there are no worker processes."""

    def train(self, pixels: Pixels | None = None) -> TrainBatches:
        """Return shuffled, augmented training batches. pixels: changes the uint8 batch before normalisation."""
        data = self.cfg.dataset
        return TrainBatches(
            self.images.train_x,
            self.images.train_y,
            batch_size=self.cfg.train.batch_size,
            seed=self.cfg.seed,
            crop_padding=data.crop_padding,
            padding_mode=data.padding_mode,
            flip=data.flip,
            pixels=pixels,
            **self.normalization,
        )

    def eval_batches(self, split: str = "test") -> TestBatches:
        """Return the images of `test` or `train` in their own order, without augmentation."""
        test = split == "test"
        x, y = (self.images.test_x, self.images.test_y) if test else (self.images.train_x, self.images.train_y)
        return TestBatches(x, y, **self.normalization)


class StreamingData:
    """Images that worker processes decode when needed, or read from a store of scaled images (machine.cache)."""

    def __init__(self, cfg: DictConfig, source: Source, device: torch.device):
        self.listing, self.source, self.cfg, self.device = source.files(), source, cfg, device
        # Indices into the listing take the place of images.
        train_x, test_x = torch.arange(len(self.listing.train)), torch.arange(len(self.listing.test))
        train_y, test_y = torch.tensor(self.listing.train_y), torch.tensor(self.listing.test_y)
        indices = Images(train_x, train_y, test_x, test_y, self.listing.classes)
        self.selection: Images = select_subset(indices, cfg.dataset.subset, cfg.seed)
        self.classes = self.selection.classes
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.workers = max(1, min(16, cores - 1)) if cfg.machine.workers is None else cfg.machine.workers
        self.opened: list[StreamedTrain | StreamedTest] = []

    @property
    def fingerprint(self) -> str:
        return fingerprint.of_files(self.listing)

    def __enter__(self) -> "StreamingData":
        return self

    def __exit__(self, *_) -> None:
        """Stop the worker processes."""
        for batches in self.opened:
            batches.close()

    def train(self, pixels: Pixels | None = None) -> StreamedTrain:
        """See InMemoryData.train."""
        keys = self._loader_keys("train") | {"batch_size": self.cfg.train.batch_size}
        self.opened.append(StreamedTrain(*self._images("train"), pixels=pixels, **keys))
        return self.opened[-1]

    def eval_batches(self, split: str = "test") -> StreamedTest:
        """See InMemoryData.eval_batches."""
        self.opened.append(StreamedTest(*self._images(split), **self._loader_keys(split)))
        return self.opened[-1]

    def _images(self, split: str) -> tuple[list[str], Tensor, DictConfig]:
        indices, y = getattr(self.selection, f"{split}_x"), getattr(self.selection, f"{split}_y")
        paths = getattr(self.listing, split)
        return [paths[index] for index in indices.tolist()], y, self.cfg.dataset

    def _loader_keys(self, split: str) -> dict:
        return {"seed": self.cfg.seed, "workers": self.workers, "store": self._store(split), "device": self.device}

    def _store(self, split: str) -> ImageStore | None:
        if not self.cfg.machine.cache:
            return None
        data, scaled = self.cfg.dataset, geometry(self.cfg.dataset).scaled
        name = f"{data.name}-{split}-{'x'.join(map(str, scaled)) if isinstance(scaled, list) else scaled}"
        folder = Path(self.cfg.machine.data) / "cache" / f"{name}px-{fingerprint.of_decoding(data)}"
        make_store(folder, getattr(self.listing, split), scaled, data.channels, self.source.fingerprint)
        return ImageStore(folder, None if data.subset is None else getattr(self.selection, f"{split}_x").tolist())
