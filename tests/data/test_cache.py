"""The cache of decoded images."""

import os
import re

import pytest
import torch
from file_size import limited_file_size
from image_trees import image_tree, images_of
from PIL import Image


def test_images_are_decoded_once(tmp_path):
    root = image_tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    first = images_of(tmp_path, *overrides)
    image = root / "train" / "ant" / "0.png"  # unreadable from here on, with its old size and time
    size, time = image.stat().st_size, image.stat().st_mtime_ns
    image.write_bytes(bytes(size))
    os.utime(image, ns=(time, time))
    again = images_of(tmp_path, *overrides)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert again.classes == first.classes


def test_a_changed_image_is_decoded_again(tmp_path):
    root = image_tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    images_of(tmp_path, *overrides)
    Image.new("RGB", (32, 32), (1, 2, 3)).save(root / "train" / "ant" / "0.png")
    assert images_of(tmp_path, *overrides).train_x[0, 5, 5].tolist() == [1, 2, 3]


@pytest.mark.parametrize("length", [0, 7, 0.5])
def test_a_truncated_cache_is_quarantined_and_rebuilt(tmp_path, capsys, length):
    root = image_tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    first = images_of(tmp_path, *overrides)
    (cache,) = tmp_path.glob("cache/*.safetensors")
    content = cache.read_bytes()
    cache.write_bytes(content[: length if isinstance(length, int) else int(length * len(content))])
    again = images_of(tmp_path, *overrides)
    assert torch.equal(first.train_x, again.train_x)
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert "is broken" in output
    assert cache.with_name(cache.name + ".broken").exists()


def test_images_are_read_without_a_cache_folder(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file in place of the folder")
    assert len(images_of(tmp_path).train_x) == 1437
    assert "decoded images are not cached: " in capsys.readouterr().out


def test_a_full_disk_costs_only_the_cache(tmp_path, capsys):
    with limited_file_size(100_000):
        assert len(images_of(tmp_path).train_x) == 1437
    assert re.search(r"decoded images are not cached: .*File too large", capsys.readouterr().out)
    assert not list(tmp_path.glob("cache/*.safetensors"))
    assert not list(tmp_path.glob("cache/.*.tmp"))
