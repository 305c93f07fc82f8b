"""Where images come from (sources), how they are kept (cache, store), and how they reach the network (feed)."""

from lls.data.feed import feed
from lls.data.sources import Images, Listing, Source, find
from lls.data.subset import kept_classes

__all__ = ["Images", "Listing", "Source", "feed", "find", "kept_classes"]
