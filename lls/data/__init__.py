"""Where images come from (sources), the cache of decoded ones, and how they reach the network (batches)."""

from lls.data.batches import TestBatches, TrainBatches
from lls.data.cache import load
from lls.data.sources import Images, Source, find
from lls.data.subset import kept_classes, take

__all__ = ["Images", "Source", "TestBatches", "TrainBatches", "find", "kept_classes", "load", "take"]
