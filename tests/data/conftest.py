"""Large images for the tests of this folder."""

from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from lls.config.compose import compose
from lls.data.loaders import make_loaders
from lls.data.sources import find_source

CLASSES = ("ant", "bee", "cow", "dog")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Photograph-like JPEGs of several shapes, some grey; the mean red is the class."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 3)):
        for c, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                height, width = [(120, 160), (150, 100), (96, 96)][i % 3]
                y, x = np.mgrid[:height, :width]
                waves = 12 * np.sin(x / rng.uniform(5, 30)) + 12 * np.sin(y / rng.uniform(5, 30))
                pixels = np.stack([50 + 50 * c + waves, 128 + waves, 128 - waves], -1).clip(0, 255).astype(np.uint8)
                image = Image.fromarray(pixels)
                (image.convert("L") if i == 5 else image).save(root / split / name / f"{i}.jpg", quality=95)
    return root


def _config(root, data, *overrides):
    keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=80", "dataset.mean=[0,0,0]"]
    keys += ["dataset.std=[1,1,1]", "train.batch_size=4", f"machine.data={data}", "machine.workers=0", *overrides]
    return compose(keys)


@pytest.fixture
def large_images(root, tmp_path):
    """large_images("seed=1", ...) -> the configuration of `root`'s images."""
    return partial(_config, root, tmp_path)


@pytest.fixture
def images(root, tmp_path):
    """images("seed=1", ...) returns loaders of `root` or another folder. Their workers end with the test."""
    with ExitStack() as stack:

        def loaders(*overrides, folder=root):
            cfg = _config(folder, tmp_path, *overrides)
            return stack.enter_context(make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")))

        yield loaders
