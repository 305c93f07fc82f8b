"""scripts/prepare_data.py: downloads, unpacks and checks data sets, and reports what the data folder holds."""

import hashlib
from collections import namedtuple
from types import SimpleNamespace

import archives
import pytest
from file_server import serve_files, visible_files

from lls.data.download import published

AUTOMATIC = [name for name in archives.NAMES if name not in published.MANUAL_DOWNLOADS]
MANUAL = [name for name in archives.NAMES if name in published.MANUAL_DOWNLOADS]


@pytest.mark.parametrize("name", AUTOMATIC)
def test_a_data_set_is_downloaded_unpacked_and_checked(name, tmp_path, monkeypatch, prepare_data):
    with serve_files(tmp_path / "server") as (url, requests):
        counts = archives.write(name, tmp_path / "server", monkeypatch, url=url)
        status, out, err = prepare_data(name)
        assert (status, err) == (0, "")
        assert f"{name}: downloading {url}/" in out
        assert "of disk in total; " in out
        assert f"{name}: {counts.train.total:,} + {counts.test.total:,} images of {counts.classes} classes, as" in out
        assert ("all images can be decoded" in out) == (name not in published.TORCHVISION)
        assert out.endswith(f"ready: {name}\n")
        assert len(requests) == len(published.archives(name))
        status, out, err = prepare_data(name)  # has nothing to do
        assert (status, err) == (0, "")
        assert "of disk" not in out
        assert len(requests) == len(published.archives(name))
    status, out, _ = prepare_data("check")
    assert status == 0
    assert f"ok      {name} " in out
    assert "1 ok, 9 absent, 0 broken" in out


@pytest.mark.parametrize("name", MANUAL)
def test_a_manual_download_is_unpacked_and_checked(name, tmp_path, monkeypatch, prepare_data):
    word = "imagenet100" if name.startswith("imagenet100") else name
    status, out, err = prepare_data(word)
    assert (status, out) == (2, "")
    assert f"{name} is not in" in err
    counts = archives.write(name, tmp_path / "data", monkeypatch)
    if name == "animals10n":
        state = f"absent  {name:<19} raw_image_ver.zip is present: run python scripts/prepare_data.py"
        assert state in prepare_data("check")[1]
    status, out, err = prepare_data(word)
    assert (status, err) == (0, "")
    assert f"{name}: {counts.train.total:,} + {counts.test.total:,} images" in out
    assert out.endswith(f"ready: {name}\n")


def test_all_leaves_out_the_manual_downloads(tmp_path, monkeypatch, prepare_data):
    for name in AUTOMATIC:
        archives.write(name, tmp_path / "data", monkeypatch, each=(1, 1))
    status, out, err = prepare_data("all")
    assert (status, err) == (0, "")
    assert out.count("is left out: ") == len(MANUAL) == 3
    assert out.endswith(f"ready: {', '.join(AUTOMATIC)}\n")
    assert not any(f"{name}: unpacking" in out for name in MANUAL)


def test_an_image_tree_that_replaces_a_data_set_is_checked(tmp_path, monkeypatch, prepare_data):
    for split, n in (("train", 2), ("test", 1)):
        for label in range(10):
            folder = tmp_path / "data" / "cifar10" / split / f"class {label}"
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{i}.jpg").write_bytes(archives.jpeg(label, i))
    status, out, _ = prepare_data("check")
    assert status == 1
    assert "broken  cifar10             the image tree " in out
    assert "class 0 (class 0) has 2 training images, not 5000" in out
    archives.write("cifar10", tmp_path / "counts", monkeypatch)
    assert "20 + 10 images of 10 classes, as published" in prepare_data("cifar10", "--decode")[1]


def test_too_little_disk_space_is_an_error_before_the_download(tmp_path, monkeypatch, prepare_data):
    usage = namedtuple("usage", "total used free")(10, 10, 700_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    status, out, err = prepare_data("tinyimagenet")
    assert status == 2
    assert "tinyimagenet: 248 MB to download, 510 MB unpacked" in out
    assert "has 700 MB free, and about 758 MB are needed: free the disk" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("tinyimagnet",), ("check", "cub200")])
def test_unknown_names_and_check_with_a_name_are_errors(arguments, prepare_data):
    status, _, err = prepare_data(*arguments)
    assert status == 2
    assert ("did you mean 'tinyimagenet'" in err) or ("give it no other name" in err)


def test_weights_are_downloaded_and_checked_by_their_names(tmp_path, monkeypatch, prepare_data):
    (tmp_path / "server").mkdir()
    names = {}
    for network in ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101"):
        content = network.encode() * 99
        names[network] = f"{network}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (tmp_path / "server" / names[network]).write_bytes(content)
    with serve_files(tmp_path / "server") as (url, _):
        weights = {n: SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=f"{url}/{file}")) for n, file in names.items()}
        monkeypatch.setattr("torchvision.models.get_model_weights", weights.get)
        status, _, err = prepare_data("weights")
    assert (status, err) == (0, "")
    assert visible_files(tmp_path / "data" / "weights") == set(names.values())
    assert f"ok      weights/{names['resnet18']}" in prepare_data("check")[1]
    (tmp_path / "data" / "weights" / names["resnet18"]).write_bytes(b"half")
    status, out, _ = prepare_data("check")
    assert status == 1
    assert f"broken  weights/{names['resnet18']}" in out
