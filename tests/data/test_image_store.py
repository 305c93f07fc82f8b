"""The store of images that were decoded and scaled once."""

import shutil

import pytest
import torch
from file_size import limited_file_size
from PIL import Image
from torchvision.transforms.v2 import functional as F

from lls.data.image_store import ImageStore, decode, make_store
from lls.errors import UserError


@pytest.mark.parametrize(
    "keys",
    [
        ("dataset.crop=random", "dataset.keep_aspect=false"),
        ("dataset.crop=random_resized", "dataset.resize_first=true"),
        ("dataset.crop=random", "dataset.subset=samples"),
    ],
)
def test_the_store_gives_the_same_pixels(images, keys):
    decoded, stored = (images(f"machine.cache={cache}", *keys) for cache in ("false", "true"))
    for split in ("train", "test"):
        for (a, _), (b, _) in zip(decoded.eval_batches(split), stored.eval_batches(split), strict=True):
            assert torch.equal(a, b)
    for (a, u), (b, v) in zip(decoded.train().epoch(3), stored.train().epoch(3), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(u, v)


def test_the_store_is_made_once_and_again_if_the_files_change(root, tmp_path):
    files = [shutil.copy(path, tmp_path / f"{i}.jpg") for i, path in enumerate(sorted((root / "test").rglob("*.jpg")))]
    paths = [str(path) for path in files]
    make_store(tmp_path / "s", paths, [32, 32], 3, "one")
    for path in paths:
        Image.new("RGB", (40, 40)).save(path)  # black
    make_store(tmp_path / "s", paths, [32, 32], 3, "one")
    assert ImageStore(tmp_path / "s")[0].any()
    make_store(tmp_path / "s", paths, [32, 32], 3, "two")
    assert not ImageStore(tmp_path / "s")[0].any()


def test_an_incomplete_store_is_made_again(root, tmp_path):
    paths = [str(path) for path in sorted((root / "test").rglob("*.jpg"))]
    make_store(tmp_path / "s", paths, 32, 3, "one")
    (tmp_path / "s" / "index.json").unlink()
    (tmp_path / "s" / "pixels.bin").write_bytes(b"half")
    make_store(tmp_path / "s", paths, 32, 3, "one")
    store = ImageStore(tmp_path / "s")
    assert len(store) == 12
    assert torch.equal(store[8], F.resize(decode(paths[8], 3), 32))
    assert store[0].shape == (3, 32, 42)


@pytest.mark.parametrize("file", ["pixels.bin", "shapes.npy"])
def test_a_truncated_store_is_made_again(root, tmp_path, file):
    paths = [str(path) for path in sorted((root / "test").rglob("*.jpg"))]
    make_store(tmp_path / "s", paths, 32, 3, "one")
    content = (tmp_path / "s" / file).read_bytes()
    (tmp_path / "s" / file).write_bytes(content[: len(content) // 2])
    make_store(tmp_path / "s", paths, 32, 3, "one")
    assert (tmp_path / "s" / file).read_bytes() == content


def test_a_store_without_a_folder_is_refused(images, tmp_path):
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.raises(UserError, match=r"cache=true: .* can't be written .*machine.cache=false"):
        images("machine.cache=true", "dataset.crop=random").train()


def test_a_full_disk_leaves_no_store(images, tmp_path):
    streamed = images("machine.cache=true", "dataset.crop=random")
    with limited_file_size(10_000), pytest.raises(UserError, match=r"cache=true: .* can't be written .*File too large"):
        streamed.train()
    assert not list(tmp_path.glob("cache/*/*"))
