"""Fetching, unpacking and checking: what is said, and that nothing half-written is left that a later call trusts."""

import errno
import hashlib
import http.server
import runpy
import sys
import threading
import urllib.error
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import archives
import pytest

from lls.data.download import fetch, prepare, published
from lls.data.download.archives import staging_folder, unpack
from lls.data.download.fetch import download
from lls.data.sources import find_source
from lls.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
FETCHED = [name for name in archives.NAMES if name not in published.MANUAL_DOWNLOADS]
ASKED = [name for name in archives.NAMES if name in published.MANUAL_DOWNLOADS]
CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@contextmanager
def serving(folder, ranges=True, cut=()):
    """A server of the files below `folder`; the i-th answer ends after cut[i] bytes of its body. Yields its address and
    the list of what was asked for, (path, Range header)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            file = folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            content, start = file.read_bytes(), 0
            if ranges and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + cut[len(asked) - 1] if len(asked) <= len(cut) else None
            self.wfile.write(content[start:end])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(fetch, "RETRY_DELAYS_SECONDS", (0, 0))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def there(tmp_path):
    """A folder with one file, to be served."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "thing.bin").write_bytes(CONTENT)
    return tmp_path / "server"


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    """Run scripts/prepare_data.py on the folder tmp_path/data: script("cub200") -> (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare_data.py", *arguments, "--data", str(tmp_path / "data")])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "scripts" / "prepare_data.py"), run_name="__main__")
        out = capsys.readouterr()
        return stopped.value.code, out.out, out.err

    return run


def visible(folder):
    """The names of what is there and may be trusted: without locks."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.endswith(".lock")}


# -- download ----------------------------------------------------------------------------------------------------------


def test_download(there, tmp_path):
    path = tmp_path / "new" / "thing.bin"
    with serving(there) as (url, asked):
        for _ in range(2):
            download(f"{url}/thing.bin", path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert asked == [("/thing.bin", None)]
    assert visible(tmp_path / "new") == {"thing.bin"}


def test_an_interrupted_download_goes_on_where_it_stopped(there, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    with serving(there) as (url, asked):
        download(f"{url}/thing.bin", tmp_path / "thing.bin", sha256_prefix=hashlib.sha256(CONTENT).hexdigest()[:8])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    assert asked == [("/thing.bin", "bytes=1000-")]
    assert not (tmp_path / "thing.bin.part").exists()


def test_a_server_that_sends_whole_files_only(there, tmp_path, capsys):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    with serving(there, ranges=False) as (url, _):
        download(f"{url}/thing.bin", tmp_path / "thing.bin", md5=MD5)
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    assert "from the start" in capsys.readouterr().out


def test_a_connection_that_breaks_off_is_taken_up_again_while_it_brings_anything(there, tmp_path):
    with serving(there, cut=[1000] * 8) as (url, asked):
        download(f"{url}/thing.bin", tmp_path / "thing.bin", md5=MD5)
    assert [start for _, start in asked] == [None, *(f"bytes={n}000-" for n in range(1, 9))]
    with (
        serving(there, cut=[1000, *[0] * 9]) as (url, asked),
        pytest.raises(UserError, match="goes on where it stopped"),
    ):
        download(f"{url}/thing.bin", tmp_path / "other.bin", md5=MD5)
    assert (tmp_path / "other.bin.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "other.bin").exists()


@pytest.mark.parametrize("kept", [CONTENT, CONTENT + b"of another file"])
def test_a_part_after_which_nothing_comes(there, tmp_path, kept):
    (tmp_path / "thing.bin.part").write_bytes(kept)
    with serving(there) as (url, _):
        download(f"{url}/thing.bin", tmp_path / "thing.bin", md5=MD5)
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"md5": "0" * 32}, rf"is not the published file \(its MD5 is {MD5}, not 0{{32}}\), and was thrown away"),
        ({"sha256_prefix": "12345678"}, r"\(its SHA-256 is \w{8}, not 12345678\)"),
    ],
)
def test_the_wrong_file_is_not_kept(there, tmp_path, check, said):
    (tmp_path / "here").mkdir()
    with serving(there) as (url, _), pytest.raises(UserError, match=said):
        download(f"{url}/thing.bin", tmp_path / "here" / "thing.bin", **check)
    assert visible(tmp_path / "here") == set()


def test_a_broken_file_on_disk_is_named_and_left(there, tmp_path):
    path = tmp_path / "thing.bin"
    path.write_bytes(b"half")
    said = rf"{path} is broken or not whole \(its MD5 is {archives.md5(path)}, not {MD5}\): delete it and get it again"
    with serving(there) as (url, asked), pytest.raises(UserError, match=said):
        download(f"{url}/thing.bin", path, md5=MD5)
    assert path.read_bytes() == b"half"
    assert not asked


def test_not_found_and_no_network(there, tmp_path, monkeypatch):
    path = tmp_path / "thing.bin"
    with (
        serving(there) as (url, asked),
        pytest.raises(UserError, match=rf"404 Not Found\): get it .* put it at {path}"),
    ):
        download(f"{url}/else.bin", path)
    assert len(asked) == 1

    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(fetch, "urlopen", offline)
    with pytest.raises(UserError, match=r"can't be fetched \(Name or service not known\): with a network the same"):
        download(f"{url}/thing.bin", path)


def test_a_full_disk_while_fetching(there, tmp_path, monkeypatch):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    real = open

    def full(path, mode="r", **keys):
        if "a" in mode or "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, **keys)

    monkeypatch.setattr(fetch, "open", full, raising=False)
    with (
        serving(there) as (url, _),
        pytest.raises(UserError, match=r"No space left on device\); thing.bin.part is kept"),
    ):
        download(f"{url}/thing.bin", tmp_path / "thing.bin", md5=MD5)


def test_processes_that_start_together_fetch_once(there, tmp_path):
    with serving(there) as (url, asked):
        args = (f"{url}/thing.bin", tmp_path / "thing.bin")
        threads = [threading.Thread(target=download, args=args, kwargs={"md5": MD5}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT


# -- preparing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FETCHED)
def test_fetch_unpack_check(name, tmp_path, monkeypatch, script):
    with serving(tmp_path / "server") as (url, asked):
        counts = archives.write(name, tmp_path / "server", monkeypatch, url=url)
        status, out, err = script(name)
        first = len(asked)
        assert (status, err) == (0, "")
        assert f"{name}: fetching {url}/" in out
        assert "of disk in all; " in out
        done = rf"{name}: {counts.train.total:,} + {counts.test.total:,} images of .*, as published"
        assert done.split(" of .*")[0] in out
        assert ("all of which can be decoded" in out) == (name not in published.TORCHVISION)
        assert out.endswith(f"ready: {name}\n")
        status, out, err = script(name)  # nothing is left to do
        assert (status, err) == (0, "")
        assert "of disk" not in out
        assert len(asked) == first == len(published.archives(name))
    status, out, _ = script("check")
    assert status == 0
    assert f"ok      {name} " in out
    assert "1 ok, 9 absent, 0 broken" in out


@pytest.mark.parametrize("name", ASKED)
def test_unpack_and_check_what_has_to_be_asked_for(name, tmp_path, monkeypatch, script):
    wanted = "imagenet100" if name.startswith("imagenet100") else name
    status, out, err = script(wanted)
    assert (status, out) == (2, "")
    assert f"{name} is not in" in err
    counts = archives.write(name, tmp_path / "data", monkeypatch)
    if name == "animals10n":
        assert f"absent  {name:<19} raw_image_ver.zip is there: python scripts/prepare_data.py" in script("check")[1]
    status, out, err = script(wanted)
    assert (status, err) == (0, "")
    assert f"{name}: {counts.train.total:,} + {counts.test.total:,} images" in out
    assert out.endswith(f"ready: {name}\n")


def test_all_leaves_out_what_has_to_be_asked_for(tmp_path, monkeypatch, script):
    monkeypatch.setattr(prepare, "listing", lambda name, folder: pytest.fail(name))
    monkeypatch.setattr(published, "SIZES", {name: published.SIZES[name] for name in ASKED})
    status, out, _ = script("all")
    assert status == 0
    assert out.count("is left out: ") == 3


def test_a_stand_in_tree_is_checked_too(tmp_path, monkeypatch, script):
    for split, n in (("train", 2), ("test", 1)):
        for label in range(10):
            folder = tmp_path / "data" / "cifar10" / split / f"class {label}"
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{i}.jpg").write_bytes(archives.jpeg(label, i))
    status, out, _ = script("check")
    assert status == 1
    assert "broken  cifar10             the image tree " in out
    assert "class 0 (class 0) has 2 training images, not 5000" in out
    archives.write("cifar10", tmp_path / "counts", monkeypatch)
    assert "20 + 10 images of 10 classes, as published" in script("cifar10", "--decode")[1]


def test_no_room(tmp_path, monkeypatch, script):
    usage = namedtuple("usage", "total used free")(10, 10, 700_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    status, out, err = script("tinyimagenet")
    assert status == 2
    assert "tinyimagenet: 248 MB to fetch, 510 MB unpacked" in out
    assert "has 700 MB free and about 758 MB are needed: make room" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("tinyimagnet",), ("check", "cub200")])
def test_words_that_cannot_be_meant(arguments, script, capsys):
    status, _, err = script(*arguments)
    assert status == 2
    assert ("did you mean 'tinyimagenet'" in err) or ("it takes no other name" in err)


def test_weights(tmp_path, monkeypatch, script):
    (tmp_path / "server").mkdir()
    names = {}
    for network in ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101"):
        content = network.encode() * 99
        names[network] = f"{network}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (tmp_path / "server" / names[network]).write_bytes(content)
    with serving(tmp_path / "server") as (url, _):
        weights = {n: SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=f"{url}/{file}")) for n, file in names.items()}
        monkeypatch.setattr("torchvision.models.get_model_weights", weights.get)
        status, out, err = script("weights")
    assert (status, err) == (0, "")
    assert visible(tmp_path / "data" / "weights") == set(names.values())
    assert f"ok      weights/{names['resnet18']}" in script("check")[1]
    (tmp_path / "data" / "weights" / names["resnet18"]).write_bytes(b"half")
    status, out, _ = script("check")
    assert status == 1
    assert f"broken  weights/{names['resnet18']}" in out


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def archive_of(name, folder):
    """The archive with the images."""
    return folder / published.archives(name)[0].path


def read(name, folder):
    found = find_source(archives.dataset(name), folder)
    return (found.files or found.read)()


def refused(name, folder, said):
    """What preparing says; nothing must be left that was not there before."""
    before = visible(folder)
    with pytest.raises(UserError, match=said) as error:
        read(name, folder)
    assert "\n" not in str(error.value)
    assert visible(folder) == before | {"imagenet100"} & visible(folder)  # which is an empty folder
    return str(error.value)


@pytest.mark.parametrize("name", [name for name in archives.NAMES if name != "svhn"])
def test_a_truncated_archive(name, tmp_path, monkeypatch, script):
    archives.write(name, tmp_path / "data", monkeypatch)
    archive = archive_of(name, tmp_path / "data")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])
    said = refused(name, tmp_path / "data", rf"{archive} .*is broken or not whole .*: delete it and get it again")
    status, _, err = script(name)
    assert status == 2
    assert said in err
    if published.archives(name)[0].md5:
        assert f"its MD5 is {archives.md5(archive)}, not {published.archives(name)[0].md5}" in said
        assert f"broken  {name} " in script("check")[1]
    archives.write(name, tmp_path / "data", monkeypatch)  # got again
    assert script(name)[0] == 0


@pytest.mark.parametrize("name", [name for name in archives.NAMES if name not in ("svhn", "fashionmnist")])
def test_a_full_disk_or_ctrl_c_while_unpacking(name, tmp_path, monkeypatch):
    archives.write(name, tmp_path, monkeypatch)
    before, error, written = visible(tmp_path), None, []

    def copy(source, target, length):
        target.write(source.read(40))
        written.append(target.name)
        if len(written) == 3:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr("lls.data.download.archives.shutil.copyfileobj", copy)
        error = OSError(errno.ENOSPC, "No space left on device")
        refused(name, tmp_path, r"can't be unpacked \(No space left on device\); nothing half-written is left")
        error, written = KeyboardInterrupt(), []
        with pytest.raises(KeyboardInterrupt):
            read(name, tmp_path)
        assert len(written) == 3
        assert visible(tmp_path) == before | {"imagenet100"} & visible(tmp_path)
    read(name, tmp_path)


def test_a_full_disk_while_unpacking_fashionmnist(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    archives.write("fashionmnist", tmp_path, monkeypatch)
    monkeypatch.setattr("lls.data.download.archives.shutil.copyfileobj", full)
    refused("fashionmnist", tmp_path, r"train-images-idx3-ubyte can't be unpacked \(No space left on device\)")


def test_an_archive_without_all_of_it_is_not_unpacked(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    files = archives.animals_files((2, 1))
    archive = tmp_path / "animals10n" / "raw_image_ver.zip"
    archives.zipped(archive, {name: content for name, content in files.items() if "testing/7" not in name})
    said = refused("animals10n", tmp_path, r"class 7 \(orangutan\) has no test image; get it again")
    assert archives.md5(archive) in said
    archives.zipped(archive, {"readme.txt": b"nothing"})
    refused("animals10n", tmp_path, "holds nothing of what it should: it is another archive")


def test_a_changed_byte_in_a_zip(tmp_path, monkeypatch):
    archives.write("animals10n", tmp_path, monkeypatch)
    archive = tmp_path / "animals10n" / "raw_image_ver.zip"
    content = bytearray(archive.read_bytes())
    content[len(content) // 3] ^= 255
    archive.write_bytes(content)
    refused("animals10n", tmp_path, "raw_image_ver.zip is broken or not whole")


def test_an_unreadable_image_in_a_good_archive(tmp_path, monkeypatch, script):
    archives.write("animals10n", tmp_path, monkeypatch)
    files = archives.animals_files((2, 1))
    files["raw_image/training/3_6.jpg"] = b"no image"
    archives.zipped(tmp_path / "data" / "animals10n" / "raw_image_ver.zip", files)
    status, out, err = script("animals10n")
    assert status == 2
    assert "3_6.jpg can't be read as an image" in err
    assert "ready" not in out


def test_a_devkit_that_is_none(tmp_path, monkeypatch):
    archives.write("imagenet100_cmc", tmp_path, monkeypatch)
    kit = archives.tarred(tmp_path / published.ILSVRC[2].path, {"readme.txt": b""})
    theirs = (*published.ILSVRC[:2], published.ILSVRC[2]._replace(md5=archives.md5(kit)))
    monkeypatch.setitem(published.ARCHIVES, "imagenet100_cmc", theirs)
    refused("imagenet100_cmc", tmp_path, "is not ILSVRC2012's devkit")


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "C:\\outside", "sub\\..\\outside"])
@pytest.mark.parametrize("write", [archives.zipped, archives.tarred])
def test_no_member_is_written_outside(name, write, tmp_path):
    archive = write(tmp_path / ("a.zip" if write is archives.zipped else "a.tgz"), {name: b"content"})
    with pytest.raises(UserError, match="wants to write outside its folder"):
        unpack(archive, tmp_path / "into", lambda member: member)
    assert visible(tmp_path) <= {archive.name, "into"}


def test_what_a_killed_process_left_is_not_taken(tmp_path):
    stale = tmp_path / ".it.unpacking"
    (stale / "it").mkdir(parents=True)
    (stale / "it" / "half").write_text("half")
    with staging_folder(tmp_path / "it") as stand_in:
        (stand_in / "it").mkdir()
        (stand_in / "it" / "whole").write_text("whole")
    assert visible(tmp_path) == {"it", "it/whole"}
    with pytest.raises(UserError, match="is not whole, and in the way"), staging_folder(tmp_path / "it"):
        pass
    assert visible(tmp_path) == {"it", "it/whole"}


def test_runs_that_start_together_unpack_once(tmp_path, monkeypatch):
    archives.write("cub200", tmp_path, monkeypatch)
    calls, real = [], prepare._unpacked
    monkeypatch.setattr(prepare, "_unpacked", lambda *of: calls.append(of) or real(*of))
    threads = [threading.Thread(target=prepare.ensure_unpacked, args=("cub200", tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert prepare.dataset_root("cub200", tmp_path) == tmp_path / "CUB_200_2011"
