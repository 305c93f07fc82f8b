"""Where images come from (sources), the cache of decoded ones, and how they reach the network (batches)."""

from lls.data.batches import TestBatches, TrainBatches
from lls.data.cache import load
from lls.data.sources import Images, find

__all__ = ["Images", "TestBatches", "TrainBatches", "find", "load"]
