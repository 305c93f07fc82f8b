"""From archives on disk to listings and pixels: layouts, classes, labels, and what is refused."""

import shutil
import urllib.error
from collections import Counter
from pathlib import Path

import archives
import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image
from scipy.io import loadmat, savemat

from lls.data.download import fetch, published
from lls.data.download.layouts import wnids_of
from lls.data.sources import find_source
from lls.errors import UserError

FILES = [name for name in archives.NAMES if name not in published.TORCHVISION]
ROOTS = {
    "tinyimagenet": "tiny-imagenet-200",
    "animals10n": "animals10n/raw_image_ver",
    "imagenet100_kaggle": "imagenet100/kaggle",
    "imagenet100_cmc": "imagenet100/cmc",
    "cub200": "CUB_200_2011",
    "flowers102": "flowers-102/jpg",
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def urlopen(*_, **__):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(fetch, "urlopen", urlopen)
    monkeypatch.setattr(fetch, "RETRY_DELAYS_SECONDS", ())


@pytest.mark.parametrize("name", published.COUNTS)
def test_a_yaml_has_the_published_number_of_classes(name):
    assert archives.dataset(name).num_classes == published.COUNTS[name].classes


def source(name, folder, *overrides):
    return find_source(archives.dataset(name, *overrides), folder)


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """The root of a data set, unpacked by another hand: nothing says what it was unpacked from."""

    def unpack(name):
        archives.write(name, tmp_path, monkeypatch)
        source(name, tmp_path).files()
        root = tmp_path / ROOTS[name]
        (root / ".prepared").unlink()
        return root

    return unpack


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_archives_of_image_files_to_a_listing(name, tmp_path, monkeypatch):
    counts = archives.write(name, tmp_path, monkeypatch)
    found = source(name, tmp_path)
    listing = found.files()
    assert found.num_classes == len(listing.classes) == len(set(listing.classes))
    for paths, labels, split in zip(listing[:4:2], listing[1:4:2], counts[1:], strict=True):
        assert Counter(labels) == dict.fromkeys(range(found.num_classes), split.each)
        assert len(set(paths)) == len(paths) == split.total
    grey = cmyk = 0
    for path, label in zip(listing.train + listing.test, listing.train_y + listing.test_y, strict=True):
        with Image.open(path) as image:
            grey, cmyk = grey + (image.mode == "L"), cmyk + (image.mode == "CMYK")
            if image.mode == "RGB":
                assert archives.label_of(np.asarray(image)) == label, path
    assert (grey, cmyk) == (1, 1)
    assert not [path for path in tmp_path.rglob("*") if "unpacking" in path.name]
    again = source(name, tmp_path)
    assert again.fingerprint == found.fingerprint  # a cache made in the run that unpacked serves the next
    assert again.files() == listing


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_torchvisions_archives_to_pixels(name, tmp_path, monkeypatch):
    counts = archives.write(name, tmp_path, monkeypatch)
    found = source(name, tmp_path)
    images = found.read()
    assert found.files is None
    assert found.num_classes == len(images.classes)
    assert [len(images.train_x), len(images.test_x)] == [split.total for split in counts[1:]]
    for x, y in ((images.train_x, images.train_y), (images.test_x, images.test_y)):
        assert Counter(y.tolist()).keys() == set(range(found.num_classes))
        middle = x[:, 16, 16].int() // 16
        labels = middle[:, 0] if name == "fashionmnist" else middle[:, 0] + 16 * middle[:, 1]
        assert labels.tolist() == y.tolist()


@pytest.mark.parametrize("name", ["tinyimagenet", "animals10n"])
def test_small_image_files_to_pixels(name, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    images = source(name, tmp_path).read()
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
            ["thing 0", "thing 1", "thing 2", "thing 3", "crane n00000047", "crane n00000057"],
            "thing 199",
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
def test_class_names(name, first, last, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    found = source(name, tmp_path)
    classes = (found.files() if found.files else found.read()).classes
    assert classes[: len(first)] == first
    assert classes[-1] == last


def test_the_two_lists_share_eight_classes_and_are_sorted():
    kaggle, cmc = wnids_of("kaggle"), wnids_of("cmc")
    assert len(set(kaggle)) == len(set(cmc)) == 100
    assert len({*kaggle} & {*cmc}) == 8
    assert kaggle == sorted(kaggle)
    assert (kaggle[0], kaggle[-1]) == ("n01440764", "n02077923")


def test_an_unpacked_ilsvrc_serves_its_list_and_others_are_left_alone(tmp_path, monkeypatch):
    archives.write("imagenet100_cmc", tmp_path, monkeypatch)
    source("imagenet100_cmc", tmp_path).files()
    (tmp_path / "imagenet100" / "cmc" / ".prepared").unlink()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "other").mkdir(parents=True)
    (tmp_path / "imagenet100" / "cmc").rename(elsewhere / "ILSVRC2012")
    shutil.copytree(next((elsewhere / "ILSVRC2012" / "train").iterdir()), elsewhere / "ILSVRC2012/train/n00000001")
    listing = source("imagenet100_cmc", elsewhere).files()
    assert (len(listing.train), len(listing.test)) == (200, 100)
    with pytest.raises(UserError, match="which is one of the 100 classes of kaggle"):
        source("imagenet100_kaggle", elsewhere)


def test_kaggles_list_from_ilsvrcs_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "wnids_of", lambda which: wnids_of("kaggle"))
    archives.write("imagenet100_cmc", tmp_path, monkeypatch)
    archives.write("imagenet100_kaggle", tmp_path / "counts", monkeypatch)
    listing = source("imagenet100_kaggle", tmp_path).files()
    assert listing.train[0].endswith("imagenet100/kaggle/train/n01440764/n01440764_0.JPEG")
    assert listing.classes[0] == "tench"


def test_an_archive_within_the_archive(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    inner = archives.zipped(tmp_path / "raw_image.zip", archives.animals_files((2, 1)))
    archives.zipped(tmp_path / "animals10n/raw_image_ver.zip", {"raw_image.zip": inner.read_bytes(), "readme.txt": b""})
    assert len(source("animals10n", tmp_path).files().train) == 20


def test_a_tree_for_imagenet100_must_have_the_lists_classes(tmp_path):
    for split in ("train", "val"):
        for wnid in wnids_of("cmc"):
            (tmp_path / "imagenet100" / split / wnid).mkdir(parents=True)
            (tmp_path / "imagenet100" / split / wnid / "1.JPEG").write_bytes(archives.jpeg(2, 2))
    assert source("imagenet100_cmc", tmp_path).files().classes == wnids_of("cmc")
    with pytest.raises(UserError, match="has no folder n01440764, which is one of the 100 classes"):
        source("imagenet100_kaggle", tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_the_fingerprint_of_files_that_came_otherwise_is_theirs(name, unpacked, tmp_path):
    root = unpacked(name)
    first = source(name, tmp_path)
    Path(first.files().test[3]).write_bytes(archives.jpeg(3, 5, (21, 22)))
    assert source(name, tmp_path).fingerprint != first.fingerprint
    assert not (root / ".prepared").exists()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "animals10n",
            r"animals10n is not in .*: ask for .* put raw_image_ver.zip at .*/animals10n/raw_image_ver.zip;",
        ),
        ("imagenet100_kaggle", r"kaggle.com/datasets/ambityga/imagenet100 .* to .*/imagenet100/archive.zip"),
        ("imagenet100_cmc", r"ILSVRC2012_img_train.tar, .* to .*/ILSVRC2012/"),
    ],
)
def test_what_cannot_be_fetched_is_refused_early_and_says_what_to_get(name, said, tmp_path):
    with pytest.raises(UserError, match=said):
        source(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cub200", "tinyimagenet", "svhn"])
def test_no_data_folder(name, tmp_path):
    with pytest.raises(UserError, match=r"no such folder; make it and put .*/no/where/.* there"):
        source(name, tmp_path / "no" / "where")


def test_lists_that_are_not_there_or_others(tmp_path):
    with pytest.raises(UserError, match=r"dataset.list=abc: the list kaggle that is there has the SHA-256 65f2f59f"):
        source("imagenet100_kaggle", tmp_path, "dataset.list=abc")
    with pytest.raises(UserError, match=r"dataset.classes=mine: there are cmc, kaggle"):
        wnids_of("mine")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def relabel(path, key, place, value):
    content = {key: array for key, array in loadmat(path).items() if not key.startswith("__")}
    content[key].flat[place] = value
    savemat(path, content)


BREAKAGES = [
    ("tinyimagenet", lambda r: shutil.rmtree(r / "train/n00000017"), "train has no folder n00000017"),
    ("tinyimagenet", lambda r: (r / "train/n1").mkdir(), "train/n1 holds no image"),
    (
        "tinyimagenet",
        lambda r: shutil.copytree(r / "train/n00000017", r / "train/n1"),
        "train/n1 is none of the 200 classes",
    ),
    (
        "tinyimagenet",
        lambda r: edit(r / "val/val_annotations.txt", "n00000017", "n5"),
        "val_annotations.txt: n5 is none of the 200 classes",
    ),
    (
        "tinyimagenet",
        lambda r: edit(r / "val/val_annotations.txt", "n00000017", "n00000007"),
        r"class 0 \(thing 0\) has 2 test images, not 1",
    ),
    ("tinyimagenet", lambda r: edit(r / "val/val_annotations.txt", "\t9\n", "\n"), "has not 6 columns"),
    ("tinyimagenet", lambda r: (r / "val/images/val_7.JPEG").unlink(), "val_7.JPEG is not there"),
    ("tinyimagenet", lambda r: (r / "val/val_annotations.txt").write_text(""), "there is no test image at all"),
    ("tinyimagenet", lambda r: (r / "words.txt").unlink(), "words.txt can't be read"),
    (
        "animals10n",
        lambda r: (r / "training/0_0.jpg").rename(r / "training/10_0.jpg"),
        "the label before the _ must be",
    ),
    ("animals10n", lambda r: [f.unlink() for f in r.glob("testing/*")], "there is no test image at all"),
    ("animals10n", lambda r: [f.unlink() for f in r.glob("training/3_*")], r"class 3 \(coyote\) has no training image"),
    ("animals10n", lambda r: shutil.rmtree(r / "testing"), "testing"),
    (
        "cub200",
        lambda r: edit(r / "image_class_labels.txt", "\n4 2\n", "\n4 201\n"),
        "image 4 has label 201; they are 1 to 200",
    ),
    ("cub200", lambda r: edit(r / "train_test_split.txt", "\n4 1\n", "\n"), "are not of the same images"),
    ("cub200", lambda r: shutil.rmtree(r / "images/003.Black_footed_Bird2"), "Bird_0000_2.jpg is not there"),
    (
        "cub200",
        lambda r: (r / "train_test_split.txt").write_text((r / "train_test_split.txt").read_text().replace(" 0", " 1")),
        "class 0 .* has 3 training images, not 2",
    ),
    ("flowers102", lambda r: relabel(r.parent / "imagelabels.mat", "labels", 5, 103), "label 103; they are 1 to 102"),
    ("flowers102", lambda r: relabel(r.parent / "setid.mat", "tstid", 5, 4000), "setid.mat: image 4000"),
    ("flowers102", lambda r: (r / "image_00009.jpg").unlink(), "image_00009.jpg is not there"),
    ("flowers102", lambda r: (r.parent / "setid.mat").write_bytes(b"no"), "setid.mat can't be read"),
    ("imagenet100_kaggle", lambda r: shutil.rmtree(r / "train.X2/n01443537"), "no n01443537, which is one of the 100"),
    ("imagenet100_kaggle", lambda r: shutil.rmtree(r / "val.X"), "val: no n01440764"),
    ("imagenet100_kaggle", lambda r: (r / "Labels.json").write_text("{"), "Labels.json can't be read"),
    (
        "imagenet100_cmc",
        lambda r: next((r / "train/n01558993").iterdir()).unlink(),
        r"class 0 \(robin\) has 1 training images, not 2",
    ),
]


@pytest.mark.parametrize(("name", "damage", "said"), BREAKAGES)
def test_broken_folders(name, damage, said, unpacked, tmp_path):
    damage(unpacked(name))
    with pytest.raises(UserError, match=said) as refused:
        source(name, tmp_path).files()
    assert "\n" not in str(refused.value)
    assert f"run python scripts/prepare_data.py {name}" in str(refused.value)


def test_an_unreadable_jpeg_is_named(tmp_path, monkeypatch):
    archives.write("tinyimagenet", tmp_path, monkeypatch)
    found = source("tinyimagenet", tmp_path)
    image = Path(found.files().train[7])
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"{image.name} can't be read as an image"):
        found.read()


def test_a_broken_batch_of_cifar_is_named_with_its_md5(tmp_path, monkeypatch):
    archives.write("cifar10", tmp_path, monkeypatch)
    found = source("cifar10", tmp_path)
    found.read()
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=rf"data_batch_3 has the MD5 {archives.md5(batch)}, not \w+; delete .*-py and run"
    ):
        found.read()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03", "fashionmnist is not whole"),
        ("train-labels-idx1-ubyte", archives.idx(np.full(20, 11, np.uint8)), "has the label 11; they are 0 to 9"),
        ("t10k-labels-idx1-ubyte", archives.idx(np.zeros(10, np.uint8)), r"\(T-shirt/top\) has 10 test images, not 1"),
    ],
)
def test_broken_files_of_fashionmnist(file, content, said, tmp_path, monkeypatch):
    archives.write("fashionmnist", tmp_path, monkeypatch)
    found = source("fashionmnist", tmp_path)
    found.read()
    (tmp_path / "FashionMNIST" / "raw" / file).write_bytes(content)
    with pytest.raises(UserError, match=said):
        found.read()


def test_a_broken_mat_of_svhn(tmp_path, monkeypatch):
    archives.write("svhn", tmp_path, monkeypatch)
    (tmp_path / "test_32x32.mat").write_bytes(b"half")
    with pytest.raises(UserError, match=r"test_32x32.mat has the MD5 \w+, not"):
        source("svhn", tmp_path).read()
    assert tv.SVHN.split_list["test"][2] != archives.md5(tmp_path / "test_32x32.mat")


@pytest.mark.parametrize(
    ("name", "file"), [("svhn", "test_32x32.mat"), ("fashionmnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte")]
)
def test_what_is_missing_of_several_files_is_got(name, file, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    found = source(name, tmp_path)
    found.read()
    (tmp_path / file).unlink()
    if name == "fashionmnist":  # from the archive that is there
        assert len(found.read().test_y) == 10
    else:
        with pytest.raises(UserError, match=r"nowhere.invalid/test_32x32.mat can't be fetched \(no network here\)"):
            found.read()
