"""A run's images, ready for its network: small ones resident, large ones streamed, behind the same two calls."""

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
    """The images of the run `cfg`, of `source`, on their way to `device`. Decodes the small ones, or reads their cache;
    of the large ones, reads the names only. What it returns is for a `with`, which ends the workers."""
    if cfg.dataset.size > IN_MEMORY_SIDE and source.files is not None:
        return StreamingData(cfg, source, device)
    if given := [key for key in LARGE if cfg.dataset[key] is not None]:
        raise UserError(
            f"dataset.{given[0]}: is for images in files above {IN_MEMORY_SIDE}x{IN_MEMORY_SIDE}, which these are not"
        )
    return InMemoryData(cfg, source, device)


class InMemoryData:
    """Images decoded once and kept in memory. `classes` are their classes' names,
    `fingerprint` that of the whole data set (lls/data/fingerprint.py)."""

    def __init__(self, cfg: DictConfig, source: Source, device: torch.device):
        images = load_images(cfg.dataset, Path(cfg.machine.data), source)
        self.fingerprint = images.content
        self.images: Images = select_subset(images, cfg.dataset.subset, cfg.seed)
        self.classes, self.cfg = self.images.classes, cfg
        self.normalization = {"mean": list(cfg.dataset.mean), "std": list(cfg.dataset.std), "device": device}

    def __enter__(self) -> "InMemoryData":
        return self

    def __exit__(self, *_) -> None:
        """As StreamingData has it; there is nothing to stop here."""

    def train(self, pixels: Pixels | None = None) -> TrainBatches:
        """Shuffled and augmented training batches; `pixels` changes the uint8 batch before it is normalised."""
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
        """The images of `test` or `train` in their own order, not augmented."""
        test = split == "test"
        x, y = (self.images.test_x, self.images.test_y) if test else (self.images.train_x, self.images.train_y)
        return TestBatches(x, y, **self.normalization)


class StreamingData:
    """Images decoded as they are needed, by worker processes, or read from a store of scaled ones (machine.cache)."""

    def __init__(self, cfg: DictConfig, source: Source, device: torch.device):
        self.all, self.source, self.cfg, self.device = source.files(), source, cfg, device
        listed = self.all
        places = [torch.arange(len(listed.train)), torch.tensor(listed.train_y)]
        places += [torch.arange(len(listed.test)), torch.tensor(listed.test_y)]
        # places in the lists stand for the images
        self.kept: Images = select_subset(Images(*places, listed.classes), cfg.dataset.subset, cfg.seed)
        self.classes = self.kept.classes
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        wanted = cfg.machine.workers
        self.workers = max(1, min(16, cores - 1)) if wanted is None else wanted
        self.made: list[StreamedTrain | StreamedTest] = []

    @property
    def fingerprint(self) -> str:
        return fingerprint.of_files(self.all)

    def __enter__(self) -> "StreamingData":
        return self

    def __exit__(self, *_) -> None:
        """Stop the workers of all that was made of it."""
        for batches in self.made:
            batches.close()

    def train(self, pixels: Pixels | None = None) -> StreamedTrain:
        """As InMemoryData.train."""
        loading = self._loading("train") | {"batch_size": self.cfg.train.batch_size}
        self.made.append(StreamedTrain(*self._images("train"), pixels=pixels, **loading))
        return self.made[-1]

    def eval_batches(self, split: str = "test") -> StreamedTest:
        """As InMemoryData.plain."""
        self.made.append(StreamedTest(*self._images(split), **self._loading(split)))
        return self.made[-1]

    def _images(self, split: str) -> tuple[list[str], Tensor, DictConfig]:
        kept, y, paths = getattr(self.kept, f"{split}_x"), getattr(self.kept, f"{split}_y"), getattr(self.all, split)
        return [paths[place] for place in kept.tolist()], y, self.cfg.dataset

    def _loading(self, split: str) -> dict:
        return {"seed": self.cfg.seed, "workers": self.workers, "store": self._store(split), "device": self.device}

    def _store(self, split: str) -> ImageStore | None:
        if not self.cfg.machine.cache:
            return None
        data, scaled = self.cfg.dataset, geometry(self.cfg.dataset).scaled
        name = f"{data.name}-{split}-{'x'.join(map(str, scaled)) if isinstance(scaled, list) else scaled}"
        folder = Path(self.cfg.machine.data) / "cache" / f"{name}px-{fingerprint.of_decoding(data)}"
        make_store(folder, getattr(self.all, split), scaled, data.channels, self.source.fingerprint)
        return ImageStore(folder, None if data.subset is None else getattr(self.kept, f"{split}_x").tolist())
