"""Notes about a finished run whose code or images have changed."""

import os
import shutil

import pytest
from PIL import Image
from results import SHORT_RUN, compose_run, write_result

from lls.config.compose import compose
from lls.data import fingerprint
from lls.training.execute import execute


def test_a_change_of_the_code_is_noted(overrides, capsys):
    run = compose_run(*overrides, *SHORT_RUN)
    result = execute(run)
    capsys.readouterr()
    execute(run)
    assert "note:" not in capsys.readouterr().out
    write_result(run, result | {"method_code": "0123456789ab"})
    execute(run)
    out = capsys.readouterr().out
    assert f"the code of method lls or its loss has changed since (0123456789ab, now {result['method_code']})" in out
    assert "machine.again=true trains it again" in out


@pytest.mark.parametrize("size", [32, 72], ids=["decoded", "streamed"])
def test_a_change_of_the_images_is_noted(size, overrides, tmp_path, capsys):
    data = tmp_path / "data"
    root = tmp_path / "photos"
    for split, count in (("train", 8), ("test", 2)):
        for number, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (80, 80), (40 * number, 9 * i, 3)).save(root / split / name / f"{i}.png")
    words = [*overrides, "dataset=imagefolder", f"dataset.root={root}", "train.epochs=1", "train.batch_size=4"]
    words += [f"dataset.size={size}", "machine.workers=0", "train.warmup=0", f"machine.data={data}"]
    words += ["train.milestones=[]", *(["network=lenet"] if size == 32 else ["network.width=0.25"])]
    run = compose_run(*words)
    result = execute(run)
    assert result["images"].startswith("pixels:" if size == 32 else "files:")

    def current(run, recorded=result["images"]):
        return fingerprint.current(run.cfg.dataset, data, recorded)

    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    copied = compose_run(*words, f"dataset.root={copy}")
    assert current(copied, "files:") == current(run, "files:")
    assert current(copied) == (result["images"] if size == 72 else None)
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))  # a copy may have other times
    execute(run)
    assert "note:" not in capsys.readouterr().out
    Image.new("RGB", (80, 80), (1, 2, 3)).save(root / "train" / "a" / "more.png")
    execute(run)
    assert f"the images of imagefolder have changed since ({result['images']}, now " in capsys.readouterr().out
    shutil.rmtree(data / "cache", ignore_errors=True)
    assert (current(run) is None) == (size == 32)
    shutil.rmtree(root)
    assert current(run) is None


def test_a_fingerprint_downloads_nothing(tmp_path, capsys):
    data = tmp_path / "data"
    for name in ("tinyimagenet", "cub200", "flowers102", "cifar100"):
        assert fingerprint.current(compose([f"dataset={name}"]).dataset, data, "files:0") is None
    assert not data.exists()  # a download locks the folder first
    assert capsys.readouterr().out == ""
