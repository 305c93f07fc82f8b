"""Images on their way to the network: what is read, what is kept, and what the batches of an epoch hold."""

import archives
import numpy as np
import pytest
import torch
from PIL import Image

from lls.config.compose import compose
from lls.data.cache import load_images
from lls.data.in_memory import TestBatches, TrainBatches
from lls.data.sources import find_source
from lls.data.subset import select_subset
from lls.errors import UserError

GREY = {"mean": [0.0], "std": [1.0]}


def numbered(n=50, side=6, channels=3):
    """Images whose pixels are all different within an image, and which tell the image."""
    g = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (n, side, side, channels), generator=g, dtype=torch.uint8), torch.arange(n) % 7


def batches(x, y, **keys):
    keys = {"batch_size": 8, "seed": 0, "mean": [0.0] * x.shape[-1], "std": [1.0] * x.shape[-1]} | keys
    return TrainBatches(x, y, **keys)


def pixels(x):
    """Back from the network's input to uint8 [B, H, W, C] (mean 0, std 1)."""
    return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_an_epoch_has_every_image_at_most_once_and_drops_the_last_incomplete_batch():
    x, y = numbered(50)
    epoch = list(batches(x, y).epoch(0))
    assert len(epoch) == len(batches(x, y)) == 6
    assert all(images.shape == (8, 3, 6, 6) and labels.shape == (8,) for images, labels in epoch)
    seen = torch.cat([pixels(images) for images, _ in epoch])
    which = [int((x == image).flatten(1).all(1).nonzero()) for image in seen]
    assert len(set(which)) == 48
    assert torch.equal(torch.cat([labels for _, labels in epoch]), y[which])


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_flip_are_windows_of_the_padded_image(mode, flip):
    """Each image in a batch is one of the (2p+1)^2 windows of the padded original or of its mirror image; over a few
    epochs every window of an image comes up."""
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
    seen = set()
    for epoch in range(60):
        for images, labels in train.epoch(epoch):
            for image, label in zip(pixels(images), labels, strict=True):
                i, *window = windows[image.numpy().tobytes()]
                assert y[i] == label
                seen.add((i, *window))
    assert len(seen) > 0.9 * 16 * 9 * (1 + flip)


def test_an_epoch_is_a_function_of_seed_and_epoch_alone():
    x, y = numbered()
    keys = {"crop_padding": 1, "flip": True}
    train = batches(x, y, **keys)
    for _ in train.epoch(0):
        torch.rand(3)  # what others draw, and how far an epoch was read, does not matter
    again = [torch.equal(a, b) for (a, _), (b, _) in zip(train.epoch(3), batches(x, y, **keys).epoch(3), strict=True)]
    assert all(again)
    first = next(train.epoch(3))[0]
    assert not torch.equal(first, next(train.epoch(4))[0])
    assert not torch.equal(first, next(batches(x, y, seed=1, **keys).epoch(3))[0])


def test_normalised_and_channels_last():
    x, y = numbered()
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    (got, _), *_ = TestBatches(x, y, mean, std, torch.device("cpu"))
    want = (x.permute(0, 3, 1, 2) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert next(batches(x, y, crop_padding=2).epoch(0))[0].is_contiguous(memory_format=torch.channels_last)


def test_every_test_image_in_order():
    x, y = numbered(2500, side=2, channels=1)
    seen = list(TestBatches(x, y, [0.0], [1.0], torch.device("cpu")))
    assert [len(labels) for _, labels in seen] == [1000, 1000, 500]
    assert torch.equal(torch.cat([pixels(images) for images, _ in seen]), x)


def test_fewer_images_than_a_batch():
    with pytest.raises(UserError, match="only 50 training images"):
        batches(*numbered(50), batch_size=51)


# -- sources -----------------------------------------------------------------------------------------------------------


def images_of(folder, *overrides):
    cfg = compose(overrides).dataset
    return load_images(cfg, folder, find_source(cfg, folder))


def test_digits(data):
    images = images_of(data)
    assert images.train_x.shape == (1437, 32, 32, 1)
    assert images.test_x.shape == (360, 32, 32, 1)
    assert images.train_x.dtype == torch.uint8
    assert images.classes == [str(d) for d in range(10)]
    share = [torch.bincount(y) / len(y) for y in (images.train_y, images.test_y)]
    assert (share[0] - share[1]).abs().max() < 0.002  # stratified
    scaled = images.train_x.float() / 255
    dataset = compose().dataset
    assert [round(scaled.mean().item(), 3), round(scaled.std().item(), 3)] == [dataset.mean[0], dataset.std[0]]


def tree(root, classes=("ant", "bee", "cow"), splits=("train", "test"), side=32, n=4, mode="RGB", suffix="png"):
    rng = np.random.default_rng(0)
    for split in splits:
        for c, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                shape = (side, side) if mode == "L" else (side, side, 3)
                noise = rng.integers(0, 255, shape, dtype=np.uint8)
                noise[0, 0] = 10 * c  # tells the class
                Image.fromarray(noise).save(folder / f"{i}.{suffix}")
    return root


def test_image_tree(tmp_path):
    root = tree(tmp_path / "mine")
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}")
    assert images.classes == ["ant", "bee", "cow"]
    assert images.train_y.tolist() == images.test_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(images.train_x[:, 0, 0, 0], 10 * images.train_y.to(torch.uint8))
    original = np.asarray(Image.open(root / "train" / "bee" / "2.png"))
    assert np.array_equal(images.train_x[6].numpy(), original)


def test_val_in_place_of_test_grey_images_deeper_folders_and_other_sizes(tmp_path):
    root = tree(tmp_path / "mine", splits=("train", "val"), side=48, mode="L", suffix="jpg")
    (root / "train" / "ant" / "images").mkdir()
    (root / "train" / "ant" / "0.jpg").rename(root / "train" / "ant" / "images" / "0.jpg")
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}", "dataset.size=16")
    assert images.train_x.shape == (12, 16, 16, 3)
    assert torch.equal(images.test_x[..., 0], images.test_x[..., 2])


def test_a_tree_stands_in_for_a_named_dataset(tmp_path):
    tree(tmp_path / "cifar10", classes=[f"c{i}" for i in range(10)], n=1)
    images = images_of(tmp_path, "dataset=cifar10")
    assert (images.classes[9], len(images.train_x)) == ("c9", 10)
    tree(tmp_path / "cifar100", n=1)
    with pytest.raises(UserError, match=r"dataset.num_classes=100: cifar100 has 3 classes"):
        images_of(tmp_path, "dataset=cifar100")


def break_tree(root, how):
    if how == "no classes":
        tree(root, classes=())
        for split in ("train", "test"):
            (root / split).mkdir(parents=True)
    elif how == "no train":
        tree(root, splits=("test",))
    elif how == "no test":
        tree(root, splits=("train",))
    elif how == "different classes":
        (tree(root) / "test" / "bee").rename(root / "test" / "wasp")
    elif how == "empty class":
        for image in (tree(root) / "test" / "bee").iterdir():
            image.unlink()
    elif how == "one class":
        tree(root, classes=["ant"])
    elif how == "dangling link":
        (tree(root) / "train" / "bee" / "z.png").symlink_to("nowhere.png")
    elif how == "16 bits":
        Image.fromarray(np.full((32, 32), 40000, np.uint16)).save(tree(root) / "train" / "cow" / "1.png")
    elif how == "unreadable":
        (tree(root) / "train" / "cow" / "1.png").write_bytes(b"no image")
    elif how == "truncated":
        image = tree(root) / "train" / "cow" / "1.png"
        image.write_bytes(image.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no classes", "has no class folders"),
        ("no train", "is no image folder: it needs train/CLASS"),
        ("no test", r"test/CLASS/\* \(or val/CLASS/\*\)"),
        ("different classes", r"train and test have different classes \(bee, wasp in one of them only\)"),
        ("empty class", "test/bee holds no image"),
        ("one class", "has only one class folder, ant"),
        ("dangling link", "can't be read: "),
        ("16 bits", r"cow/1.png can't be read as an image \(it has more than 8 bits a channel"),
        ("unreadable", r"cow/1.png can't be read as an image"),
        ("truncated", r"cow/1.png can't be read as an image"),
    ],
)
def test_broken_trees(tmp_path, how, said):
    root = tmp_path / "mine"
    break_tree(root, how)
    with pytest.raises(UserError, match=said):
        images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}")
    assert not list(tmp_path.glob("cache/*.safetensors"))


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    archives.write("fashionmnist", tmp_path, monkeypatch, each=(3, 2))
    return tmp_path


def test_fashionmnist_is_padded_in_training_and_testing(fashion):
    images = images_of(fashion, "dataset=fashionmnist")
    for x, n in ((images.train_x, 30), (images.test_x, 20)):
        assert x.shape == (n, 32, 32, 1)
        assert not x[:, :2].any()
        assert not x[:, :, -2:].any()
    raw = np.frombuffer((fashion / "FashionMNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    assert np.array_equal(images.test_x[:, 2:30, 2:30, 0].numpy(), raw.reshape(20, 28, 28))
    assert images.classes[0] == "T-shirt/top"


def test_the_papers_geometry_scales_the_test_images(fashion):
    matched, paper = (images_of(fashion, "dataset=fashionmnist", f"dataset.geometry={g}") for g in ("matched", "paper"))
    assert torch.equal(matched.train_x, paper.train_x)
    assert paper.test_x[:, 0].float().mean() > 50  # no black border


# -- cache -------------------------------------------------------------------------------------------------------------


def test_decoded_once(tmp_path, monkeypatch):
    root = tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    first = images_of(tmp_path, *overrides)
    monkeypatch.setattr("lls.data.sources.decode_images", lambda *_: pytest.fail("decoded again"))
    again = images_of(tmp_path, *overrides)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert again.classes == first.classes


def test_decoded_again_when_an_image_changes(tmp_path):
    root = tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    images_of(tmp_path, *overrides)
    Image.new("RGB", (32, 32), (1, 2, 3)).save(root / "train" / "ant" / "0.png")
    assert images_of(tmp_path, *overrides).train_x[0, 5, 5].tolist() == [1, 2, 3]


@pytest.mark.parametrize("kept", [0, 7, 0.5])
def test_a_truncated_cache_is_set_aside_and_rebuilt(tmp_path, capsys, kept):
    root = tree(tmp_path / "mine")
    overrides = ("dataset=imagefolder", f"dataset.root={root}")
    first = images_of(tmp_path, *overrides)
    (cache,) = tmp_path.glob("cache/*.safetensors")
    whole = cache.read_bytes()
    cache.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    again = images_of(tmp_path, *overrides)
    assert torch.equal(first.train_x, again.train_x)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "is broken" in said
    assert cache.with_name(cache.name + ".broken").exists()


def test_no_cache_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert len(images_of(tmp_path).train_x) == 1437
    assert "no cache of decoded images" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("lls.data.cache.write_atomic", full)
    assert len(images_of(tmp_path).train_x) == 1437
    assert "no cache of decoded images: No space left on device" in capsys.readouterr().out


# -- subsets -----------------------------------------------------------------------------------------------------------


def test_half_of_the_classes(data):
    full = images_of(data)
    half = select_subset(full, "classes", seed=0)
    assert half.classes == ["0", "1", "2", "3", "4"]
    assert len(half.train_x) == (full.train_y < 5).sum()
    assert len(half.test_x) == (full.test_y < 5).sum()
    assert torch.equal(half.test_x, full.test_x[full.test_y < 5])
    assert half.test_y.max() == 4


def test_half_of_three_classes_is_nothing_to_tell_apart(tmp_path):
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={tree(tmp_path / 'mine')}")
    with pytest.raises(UserError, match=r"dataset.subset=classes: half of 3 classes is 1; it takes 4 or more"):
        select_subset(images, "classes", seed=0)


def test_half_of_the_samples_of_every_class(data):
    full = images_of(data)
    half, again, other = (select_subset(full, "samples", seed) for seed in (0, 0, 1))
    assert torch.equal(half.train_y.bincount(), (full.train_y.bincount() + 1) // 2)
    assert torch.equal(half.train_x, again.train_x)
    assert not torch.equal(half.train_x, other.train_x)
    assert torch.equal(half.test_x, full.test_x)
    assert half.classes == full.classes
