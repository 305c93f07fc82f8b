"""A cache of decoded images that has changed on disk."""

import torch

from lls.config.compose import compose
from lls.data import fingerprint
from lls.data.cache import load_images
from lls.data.sources import find_source


def test_images_are_decoded_again_if_a_bit_of_the_cache_has_flipped(tmp_path, capsys):
    cfg = compose([f"machine.data={tmp_path}"])
    source = find_source(cfg.dataset, tmp_path)
    images = load_images(cfg.dataset, tmp_path, source)
    path = fingerprint.cache_path(cfg.dataset, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    again = load_images(cfg.dataset, tmp_path, source)
    assert torch.equal(again.train_x, images.train_x)
    assert torch.equal(again.test_y, images.test_y)
    assert again.content == images.content
    assert "is broken (its pixels do not match its checksum)" in capsys.readouterr().out
