"""Broken, incomplete and missing data sets: the message names the file and the command that helps."""

import shutil
from pathlib import Path

import archives
import numpy as np
import pytest
import torchvision.datasets as tv
from scipy.io import loadmat, savemat

from lls.data.download.layouts import wnids_of
from lls.data.sources import find_source
from lls.errors import UserError

ROOTS = {
    "tinyimagenet": "tiny-imagenet-200",
    "animals10n": "animals10n/raw_image_ver",
    "imagenet100_kaggle": "imagenet100/kaggle",
    "imagenet100_cmc": "imagenet100/cmc",
    "cub200": "CUB_200_2011",
    "flowers102": "flowers-102/jpg",
}


def source_of(name, folder, *overrides):
    return find_source(archives.dataset(name, *overrides), folder)


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    """Unpack a data set and return its root, without the file that identifies the archives, as a user's unzip does."""

    def unpack(name):
        archives.write(name, tmp_path, monkeypatch)
        source_of(name, tmp_path).files()
        root = tmp_path / ROOTS[name]
        (root / ".prepared").unlink()
        return root

    return unpack


@pytest.mark.parametrize("name", ROOTS)
def test_the_fingerprint_of_files_that_a_user_unpacked_changes_with_a_file(name, unpack, tmp_path):
    root = unpack(name)
    first = source_of(name, tmp_path)
    Path(first.files().test[3]).write_bytes(archives.jpeg(3, 5, (21, 22)))
    assert source_of(name, tmp_path).fingerprint != first.fingerprint
    assert not (root / ".prepared").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "animals10n",
            r"animals10n is not in .*: ask for .* put raw_image_ver.zip at .*/animals10n/raw_image_ver.zip;",
        ),
        ("imagenet100_kaggle", r"kaggle.com/datasets/ambityga/imagenet100 .* to .*/imagenet100/archive.zip"),
        ("imagenet100_cmc", r"ILSVRC2012_img_train.tar, .* to .*/ILSVRC2012/"),
    ],
)
def test_a_missing_manual_download_is_an_error_that_says_what_to_download(name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        source_of(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cub200", "tinyimagenet", "svhn"])
def test_a_missing_data_folder_is_an_error(name, tmp_path):
    with pytest.raises(UserError, match=r"no such folder; make it and put .*/no/where/.* there"):
        source_of(name, tmp_path / "no" / "where")


def test_an_unknown_or_changed_list_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"dataset.list=abc: the list kaggle has the SHA-256 65f2f59f"):
        source_of("imagenet100_kaggle", tmp_path, "dataset.list=abc")
    with pytest.raises(UserError, match=r"dataset.classes=mine: no such list; use one of cmc, kaggle"):
        wnids_of("mine")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def relabel(path, key, index, value):
    content = {key: array for key, array in loadmat(path).items() if not key.startswith("__")}
    content[key].flat[index] = value
    savemat(path, content)


DAMAGES = [  # (data set, what happens to its root, message)
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
        r"class 0 \(object 0\) has 2 test images, not 1",
    ),
    ("tinyimagenet", lambda r: edit(r / "val/val_annotations.txt", "\t9\n", "\n"), "does not have 6 columns"),
    ("tinyimagenet", lambda r: (r / "val/images/val_7.JPEG").unlink(), "val_7.JPEG is missing"),
    ("tinyimagenet", lambda r: (r / "val/val_annotations.txt").write_text(""), "there are no test images"),
    ("tinyimagenet", lambda r: (r / "words.txt").unlink(), "words.txt can't be read"),
    (
        "animals10n",
        lambda r: (r / "training/0_0.jpg").rename(r / "training/10_0.jpg"),
        "the label before the _ must be",
    ),
    ("animals10n", lambda r: [f.unlink() for f in r.glob("testing/*")], "there are no test images"),
    ("animals10n", lambda r: [f.unlink() for f in r.glob("training/3_*")], r"class 3 \(coyote\) has no training image"),
    ("animals10n", lambda r: shutil.rmtree(r / "testing"), "testing"),
    (
        "cub200",
        lambda r: edit(r / "image_class_labels.txt", "\n4 2\n", "\n4 201\n"),
        "image 4 has label 201; labels are 1 to 200",
    ),
    ("cub200", lambda r: edit(r / "train_test_split.txt", "\n4 1\n", "\n"), "are not of the same images"),
    ("cub200", lambda r: shutil.rmtree(r / "images/003.Black_footed_Bird2"), "Bird_0000_2.jpg is missing"),
    (
        "cub200",
        lambda r: (r / "train_test_split.txt").write_text((r / "train_test_split.txt").read_text().replace(" 0", " 1")),
        "class 0 .* has 3 training images, not 2",
    ),
    ("flowers102", lambda r: relabel(r.parent / "imagelabels.mat", "labels", 5, 103), "label 103; labels are 1 to 102"),
    ("flowers102", lambda r: relabel(r.parent / "setid.mat", "tstid", 5, 4000), "setid.mat: image 4000"),
    ("flowers102", lambda r: (r / "image_00009.jpg").unlink(), "image_00009.jpg is missing"),
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


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_a_broken_folder_is_an_error_with_the_command_that_helps(name, damage, message, unpack, tmp_path):
    damage(unpack(name))
    with pytest.raises(UserError, match=message) as error:
        source_of(name, tmp_path).files()
    assert "\n" not in str(error.value)
    assert f"run python scripts/prepare_data.py {name}" in str(error.value)


def test_an_unreadable_jpeg_is_named(tmp_path, monkeypatch):
    archives.write("tinyimagenet", tmp_path, monkeypatch)
    source = source_of("tinyimagenet", tmp_path)
    image = Path(source.files().train[7])
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"{image.name} can't be read as an image"):
        source.read()


def test_a_broken_batch_of_cifar_is_named_with_its_md5(tmp_path, monkeypatch):
    archives.write("cifar10", tmp_path, monkeypatch)
    source = source_of("cifar10", tmp_path)
    source.read()
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=rf"data_batch_3 has the MD5 {archives.md5(batch)}, not \w+; delete .*-py and run"
    ):
        source.read()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03", "fashionmnist is broken or incomplete"),
        ("train-labels-idx1-ubyte", archives.idx(np.full(20, 11, np.uint8)), "has the label 11; labels are 0 to 9"),
        ("t10k-labels-idx1-ubyte", archives.idx(np.zeros(10, np.uint8)), r"\(T-shirt/top\) has 10 test images, not 1"),
    ],
)
def test_a_broken_file_of_fashionmnist_is_an_error(file, content, message, tmp_path, monkeypatch):
    archives.write("fashionmnist", tmp_path, monkeypatch)
    source = source_of("fashionmnist", tmp_path)
    source.read()
    (tmp_path / "FashionMNIST" / "raw" / file).write_bytes(content)
    with pytest.raises(UserError, match=message):
        source.read()


def test_a_broken_mat_of_svhn_is_named_with_its_md5(tmp_path, monkeypatch):
    archives.write("svhn", tmp_path, monkeypatch)
    (tmp_path / "test_32x32.mat").write_bytes(b"half")
    with pytest.raises(UserError, match=r"test_32x32.mat has the MD5 \w+, not"):
        source_of("svhn", tmp_path).read()
    assert tv.SVHN.split_list["test"][2] != archives.md5(tmp_path / "test_32x32.mat")


@pytest.mark.parametrize(
    ("name", "file"), [("svhn", "test_32x32.mat"), ("fashionmnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte")]
)
def test_a_missing_file_of_several_is_unpacked_or_downloaded_again(name, file, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    source = source_of(name, tmp_path)
    source.read()
    (tmp_path / file).unlink()
    if name == "fashionmnist":  # its archive still exists
        assert len(source.read().test_y) == 10
    else:
        with pytest.raises(UserError, match=r"nowhere.invalid/test_32x32.mat can't be downloaded \(.*refused\)"):
            source.read()
