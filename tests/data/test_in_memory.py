"""Batches of images in memory: order, crops, flips and normalisation."""

import numpy as np
import pytest
import torch

from lls.data.in_memory import TestBatches, TrainBatches
from lls.errors import UserError


def numbered(n=50, side=6, channels=3):
    """Return random images, all different, and their labels."""
    g = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (n, side, side, channels), generator=g, dtype=torch.uint8), torch.arange(n) % 7


def batches(x, y, **keys):
    keys = {"batch_size": 8, "seed": 0, "mean": [0.0] * x.shape[-1], "std": [1.0] * x.shape[-1]} | keys
    return TrainBatches(x, y, **keys)


def pixels(x):
    """Return uint8 [B, H, W, C] from the network's input (mean 0, std 1)."""
    return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def test_an_epoch_has_no_image_twice_and_drops_the_last_incomplete_batch():
    x, y = numbered(50)
    epoch = list(batches(x, y).epoch(0))
    assert len(epoch) == len(batches(x, y)) == 6
    assert all(images.shape == (8, 3, 6, 6) and labels.shape == (8,) for images, labels in epoch)
    images = torch.cat([pixels(images) for images, _ in epoch])
    indices = [int((x == image).flatten(1).all(1).nonzero()) for image in images]
    assert len(set(indices)) == 48
    assert torch.equal(torch.cat([labels for _, labels in epoch]), y[indices])


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_flip_are_windows_of_the_padded_image(mode, flip):
    """Each image of a batch is one of the (2p+1)^2 windows of the padded original or its mirror image. Over some epochs
    nearly all windows occur."""
    x, y = numbered(16, side=5)
    padding = 1
    padded = np.pad(x.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="constant" if mode == "zeros" else "reflect")
    windows = {}
    for i, image in enumerate(padded):
        for mirrored in range(1 + flip):
            for dy in range(3):
                for dx in range(3):
                    window = image[dy : dy + 5, dx : dx + 5][:, :: -1 if mirrored else 1]
                    windows[window.tobytes()] = (i, mirrored, dy, dx)
    train = batches(x, y, crop_padding=padding, padding_mode=mode, flip=flip)
    drawn = set()
    for epoch in range(60):
        for images, labels in train.epoch(epoch):
            for image, label in zip(pixels(images), labels, strict=True):
                i, *window = windows[image.numpy().tobytes()]
                assert y[i] == label
                drawn.add((i, *window))
    assert len(drawn) > 0.9 * 16 * 9 * (1 + flip)


def test_an_epoch_depends_on_seed_and_epoch_only():
    x, y = numbered()
    keys = {"crop_padding": 1, "flip": True}
    train = batches(x, y, **keys)
    for _ in train.epoch(0):
        torch.rand(3)  # neither other random draws nor a partly read epoch change it
    again = [torch.equal(a, b) for (a, _), (b, _) in zip(train.epoch(3), batches(x, y, **keys).epoch(3), strict=True)]
    assert all(again)
    first = next(train.epoch(3))[0]
    assert not torch.equal(first, next(train.epoch(4))[0])
    assert not torch.equal(first, next(batches(x, y, seed=1, **keys).epoch(3))[0])


def test_batches_are_normalised_and_channels_last():
    x, y = numbered()
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    (actual, _), *_ = TestBatches(x, y, mean, std, torch.device("cpu"))
    expected = (x.permute(0, 3, 1, 2) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    assert next(batches(x, y, crop_padding=2).epoch(0))[0].is_contiguous(memory_format=torch.channels_last)


def test_test_batches_have_all_images_in_order():
    x, y = numbered(2500, side=2, channels=1)
    batches = list(TestBatches(x, y, [0.0], [1.0], torch.device("cpu")))
    assert [len(labels) for _, labels in batches] == [1000, 1000, 500]
    assert torch.equal(torch.cat([pixels(images) for images, _ in batches]), x)


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(UserError, match="only 50 training images"):
        batches(*numbered(50), batch_size=51)
