"""RandAugment on batches against torchvision's."""

from functools import cache

import pytest
import torch
from pictures import chi_square, pictures
from torchvision.transforms.v2 import RandAugment

from lls.data import randaugment as batched
from lls.data.augment import randaugment

NAMES = list(RandAugment._AUGMENTATION_SPACE)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@cache
def one_operation(name, m):
    return OneOperation(name, m)


class OneOperation(RandAugment):
    """torchvision's RandAugment with one operation, whose sign follows from the seed."""

    def __init__(self, name, m):
        super().__init__(num_ops=1, magnitude=m)
        self._AUGMENTATION_SPACE = {name: RandAugment._AUGMENTATION_SPACE[name]}


@pytest.fixture(scope="module")
def seeds():
    """Seeds with which torchvision draws the positive and the negative sign: a grey image gets lighter or darker."""
    image, seeds = torch.full((3, 8, 8), 100, dtype=torch.uint8), {}
    for seed in range(100):
        torch.manual_seed(seed)
        seeds.setdefault(bool(OneOperation("Brightness", 9)(image)[0, 0, 0] < 100), seed)
    return seeds[False], seeds[True]


def torchvisions(image, name, m, seed):
    """Return what torchvision's RandAugment makes of one image `[C, H, W]` with one operation."""
    torch.manual_seed(seed)
    return one_operation(name, m)(image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_equals_torchvisions(name, channels, seeds):
    for m, (height, width) in [*((m, (32, 32)) for m in range(31)), (9, (64, 64)), (9, (28, 40))]:
        x = pictures(5, channels, height, width).permute(0, 3, 1, 2)
        for minus, operation in enumerate(batched.operations(m, height, width)[name]):
            expected = [torchvisions(image.contiguous(), name, m, seeds[minus]) for image in x]
            assert torch.equal(operation(x), torch.stack(expected)), (m, minus)


def test_the_operations_are_those_of_torchvision():
    assert list(batched.operations(9, 32, 32)) == NAMES
    for name, (_, has_sign) in RandAugment._AUGMENTATION_SPACE.items():
        plus, minus = batched.operations(9, 32, 32)[name]
        assert (plus is not minus) == has_sign


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_equals_one_of_torchvisions_results(channels, seeds):
    x = pictures(60, channels, 16, 16)
    torch.manual_seed(0)
    augmented = randaugment(n=1, m=9).pixels(x)
    assert (augmented.dtype, augmented.shape) == (torch.uint8, x.shape)
    for before, after in zip(x, augmented, strict=True):
        before = before.permute(2, 0, 1).contiguous()
        candidates = [torchvisions(before, name, 9, seed) for name in NAMES for seed in seeds]
        assert any(torch.equal(after.permute(2, 0, 1), image) for image in candidates)


def test_operations_are_drawn_uniformly_and_independently(monkeypatch):
    """Operations that write their number into images of one pixel: (image, number before last, last number)."""

    def writes(number):
        def operation(x):  # [B, 3, 1, 1]
            return torch.cat([x[:, :1], x[:, 2:], torch.full_like(x[:, 2:], number)], 1)

        return operation

    pairs = {"nine with a sign": 9, "five without": 5}
    shares, table = [], {}
    for kind, count in pairs.items():
        for i in range(count):
            plus = writes(len(shares))
            shares += [1 / 28, 1 / 28] if kind == "nine with a sign" else [1 / 14]
            table[f"{kind} {i}"] = (plus, writes(len(shares) - 1) if kind == "nine with a sign" else plus)
    monkeypatch.setattr(batched, "operations", lambda *_: table)
    x = torch.zeros(50_000, 1, 1, 3, dtype=torch.uint8)
    x[..., 0] = (torch.arange(50_000) % 251)[:, None, None]
    image, first, second = randaugment(n=2).pixels(x)[:, 0, 0].long().unbind(1)
    assert torch.equal(image, torch.arange(50_000) % 251)  # the images are in their old order
    counts = (first * 23 + second).bincount(minlength=23 * 23)
    shares = torch.tensor(shares)
    assert abs(chi_square(counts, (shares[:, None] * shares).flatten() * 50_000)) < 4
