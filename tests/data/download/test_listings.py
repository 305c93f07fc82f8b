"""From archives to listings and pixels: splits, classes and labels of each data set."""

import shutil
from collections import Counter

import archives
import numpy as np
import pytest
from PIL import Image

from lls.data.download import published
from lls.data.download.layouts import wnids_of
from lls.data.sources import find_source
from lls.errors import UserError

FILE_DATA_SETS = [name for name in archives.NAMES if name not in published.TORCHVISION]


def source_of(name, folder, *overrides):
    return find_source(archives.dataset(name, *overrides), folder)


@pytest.mark.parametrize("name", published.COUNTS)
def test_a_yaml_has_the_published_number_of_classes(name):
    assert archives.dataset(name).num_classes == published.COUNTS[name].classes


@pytest.mark.parametrize("name", FILE_DATA_SETS)
def test_archives_of_image_files_become_a_listing(name, tmp_path, monkeypatch):
    counts = archives.write(name, tmp_path, monkeypatch)
    source = source_of(name, tmp_path)
    listing = source.files()
    assert source.num_classes == len(listing.classes) == len(set(listing.classes))
    for paths, labels, split in zip(listing[:4:2], listing[1:4:2], counts[1:], strict=True):
        assert Counter(labels) == dict.fromkeys(range(source.num_classes), split.per_class)
        assert len(set(paths)) == len(paths) == split.total
    grey = cmyk = 0
    for path, label in zip(listing.train + listing.test, listing.train_y + listing.test_y, strict=True):
        with Image.open(path) as image:
            grey, cmyk = grey + (image.mode == "L"), cmyk + (image.mode == "CMYK")
            if image.mode == "RGB":
                assert archives.label_of(np.asarray(image)) == label, path
    assert (grey, cmyk) == (1, 1)
    assert not [path for path in tmp_path.rglob("*") if "unpacking" in path.name]
    next_source = source_of(name, tmp_path)
    assert next_source.fingerprint == source.fingerprint  # the next run reads the cache of the run that unpacked
    assert next_source.files() == listing


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_archives_of_torchvision_become_pixels(name, tmp_path, monkeypatch):
    counts = archives.write(name, tmp_path, monkeypatch)
    source = source_of(name, tmp_path)
    images = source.read()
    assert source.files is None
    assert source.num_classes == len(images.classes)
    assert [len(images.train_x), len(images.test_x)] == [split.total for split in counts[1:]]
    for x, y in ((images.train_x, images.train_y), (images.test_x, images.test_y)):
        assert Counter(y.tolist()).keys() == set(range(source.num_classes))
        middle = x[:, 16, 16].int() // 16
        labels = middle[:, 0] if name == "fashionmnist" else middle[:, 0] + 16 * middle[:, 1]
        assert labels.tolist() == y.tolist()


@pytest.mark.parametrize("name", ["tinyimagenet", "animals10n"])
def test_small_image_files_become_pixels(name, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    images = source_of(name, tmp_path).read()
    assert images.train_x.shape[1:] == (64, 64, 3)
    assert [archives.label_of(x) for x in images.test_x] == images.test_y.tolist()
    grey = images.train_x[0]
    assert (grey[..., 0] == grey[..., 2]).all()
    assert archives.label_of(images.train_x[2]) == 1  # CMYK, class 1's first


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        (
            "tinyimagenet",
            ["object 0", "object 1", "object 2", "object 3", "crane n00000047", "crane n00000057"],
            "object 199",
        ),
        ("animals10n", ["cat", "lynx", "wolf"], "guinea pig"),
        ("imagenet100_kaggle", ["animal 0", "animal 1"], "animal 99"),
        ("imagenet100_cmc", ["robin", "Gila monster", "hognose snake"], "stinkhorn"),
        ("cub200", ["Black footed Bird0"], "Black footed Bird199"),
        ("flowers102", ["pink primrose", "hard-leaved pocket orchid"], "blackberry lily"),
        ("fashionmnist", ["T-shirt/top"], "Ankle boot"),
        ("cifar100", ["kind 00"], "kind 99"),
        ("svhn", ["0"], "9"),
    ],
)
def test_class_names_are_in_the_order_of_the_labels(name, first, last, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    source = source_of(name, tmp_path)
    classes = (source.files() if source.files else source.read()).classes
    assert classes[: len(first)] == first
    assert classes[-1] == last


def test_the_two_lists_of_imagenet100_share_eight_classes_and_are_sorted():
    kaggle, cmc = wnids_of("kaggle"), wnids_of("cmc")
    assert len(set(kaggle)) == len(set(cmc)) == 100
    assert len({*kaggle} & {*cmc}) == 8
    assert kaggle == sorted(kaggle)
    assert (kaggle[0], kaggle[-1]) == ("n01440764", "n02077923")


def test_an_unpacked_ilsvrc_gives_its_list_and_ignores_other_classes(tmp_path, monkeypatch):
    archives.write("imagenet100_cmc", tmp_path, monkeypatch)
    source_of("imagenet100_cmc", tmp_path).files()
    (tmp_path / "imagenet100" / "cmc" / ".prepared").unlink()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "other").mkdir(parents=True)
    (tmp_path / "imagenet100" / "cmc").rename(elsewhere / "ILSVRC2012")
    shutil.copytree(next((elsewhere / "ILSVRC2012" / "train").iterdir()), elsewhere / "ILSVRC2012/train/n00000001")
    listing = source_of("imagenet100_cmc", elsewhere).files()
    assert (len(listing.train), len(listing.test)) == (200, 100)
    with pytest.raises(UserError, match="which is one of the 100 classes of kaggle"):
        source_of("imagenet100_kaggle", elsewhere)


def test_the_list_of_kaggle_can_be_unpacked_from_ilsvrc(tmp_path, monkeypatch):
    archives.write("imagenet100_cmc", tmp_path, monkeypatch, wnids=wnids_of("kaggle"))
    archives.write("imagenet100_kaggle", tmp_path / "counts", monkeypatch)
    listing = source_of("imagenet100_kaggle", tmp_path).files()
    assert listing.train[0].endswith("imagenet100/kaggle/train/n01440764/n01440764_0.JPEG")
    assert listing.classes[0] == "tench"


def test_a_zip_inside_the_archive_is_unpacked(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    inner = archives.zipped(tmp_path / "raw_image.zip", archives.animals_files((2, 1)))
    archives.zipped(tmp_path / "animals10n/raw_image_ver.zip", {"raw_image.zip": inner.read_bytes(), "readme.txt": b""})
    assert len(source_of("animals10n", tmp_path).files().train) == 20


def test_an_image_tree_for_imagenet100_must_have_the_classes_of_the_list(tmp_path):
    for split in ("train", "val"):
        for wnid in wnids_of("cmc"):
            (tmp_path / "imagenet100" / split / wnid).mkdir(parents=True)
            (tmp_path / "imagenet100" / split / wnid / "1.JPEG").write_bytes(archives.jpeg(2, 2))
    assert source_of("imagenet100_cmc", tmp_path).files().classes == wnids_of("cmc")
    with pytest.raises(UserError, match="has no folder n01440764, which is one of the 100 classes"):
        source_of("imagenet100_kaggle", tmp_path)
