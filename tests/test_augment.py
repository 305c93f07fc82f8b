"""Augmentations: what they do to images, and labels and weights that belong to them."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment

from lls.config.assemble import options
from lls.config.compose import compose
from lls.data import randaugment as batched
from lls.data.augment import cutmix, cutout, mixup, none, randaugment
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.errors import UserError
from lls.training.build import build_augmentation

ROOT = Path(__file__).resolve().parent.parent
NAMES = list(RandAugment._AUGMENTATION_SPACE)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def batch(b=8, side=6):
    """Image i is filled with i, and so is its label."""
    y = torch.arange(b)
    return y.float()[:, None, None, None].expand(b, 3, side, side).contiguous(memory_format=torch.channels_last), y


def pictures(b, channels, height, width):
    """Smooth and noisy uint8 images `[B, H, W, C]` of every brightness."""
    g = torch.Generator().manual_seed(b)
    ramp = torch.linspace(0, 1, width)[:, None] * torch.rand(b, height, 1, channels, generator=g)
    noise = torch.rand(b, height, width, channels, generator=g) * torch.linspace(0, 0.5, b)[:, None, None, None]
    return ((ramp + noise).clamp(0, 1) * 255).byte()


def chi_square(counts, expected):
    """How many standard deviations above its mean the χ² of `counts` is."""
    freedom = counts.numel() - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


# -- images and labels -----------------------------------------------------------------------------------------------


def test_none():
    x, y = batch()
    assert none().pixels is None
    assert none().mix(x, y) == (x, [(y, 1.0)])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_weighs_labels_as_it_weighs_images(alpha):
    x, y = batch()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, [(a, kept), (b, rest)] = mixup(alpha).mix(x, y)
        assert torch.equal(a, y)
        assert sorted(b.tolist()) == y.tolist()
        assert kept + rest == pytest.approx(1)
        torch.testing.assert_close(mixed, (kept * a + rest * b)[:, None, None, None].expand_as(mixed))


def test_cutmix_weighs_labels_by_the_area_that_was_exchanged():
    x, y = batch()
    mixed_at_all = 0
    for seed in range(200):
        torch.manual_seed(seed)
        mixed, labels = cutmix(probability=0.5).mix(x, y)
        if len(labels) == 1:
            assert labels == [(y, 1.0)]
            assert mixed is x
            continue
        mixed_at_all += 1
        (a, kept), (b, rest) = labels
        assert kept + rest == pytest.approx(1)
        for i in range(len(y)):
            share = (mixed[i] == b[i]).float().mean().item()
            assert share == pytest.approx(rest if b[i] != a[i] else 1, abs=1e-6)
    assert 60 < mixed_at_all < 140


@pytest.mark.parametrize(("length", "height", "width"), [(4, 9, 9), (5, 8, 12), (1, 6, 6), (40, 8, 8)])
def test_cutout_blanks_a_square_around_any_pixel_of_every_image(length, height, width):
    """Its rows and columns are those of the original, [max(0, c - L/2), min(side, c + L/2)), and every c occurs."""
    x = torch.randn(4000, 3, height, width).abs() + 1
    cut, labels = cutout(length).mix(x, y := torch.arange(4000))
    assert labels == [(y, 1.0)]
    blank = (cut == 0).all(1)
    assert torch.equal(cut, torch.where(blank[:, None], 0, x))
    assert torch.equal(blank, blank.any(2)[:, :, None] & blank.any(1)[:, None, :])  # a rectangle
    for covered, side in ((blank.any(2), height), (blank.any(1), width)):
        around = torch.arange(side)[:, None] - length // 2
        possible = (torch.arange(side) >= around) & (torch.arange(side) < around + length)
        assert torch.equal(covered.unique(dim=0), possible.unique(dim=0))


def test_cutouts_centres_are_uniform_and_each_images_own():
    x = torch.ones(20_000, 1, 8, 8)
    where = (cutout(1).mix(x, torch.zeros(20_000))[0] == 0).flatten(1)
    assert (where.sum(1) == 1).all()
    assert abs(chi_square(where.sum(0), 20_000 / 64)) < 4


@pytest.mark.parametrize(("side", "length"), [(32, 16), (64, 32)])
def test_cutouts_square_is_half_of_the_images_side_unless_told(side, length):
    cut = cutout().mix(torch.ones(200, 1, side, side), torch.zeros(200))[0]
    assert (cut == 0).sum((1, 2, 3)).max() == length**2


# -- RandAugment beside torchvision's --------------------------------------------------------------------------------


def torchvisions(monkeypatch, image, name, m, minus):
    """What torchvision's own RandAugment makes of one image `[C, H, W]`, its choices pinned."""
    monkeypatch.setattr(RandAugment, "_AUGMENTATION_SPACE", {name: RandAugment._AUGMENTATION_SPACE[name]})
    monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(0.25 if minus else 0.75))
    done = RandAugment(num_ops=1, magnitude=m)(image)
    monkeypatch.undo()
    return done


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_torchvisions(name, channels, monkeypatch):
    for m, (height, width) in [*((m, (32, 32)) for m in range(31)), (9, (64, 64)), (9, (28, 40))]:
        x = pictures(5, channels, height, width).permute(0, 3, 1, 2)
        for minus, operation in enumerate(batched.operations(m, height, width)[name]):
            alone = [torchvisions(monkeypatch, image.contiguous(), name, m, minus) for image in x]
            assert torch.equal(operation(x), torch.stack(alone)), (m, minus)


def test_the_operations_are_all_of_torchvisions():
    assert list(batched.operations(9, 32, 32)) == NAMES
    for name, (_, has_sign) in RandAugment._AUGMENTATION_SPACE.items():
        plus, minus = batched.operations(9, 32, 32)[name]
        assert (plus is not minus) == has_sign


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_comes_out_as_one_of_torchvisions(channels, monkeypatch):
    x = pictures(60, channels, 16, 16)
    done = randaugment(n=1, m=9).pixels(x)
    assert (done.dtype, done.shape) == (torch.uint8, x.shape)
    for before, after in zip(x, done, strict=True):
        before = before.permute(2, 0, 1).contiguous()
        could_be = [torchvisions(monkeypatch, before, name, 9, minus) for name in NAMES for minus in (0, 1)]
        assert any(torch.equal(after.permute(2, 0, 1), image) for image in could_be)


def test_operations_are_drawn_uniformly_and_independently(monkeypatch):
    """Operations that write down their number, on images of one pixel: (image, number before last, last number)."""

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
    assert torch.equal(image, torch.arange(50_000) % 251)  # every image is where it was
    counts = (first * 23 + second).bincount(minlength=23 * 23)
    shares = torch.tensor(shares)
    assert abs(chi_square(counts, (shares[:, None] * shares).flatten() * 50_000)) < 4


# -- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("option", options("augment"))
def test_its_argument_is_left_alone_and_the_generator_that_a_checkpoint_keeps_decides(option, channels):
    augmentation = build_augmentation(compose([f"augment={option}"]).augment)
    images, y = pictures(64, channels, 8, 8), torch.arange(64)
    x = images.float().permute(0, 3, 1, 2)

    def once(seed):
        torch.manual_seed(seed)
        return augmentation.pixels(images) if augmentation.pixels else augmentation.mix(x, y)[0]

    results = [once(seed) for seed in (3, 4, 5, 3)]
    assert torch.equal(results[0], results[3])
    assert option == "none" or not all(torch.equal(results[0], result) for result in results[1:3])
    assert torch.equal(images, pictures(64, channels, 8, 8))
    assert torch.equal(x, images.float().permute(0, 3, 1, 2))
    if augmentation.pixels:
        assert results[0].is_contiguous()
        assert augmentation.mix(x, y) == (x, [(y, 1.0)])
    else:
        assert results[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("line", "why"),
    {
        "mixup augment.alpha=0": "augment.alpha=0: must be above 0",
        "cutmix augment.alpha=-1.0": "augment.alpha=-1.0: must be above 0",
        "cutmix augment.probability=1.5": "augment.probability=1.5: must be at least 0 and at most 1",
        "cutout augment.length=0": "augment.length=0: must be 1 or more pixels, or null",
        "cutout augment.length=half": "augment.length=half: must be 1 or more pixels, or null",
        "cutout augment.length=7.5": "augment.length=7.5: must be 1 or more pixels, or null",
        "cutout augment.length=true": "augment.length=True: must be 1 or more pixels, or null",
        "randaugment augment.n=0": "augment.n=0: must be 1 or more",
        "randaugment augment.m=31": "augment.m=31: must be at least 0 and at most 30",
        "randaugment augment.m=-1": "augment.m=-1: must be at least 0 and at most 30",
    }.items(),
)
def test_values_that_make_no_sense(line, why):
    cfg = compose(f"augment={line}".split())
    with pytest.raises(UserError) as refused:
        build_augmentation(cfg.augment)
    assert str(refused.value) == why


# -- the contact sheet -----------------------------------------------------------------------------------------------


@pytest.fixture
def contact_sheet():
    return runpy.run_path(str(ROOT / "scripts" / "contact_sheet.py"))


def test_a_contact_sheet_shows_the_same_images_in_every_row(contact_sheet, overrides, data):
    cfg = compose(overrides)
    shown = contact_sheet["rows"](overrides)
    assert list(shown) == ["original", "none", *(name for name in options("augment") if name != "none")]
    train_x = make_loaders(cfg, find_source(cfg.dataset, data), torch.device("cpu")).images.train_x
    for image, uncovered in zip(shown["original"], shown["cutout"] == shown["none"], strict=True):
        assert (train_x == image).flatten(1).all(1).any()
        assert 0.7 < uncovered.float().mean() < 1
    assert {row.shape for row in shown.values()} == {(16, 32, 32, 1)}
    assert not any(torch.equal(shown["none"], row) for name, row in shown.items() if name not in ("none", "original"))


def test_a_contact_sheet_of_one_augmentation(contact_sheet, overrides, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "sheet.png"
    line = ["contact_sheet.py", "--out", str(out), "augment=cutout", "augment.length=3", "seed=1", *overrides]
    monkeypatch.setattr(sys, "argv", line)
    contact_sheet["main"]()
    assert capsys.readouterr().out.strip() == str(out)
    assert out.stat().st_size < 400_000
    with Image.open(out) as picture:
        assert picture.size == (108 + 16 * 66, 2 * 66 + 2)  # as they are, and cut
