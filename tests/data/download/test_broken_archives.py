"""Broken archives, interruptions and full disks: one line says what is wrong, and no partial files remain."""

import errno
import threading

import archives
import pytest
from file_server import visible_files

from lls.data.download import prepare, published
from lls.data.download.archives import staging_folder, unpack
from lls.data.sources import find_source
from lls.errors import UserError


def image_archive(name, folder):
    """Return the path of the archive with the images."""
    return folder / published.archives(name)[0].path


def read(name, folder):
    source = find_source(archives.dataset(name), folder)
    return (source.files or source.read)()


def error_of(name, folder, message):
    """Return the error that reading a data set raises. No file may remain that did not exist before."""
    before = visible_files(folder)
    with pytest.raises(UserError, match=message) as error:
        read(name, folder)
    assert "\n" not in str(error.value)
    assert visible_files(folder) == before | {"imagenet100"} & visible_files(folder)  # an empty folder
    return str(error.value)


def fail_after_files(number, error, monkeypatch):
    """Let unpacking raise `error` in the middle of the file of this number. Returns the names of the files written."""
    names = []

    def copy(source, target, length):
        target.write(source.read(40))
        names.append(target.name)
        if len(names) == number:
            raise error

    monkeypatch.setattr("lls.data.download.archives.shutil.copyfileobj", copy)
    return names


@pytest.mark.parametrize("name", [name for name in archives.NAMES if name != "svhn"])
def test_a_truncated_archive_is_named_until_it_is_replaced(name, tmp_path, monkeypatch, prepare_data):
    archives.write(name, tmp_path / "data", monkeypatch)
    archive = image_archive(name, tmp_path / "data")
    content = archive.read_bytes()
    archive.write_bytes(content[: archive.stat().st_size * 2 // 3])
    message = rf"{archive} .*is broken or incomplete .*: delete it and download it again"
    error = error_of(name, tmp_path / "data", message)
    status, _, err = prepare_data(name)
    assert status == 2
    assert error in err
    if published.archives(name)[0].md5:
        assert f"its MD5 is {archives.md5(archive)}, not {published.archives(name)[0].md5}" in error
        assert f"broken  {name} " in prepare_data("check")[1]
    archive.write_bytes(content)
    assert prepare_data(name)[0] == 0


@pytest.mark.parametrize("name", [name for name in archives.NAMES if name not in ("svhn", "fashionmnist")])
def test_a_full_disk_or_ctrl_c_while_unpacking_leaves_no_partial_files(name, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    before = visible_files(tmp_path)
    with monkeypatch.context() as patch:
        fail_after_files(3, OSError(errno.ENOSPC, "No space left on device"), patch)
        error_of(name, tmp_path, r"can't be unpacked \(No space left on device\): .*; no partial files remain")
        names = fail_after_files(3, KeyboardInterrupt(), patch)
        with pytest.raises(KeyboardInterrupt):
            read(name, tmp_path)
        assert len(names) == 3
        assert visible_files(tmp_path) == before | {"imagenet100"} & visible_files(tmp_path)
    read(name, tmp_path)


def test_a_full_disk_while_unpacking_fashionmnist_leaves_no_partial_files(tmp_path, monkeypatch):
    archives.write("fashionmnist", tmp_path, monkeypatch)
    fail_after_files(1, OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
    error_of("fashionmnist", tmp_path, r"train-images-idx3-ubyte can't be unpacked \(No space left on device\)")


def test_an_incomplete_or_unrelated_archive_is_not_unpacked(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    files = archives.animals_files((2, 1))
    archive = tmp_path / "animals10n" / "raw_image_ver.zip"
    archives.zipped(archive, {name: content for name, content in files.items() if "testing/7" not in name})
    error = error_of("animals10n", tmp_path, r"class 7 \(orangutan\) has no test image; download it again")
    assert archives.md5(archive) in error
    archives.zipped(archive, {"readme.txt": b"text"})
    error_of("animals10n", tmp_path, "holds none of the expected files: it is another archive")


def test_a_changed_byte_in_a_zip_is_an_error(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    archive = tmp_path / "animals10n" / "raw_image_ver.zip"
    content = bytearray(archive.read_bytes())
    content[len(content) // 3] ^= 255
    archive.write_bytes(content)
    error_of("animals10n", tmp_path, "raw_image_ver.zip is broken or incomplete")


def test_an_unreadable_image_in_an_archive_is_named(tmp_path, monkeypatch, prepare_data):
    archives.write("animals10n", tmp_path, monkeypatch)
    files = archives.animals_files((2, 1))
    files["raw_image/training/3_6.jpg"] = b"no image"
    archives.zipped(tmp_path / "data" / "animals10n" / "raw_image_ver.zip", files)
    status, out, err = prepare_data("animals10n")
    assert status == 2
    assert "3_6.jpg can't be read as an image" in err
    assert "ready" not in out


def test_another_archive_in_place_of_the_devkit_is_an_error(tmp_path, monkeypatch):
    archives.write("imagenet100_cmc", tmp_path, monkeypatch)
    *images, devkit = published.ARCHIVES["imagenet100_cmc"]
    path = archives.tarred(tmp_path / devkit.path, {"readme.txt": b""})
    replaced = (*images, devkit._replace(md5=archives.md5(path)))
    monkeypatch.setitem(published.ARCHIVES, "imagenet100_cmc", replaced)
    error_of("imagenet100_cmc", tmp_path, "is not the devkit of ILSVRC2012")


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "C:\\outside", "sub\\..\\outside"])
@pytest.mark.parametrize("write", [archives.zipped, archives.tarred])
def test_no_member_is_written_outside_the_folder(name, write, tmp_path):
    archive = write(tmp_path / ("a.zip" if write is archives.zipped else "a.tgz"), {name: b"content"})
    with pytest.raises(UserError, match="has a member outside its folder"):
        unpack(archive, tmp_path / "into", lambda member: member)
    assert visible_files(tmp_path) <= {archive.name, "into"}


def test_files_of_a_killed_process_are_not_used(tmp_path):
    stale = tmp_path / ".data.unpacking"
    (stale / "data").mkdir(parents=True)
    (stale / "data" / "partial").write_text("partial")
    with staging_folder(tmp_path / "data") as staging:
        (staging / "data").mkdir()
        (staging / "data" / "complete").write_text("complete")
    assert visible_files(tmp_path) == {"data", "data/complete"}
    with pytest.raises(UserError, match="exists but is incomplete"), staging_folder(tmp_path / "data"):
        pass
    assert visible_files(tmp_path) == {"data", "data/complete"}


def test_processes_that_start_together_unpack_once(tmp_path, monkeypatch, capsys):
    archives.write("cub200", tmp_path, monkeypatch)
    threads = [threading.Thread(target=prepare.ensure_unpacked, args=("cub200", tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().out.count("cub200: unpacking") == 1
    assert prepare.dataset_root("cub200", tmp_path) == tmp_path / "CUB_200_2011"
