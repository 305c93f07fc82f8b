"""Augmentations: what they do to images, and labels and weights that belong to them."""

import pytest
import torch
from pictures import chi_square, pictures

from lls.config.assemble import options
from lls.config.compose import compose
from lls.data.augment import cutmix, cutout, mixup, none
from lls.errors import UserError
from lls.training.build import build_augmentation


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def batch(b=8, side=6):
    """Image i is filled with i, and so is its label."""
    y = torch.arange(b)
    return y.float()[:, None, None, None].expand(b, 3, side, side).contiguous(memory_format=torch.channels_last), y


# -- images and labels -----------------------------------------------------------------------------------------------


def test_none_changes_nothing():
    x, y = batch()
    assert none().pixels is None
    assert none().mix(x, y) == (x, [(y, 1.0)])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_weights_labels_like_images(alpha):
    x, y = batch()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, [(a, lam), (b, remainder)] = mixup(alpha).mix(x, y)
        assert torch.equal(a, y)
        assert sorted(b.tolist()) == y.tolist()
        assert lam + remainder == pytest.approx(1)
        torch.testing.assert_close(mixed, (lam * a + remainder * b)[:, None, None, None].expand_as(mixed))


def test_cutmix_weights_labels_by_area():
    x, y = batch()
    num_mixed = 0
    for seed in range(200):
        torch.manual_seed(seed)
        mixed, labels = cutmix(probability=0.5).mix(x, y)
        if len(labels) == 1:
            assert labels == [(y, 1.0)]
            assert mixed is x
            continue
        num_mixed += 1
        (a, lam), (b, remainder) = labels
        assert lam + remainder == pytest.approx(1)
        for i in range(len(y)):
            share = (mixed[i] == b[i]).float().mean().item()
            assert share == pytest.approx(remainder if b[i] != a[i] else 1, abs=1e-6)
    assert 60 < num_mixed < 140


@pytest.mark.parametrize(("length", "height", "width"), [(4, 9, 9), (5, 8, 12), (1, 6, 6), (40, 8, 8)])
def test_cutout_sets_a_square_around_any_pixel_to_zero(length, height, width):
    """The square covers rows and columns [max(0, c - L/2), min(side, c + L/2)), and all centres c occur."""
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


def test_cutout_centres_are_uniform_and_drawn_for_each_image():
    x = torch.ones(20_000, 1, 8, 8)
    where = (cutout(1).mix(x, torch.zeros(20_000))[0] == 0).flatten(1)
    assert (where.sum(1) == 1).all()
    assert abs(chi_square(where.sum(0), 20_000 / 64)) < 4


@pytest.mark.parametrize(("side", "length"), [(32, 16), (64, 32)])
def test_cutout_is_half_of_the_images_side_by_default(side, length):
    cut = cutout().mix(torch.ones(200, 1, side, side), torch.zeros(200))[0]
    assert (cut == 0).sum((1, 2, 3)).max() == length**2


# -- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("option", options("augment"))
def test_augmentations_do_not_change_their_argument_and_follow_the_global_generator(option, channels):
    augmentation = build_augmentation(compose([f"augment={option}"]).augment)
    images, y = pictures(64, channels, 8, 8), torch.arange(64)
    x = images.float().permute(0, 3, 1, 2)

    def augmented(seed):
        torch.manual_seed(seed)
        return augmentation.pixels(images) if augmentation.pixels else augmentation.mix(x, y)[0]

    results = [augmented(seed) for seed in (3, 4, 5, 3)]
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
    ("line", "message"),
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
def test_values_out_of_range_are_refused(line, message):
    cfg = compose(f"augment={line}".split())
    with pytest.raises(UserError) as refused:
        build_augmentation(cfg.augment)
    assert str(refused.value) == message
