"""Mixup and CutMix: images, labels and weights that belong together."""

import pytest
import torch

from lls.augment import cutmix, mixup, none


def batch(b=8, side=6):
    """Image i is filled with i, and so is its label."""
    y = torch.arange(b)
    return y.float()[:, None, None, None].expand(b, 3, side, side).contiguous(memory_format=torch.channels_last), y


def test_none():
    x, y = batch()
    assert none()(x, y) == (x, [(y, 1.0)])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_weighs_labels_as_it_weighs_images(alpha):
    x, y = batch()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, [(a, kept), (b, rest)] = mixup(alpha)(x, y)
        assert torch.equal(a, y)
        assert sorted(b.tolist()) == y.tolist()
        assert kept + rest == pytest.approx(1)
        torch.testing.assert_close(mixed, (kept * a + rest * b)[:, None, None, None].expand_as(mixed))


def test_cutmix_weighs_labels_by_the_area_that_was_exchanged():
    x, y = batch()
    mixed_at_all = 0
    for seed in range(200):
        torch.manual_seed(seed)
        mixed, labels = cutmix(probability=0.5)(x, y)
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
        assert torch.equal(x, batch()[0])  # the batch itself is left alone
        assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert 60 < mixed_at_all < 140


def test_the_generator_that_a_checkpoint_keeps_decides():
    x, y = batch()
    for mix in (mixup(), cutmix()):
        torch.manual_seed(3)
        state = torch.get_rng_state()
        first = mix(x, y)[0]
        torch.set_rng_state(state)
        assert torch.equal(mix(x, y)[0], first)


@pytest.mark.parametrize("make", [lambda: mixup(0), lambda: cutmix(-1.0), lambda: cutmix(1.0, 1.5)])
def test_values_out_of_range(make):
    with pytest.raises(ValueError, match=r"=(0|-1.0|1.5): must be"):
        make()
