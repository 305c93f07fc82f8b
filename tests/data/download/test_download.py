"""Downloads: verified, continued after an interruption, and without partial files that a later call would read."""

import hashlib
import resource
import threading
from contextlib import contextmanager
from pathlib import Path

import archives
import pytest
from file_server import serve_files, visible_files

from lls.data.download.fetch import download
from lls.errors import UserError

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path):
    """A folder with one file, to be served."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "file.bin").write_bytes(CONTENT)
    return tmp_path / "server"


def test_a_download_happens_once(served, tmp_path):
    path = tmp_path / "new" / "file.bin"
    with serve_files(served) as (url, requests):
        for _ in range(2):
            download(f"{url}/file.bin", path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert requests == [("/file.bin", None)]
    assert visible_files(tmp_path / "new") == {"file.bin"}


def test_an_interrupted_download_continues_where_it_stopped(served, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with serve_files(served) as (url, requests):
        download(f"{url}/file.bin", tmp_path / "file.bin", sha256_prefix=hashlib.sha256(CONTENT).hexdigest()[:8])
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert requests == [("/file.bin", "bytes=1000-")]
    assert not (tmp_path / "file.bin.part").exists()


def test_a_server_of_whole_files_only_starts_the_download_again(served, tmp_path, capsys):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with serve_files(served, ranges=False) as (url, _):
        download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert "starting from 0" in capsys.readouterr().out


def test_a_broken_connection_is_retried_as_long_as_it_brings_data(served, tmp_path):
    with serve_files(served, response_sizes=[1000] * 8) as (url, requests):
        download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert [start for _, start in requests] == [None, *(f"bytes={n}000-" for n in range(1, 9))]
    with (
        serve_files(served, response_sizes=[1000, *[0] * 9]) as (url, requests),
        pytest.raises(UserError, match="repeat the command to continue the download"),
    ):
        download(f"{url}/file.bin", tmp_path / "other.bin", md5=MD5)
    assert (tmp_path / "other.bin.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "other.bin").exists()


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"of another file"])
def test_a_partial_file_that_nothing_follows_is_complete_or_replaced(served, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    with serve_files(served) as (url, _):
        download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("checksum", "message"),
    [
        ({"md5": "0" * 32}, rf"is not the published file \(its MD5 is {MD5}, not 0{{32}}\), and .* was deleted"),
        ({"sha256_prefix": "12345678"}, r"\(its SHA-256 is \w{8}, not 12345678\)"),
    ],
)
def test_a_file_with_another_checksum_is_deleted(served, tmp_path, checksum, message):
    (tmp_path / "target").mkdir()
    with serve_files(served) as (url, _), pytest.raises(UserError, match=message):
        download(f"{url}/file.bin", tmp_path / "target" / "file.bin", **checksum)
    assert visible_files(tmp_path / "target") == set()


def test_a_broken_file_on_disk_is_named_and_not_changed(served, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"half")
    mismatch = rf"\(its MD5 is {archives.md5(path)}, not {MD5}\)"
    message = rf"{path} is broken or incomplete {mismatch}: delete it and download it again"
    with serve_files(served) as (url, requests), pytest.raises(UserError, match=message):
        download(f"{url}/file.bin", path, md5=MD5)
    assert path.read_bytes() == b"half"
    assert not requests


def test_a_missing_url_is_not_retried(served, tmp_path):
    path = tmp_path / "file.bin"
    with (
        serve_files(served) as (url, requests),
        pytest.raises(UserError, match=rf"404 Not Found\): get it .* put it at {path}"),
    ):
        download(f"{url}/other.bin", path)
    assert len(requests) == 1


def test_no_network(tmp_path):
    message = r"can't be downloaded \(.*[Cc]onnection refused\): repeat the command"
    with pytest.raises(UserError, match=message):
        download("http://nowhere.invalid/file.bin", tmp_path / "file.bin")


@contextmanager
def file_size_limit(size):
    """Let writes after `size` bytes of a file fail, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_download_continues_after_an_error_of_the_disk(served, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with serve_files(served) as (url, requests):
        message = r"File too large\): free the disk; the next call continues file.bin.part"
        with file_size_limit(5000), pytest.raises(UserError, match=message):
            download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
        download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert [start for _, start in requests] == ["bytes=1000-", "bytes=5000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_not_retried(served, tmp_path):
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with (
        serve_files(served) as (url, requests),
        pytest.raises(UserError, match=r"file.bin.part can't be written \(No space left on device\)"),
    ):
        download(f"{url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert len(requests) == 1


def test_processes_that_start_together_download_once(served, tmp_path):
    with serve_files(served) as (url, requests):
        args = (f"{url}/file.bin", tmp_path / "file.bin")
        threads = [threading.Thread(target=download, args=args, kwargs={"md5": MD5}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(requests) == 1
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
