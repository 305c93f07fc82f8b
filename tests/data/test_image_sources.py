"""Sources: digits, image folders, FashionMNIST's two geometries, and subsets."""

import archives
import numpy as np
import pytest
import torch
from image_trees import image_tree, images_of
from PIL import Image

from lls.config.compose import compose
from lls.data.subset import select_subset
from lls.errors import UserError


def test_digits_are_split_by_class(data):
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


def test_an_image_folder_is_read_in_alphabetical_order(tmp_path):
    root = image_tree(tmp_path / "mine")
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}")
    assert images.classes == ["ant", "bee", "cow"]
    assert images.train_y.tolist() == images.test_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(images.train_x[:, 0, 0, 0], 10 * images.train_y.to(torch.uint8))
    original = np.asarray(Image.open(root / "train" / "bee" / "2.png"))
    assert np.array_equal(images.train_x[6].numpy(), original)


def test_image_folders_may_have_val_grey_images_subfolders_and_other_sizes(tmp_path):
    root = image_tree(tmp_path / "mine", splits=("train", "val"), side=48, mode="L", suffix="jpg")
    (root / "train" / "ant" / "images").mkdir()
    (root / "train" / "ant" / "0.jpg").rename(root / "train" / "ant" / "images" / "0.jpg")
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}", "dataset.size=16")
    assert images.train_x.shape == (12, 16, 16, 3)
    assert torch.equal(images.test_x[..., 0], images.test_x[..., 2])


def test_an_image_folder_replaces_a_named_data_set(tmp_path):
    image_tree(tmp_path / "cifar10", classes=[f"c{i}" for i in range(10)], n=1)
    images = images_of(tmp_path, "dataset=cifar10")
    assert (images.classes[9], len(images.train_x)) == ("c9", 10)
    image_tree(tmp_path / "cifar100", n=1)
    with pytest.raises(UserError, match=r"dataset.num_classes=100: cifar100 has 3 classes"):
        images_of(tmp_path, "dataset=cifar100")


def broken_tree(root, defect):
    if defect == "no classes":
        image_tree(root, classes=())
        for split in ("train", "test"):
            (root / split).mkdir(parents=True)
    elif defect == "no train":
        image_tree(root, splits=("test",))
    elif defect == "no test":
        image_tree(root, splits=("train",))
    elif defect == "different classes":
        (image_tree(root) / "test" / "bee").rename(root / "test" / "wasp")
    elif defect == "empty class":
        for image in (image_tree(root) / "test" / "bee").iterdir():
            image.unlink()
    elif defect == "one class":
        image_tree(root, classes=["ant"])
    elif defect == "dangling link":
        (image_tree(root) / "train" / "bee" / "z.png").symlink_to("nowhere.png")
    elif defect == "16 bits":
        Image.fromarray(np.full((32, 32), 40000, np.uint16)).save(image_tree(root) / "train" / "cow" / "1.png")
    elif defect == "unreadable":
        (image_tree(root) / "train" / "cow" / "1.png").write_bytes(b"no image")
    elif defect == "truncated":
        image = image_tree(root) / "train" / "cow" / "1.png"
        image.write_bytes(image.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("defect", "message"),
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
def test_a_broken_image_folder_is_refused(tmp_path, defect, message):
    root = tmp_path / "mine"
    broken_tree(root, defect)
    with pytest.raises(UserError, match=message):
        images_of(tmp_path, "dataset=imagefolder", f"dataset.root={root}")
    assert not list(tmp_path.glob("cache/*.safetensors"))


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    archives.write("fashionmnist", tmp_path, monkeypatch, each=(3, 2))
    return tmp_path


def test_fashionmnist_is_padded_in_both_splits(fashion):
    images = images_of(fashion, "dataset=fashionmnist")
    for x, n in ((images.train_x, 30), (images.test_x, 20)):
        assert x.shape == (n, 32, 32, 1)
        assert not x[:, :2].any()
        assert not x[:, :, -2:].any()
    raw = np.frombuffer((fashion / "FashionMNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    assert np.array_equal(images.test_x[:, 2:30, 2:30, 0].numpy(), raw.reshape(20, 28, 28))
    assert images.classes[0] == "T-shirt/top"


def test_the_papers_geometry_scales_test_images(fashion):
    matched, paper = (images_of(fashion, "dataset=fashionmnist", f"dataset.geometry={g}") for g in ("matched", "paper"))
    assert torch.equal(matched.train_x, paper.train_x)
    assert paper.test_x[:, 0].float().mean() > 50  # no black border


def test_subset_classes_is_the_first_half(data):
    full = images_of(data)
    half = select_subset(full, "classes", seed=0)
    assert half.classes == ["0", "1", "2", "3", "4"]
    assert len(half.train_x) == (full.train_y < 5).sum()
    assert len(half.test_x) == (full.test_y < 5).sum()
    assert torch.equal(half.test_x, full.test_x[full.test_y < 5])
    assert half.test_y.max() == 4


def test_a_subset_of_one_class_is_refused(tmp_path):
    images = images_of(tmp_path, "dataset=imagefolder", f"dataset.root={image_tree(tmp_path / 'mine')}")
    with pytest.raises(UserError, match=r"dataset.subset=classes: needs 4 classes or more, not 3"):
        select_subset(images, "classes", seed=0)


def test_subset_samples_is_half_of_each_class(data):
    full = images_of(data)
    half, again, other = (select_subset(full, "samples", seed) for seed in (0, 0, 1))
    assert torch.equal(half.train_y.bincount(), (full.train_y.bincount() + 1) // 2)
    assert torch.equal(half.train_x, again.train_x)
    assert not torch.equal(half.train_x, other.train_x)
    assert torch.equal(half.test_x, full.test_x)
    assert half.classes == full.classes
