"""Small image folders, and the images that a configuration reads."""

import numpy as np
from PIL import Image

from lls.config.compose import compose
from lls.data.cache import load_images
from lls.data.sources import find_source


def images_of(folder, *overrides):
    """Return the images of a configuration, with `folder` as its data folder."""
    cfg = compose(overrides).dataset
    return load_images(cfg, folder, find_source(cfg, folder))


def image_tree(root, classes=("ant", "bee", "cow"), splits=("train", "test"), side=32, n=4, mode="RGB", suffix="png"):
    """Write random images of each class as `root/SPLIT/CLASS/*`. Returns root."""
    rng = np.random.default_rng(0)
    for split in splits:
        for c, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                shape = (side, side) if mode == "L" else (side, side, 3)
                noise = rng.integers(0, 255, shape, dtype=np.uint8)
                noise[0, 0] = 10 * c  # identifies the class
                Image.fromarray(noise).save(folder / f"{i}.{suffix}")
    return root
