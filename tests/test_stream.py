"""Large images: what workers decode and cut, whatever their number, and the store of images scaled once."""

import json
import multiprocessing
from contextlib import ExitStack
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from lls.config.compose import compose
from lls.data.image_store import ImageStore, decode, make_store
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.data.streaming import StreamedTest, StreamedTrain, geometry
from lls.errors import UserError
from lls.training.checkpoint import load

CLASSES = ("ant", "bee", "cow", "dog")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Photograph-like JPEGs of several shapes, some grey; the mean red tells the class."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 3)):
        for c, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                height, width = [(120, 160), (150, 100), (96, 96)][i % 3]
                y, x = np.mgrid[:height, :width]
                waves = 12 * np.sin(x / rng.uniform(5, 30)) + 12 * np.sin(y / rng.uniform(5, 30))
                pixels = np.stack([50 + 50 * c + waves, 128 + waves, 128 - waves], -1).clip(0, 255).astype(np.uint8)
                image = Image.fromarray(pixels)
                (image.convert("L") if i == 5 else image).save(root / split / name / f"{i}.jpg", quality=95)
    return root


def config(root, data, *overrides):
    keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=80", "dataset.mean=[0,0,0]"]
    keys += ["dataset.std=[1,1,1]", "train.batch_size=4", f"machine.data={data}", "machine.workers=0", *overrides]
    return compose(keys)


@pytest.fixture
def images(root, tmp_path):
    """images("seed=1", ...) feeds those of `root`, or of another folder; their workers end with the test."""
    with ExitStack() as stack:

        def fed(*overrides, of=root):
            cfg = config(of, tmp_path, *overrides)
            return stack.enter_context(make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")))

        yield fed


def pixels(x):
    return (x * 255).round().to(torch.uint8)


def test_large_images_are_streamed_and_small_ones_are_not(images):
    streamed = images()
    assert isinstance(streamed.train(), StreamedTrain)
    assert isinstance(streamed.eval_batches("test"), StreamedTest)
    resident = images("dataset.size=64")
    assert next(iter(resident.eval_batches("test")))[0].shape == (12, 3, 64, 64)
    assert resident.classes == streamed.classes == list(CLASSES)


@pytest.mark.parametrize("keep_aspect", ["true", "false"])
def test_test_images_are_torchvisions_resize_and_centre_crop(images, root, keep_aspect):
    test = images("dataset.resize=90", f"dataset.keep_aspect={keep_aspect}").eval_batches("test")
    ((x, y),) = test
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.tolist() == [c for c in range(4) for _ in range(3)]
    for i, path in enumerate(sorted((root / "test").rglob("*.jpg"))):
        scaled = F.resize(F.pil_to_tensor(Image.open(path)), 90 if keep_aspect == "true" else [90, 90])
        assert torch.equal(pixels(x[i]), F.center_crop(scaled, 80))


def test_the_default_is_224_of_256():
    assert geometry(compose(["dataset=imagefolder", "dataset.root=x", "dataset.size=224"]).dataset)[:5] == (
        *(224, "random_resized", 256, True),
        False,
    )
    assert geometry(compose(["dataset=cub200"]).dataset)[:5] == (224, "random", 256, False, False)
    assert geometry(compose(["dataset=imagenet100"]).dataset)[:5] == (224, "random_resized", 256, True, False)


@pytest.mark.parametrize("crop", ["random", "random_resized"])
def test_an_epoch_depends_on_seed_and_epoch_and_not_on_the_workers(images, crop):
    def epoch(number, *overrides):
        train = images(f"dataset.crop={crop}", *overrides).train()
        return [(pixels(x), y) for x, y in train.epoch(number)]

    def same(a, b):
        return all(torch.equal(p, q) for one, other in zip(a, b, strict=True) for p, q in zip(one, other, strict=True))

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = epoch(0)
    assert torch.equal(torch.rand(2), expected)  # the run's own generator was left alone
    assert [len(y) for _, y in first] == [4] * 6
    assert same(first, epoch(0, "machine.workers=2"))
    assert not same(first, epoch(1))
    assert not same(first, epoch(0, "seed=1"))


def test_an_epoch_has_every_image_at_most_once_and_labels_that_fit(images):
    train = images("machine.workers=1", "dataset.crop=random").train()
    for number in range(2):  # the same workers serve several epochs
        x, y = (torch.cat(part) for part in zip(*train.epoch(number), strict=True))
        reds = 255 * x[:, 0].mean((1, 2))
        colour = (x[:, 0] - x[:, 1]).abs().mean((1, 2)) > 0.01  # the grey ones tell no class
        assert (reds[colour] - 50 - 50 * y[colour]).abs().max() < 20
        assert y.bincount().max() <= 6


def test_the_workers_end_with_the_with(root, tmp_path):
    cfg = config(root, tmp_path, "machine.workers=1")
    others = set(multiprocessing.active_children())
    with make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")) as images:
        train, test = images.train(), images.eval_batches("test")
        next(train.epoch(0)), list(test)
        assert len(set(multiprocessing.active_children()) - others) == 2
        train.close()
        assert len(set(multiprocessing.active_children()) - others) == 1
        assert len(list(train.epoch(1))) == 6  # by another worker
    assert set(multiprocessing.active_children()) <= others


def test_flip_and_crop_are_drawn_for_each_image(images, root):
    train = images("dataset.crop=random", "dataset.resize=81", "dataset.keep_aspect=false").train()
    path = sorted((root / "train").rglob("*.jpg"))[0]
    scaled = F.resize(F.pil_to_tensor(Image.open(path)), [81, 81])
    windows = {
        F.hflip(part).numpy().tobytes() if flip else part.numpy().tobytes(): (dy, dx, flip)
        for dy in range(2)
        for dx in range(2)
        for part in [scaled[:, dy : dy + 80, dx : dx + 80]]
        for flip in (False, True)
    }
    views = train.loader.dataset
    seen = [windows[views[number, [0]][0].permute(2, 0, 1).contiguous().numpy().tobytes()] for number in range(60)]
    assert len(set(seen)) == 8


def test_pixels_are_altered_before_they_are_normalised(images):
    def alter(x):
        assert x.dtype == torch.uint8
        assert x.shape == (4, 80, 80, 3)
        return torch.full_like(x, 51)

    x, _ = next(images().train(alter).epoch(0))
    assert torch.allclose(x, torch.tensor(0.2))


def test_subsets(images):
    half = images("dataset.subset=classes", "train.batch_size=2")
    assert half.classes == ["ant", "bee"]
    assert [y.tolist() for _, y in half.eval_batches("train")] == [[0] * 6 + [1] * 6]
    half = images("dataset.subset=samples", "train.batch_size=2")
    assert [y.bincount().tolist() for _, y in half.eval_batches("train")] == [[3, 3, 3, 3]]
    assert len(half.eval_batches("test").y) == 12


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        ("dataset.crop=random", "dataset.keep_aspect=false"),
        ("dataset.crop=random_resized", "dataset.resize_first=true"),
        ("dataset.crop=random", "dataset.subset=samples"),
    ],
)
def test_the_store_gives_the_same_pixels(images, how):
    plain, stored = (images(f"machine.cache={cache}", *how) for cache in ("false", "true"))
    for split in ("train", "test"):
        for (a, _), (b, _) in zip(plain.eval_batches(split), stored.eval_batches(split), strict=True):
            assert torch.equal(a, b)
    for (a, u), (b, v) in zip(plain.train().epoch(3), stored.train().epoch(3), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(u, v)


def test_the_store_is_made_once_and_again_when_the_files_change(root, tmp_path, monkeypatch):
    paths = [str(path) for path in sorted((root / "test").rglob("*.jpg"))]
    make_store(tmp_path / "s", paths, [32, 32], 3, "one")
    monkeypatch.setattr("lls.data.image_store.decode", lambda *_: torch.zeros(3, 40, 40, dtype=torch.uint8))
    make_store(tmp_path / "s", paths, [32, 32], 3, "one")
    assert ImageStore(tmp_path / "s")[0].any()
    make_store(tmp_path / "s", paths, [32, 32], 3, "two")
    assert not ImageStore(tmp_path / "s")[0].any()


def test_a_store_that_was_not_finished_is_no_store(root, tmp_path):
    paths = [str(path) for path in sorted((root / "test").rglob("*.jpg"))]
    make_store(tmp_path / "s", paths, 32, 3, "one")
    (tmp_path / "s" / "index.json").unlink()
    (tmp_path / "s" / "pixels.bin").write_bytes(b"half")
    make_store(tmp_path / "s", paths, 32, 3, "one")
    store = ImageStore(tmp_path / "s")
    assert len(store) == 12
    assert torch.equal(store[8], F.resize(decode(paths[8], 3), 32))
    assert store[0].shape == (3, 32, 42)


@pytest.mark.parametrize("file", ["pixels.bin", "shapes.npy"])
def test_a_truncated_store_is_made_again(root, tmp_path, file):
    paths = [str(path) for path in sorted((root / "test").rglob("*.jpg"))]
    make_store(tmp_path / "s", paths, 32, 3, "one")
    whole = (tmp_path / "s" / file).read_bytes()
    (tmp_path / "s" / file).write_bytes(whole[: len(whole) // 2])
    make_store(tmp_path / "s", paths, 32, 3, "one")
    assert (tmp_path / "s" / file).read_bytes() == whole


def test_no_store_where_nothing_can_be_written(images, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    with pytest.raises(UserError, match=r"cache=true: .* can't be written .*cache=false does without"):
        images("machine.cache=true", "dataset.crop=random").train()


def test_a_full_disk_leaves_no_store(images, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lls.data.image_store.np.save", full)
    with pytest.raises(UserError, match=r"cache=true: .* can't be written .*No space left.*cache=false"):
        images("machine.cache=true", "dataset.crop=random").train()
    assert not list(tmp_path.glob("cache/*/*"))


# -- decoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decoding_is_pillows(tmp_path, mode, channels):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / f"image.{'jpg' if mode in ('RGB', 'L', 'CMYK') else 'png'}"
    Image.fromarray(noise).convert(mode).save(path)
    want = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB")).reshape(20, 30, channels)
    got = decode(str(path), channels)
    assert got.shape == (channels, 20, 30)
    exact = not (channels == 1 and mode in ("RGB", "CMYK"))  # of a colour JPEG, its own luminance is taken
    assert (got.permute(1, 2, 0).int() - torch.tensor(want).int()).abs().max() <= (1 if exact else 40)


@pytest.mark.parametrize("how", ["empty", "no image", "truncated", "missing", "16 bits"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_line_that_names_it(images, root, tmp_path, how, workers):
    broken = tmp_path / "images"
    for path in sorted(root.rglob("*.jpg")):
        (broken / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (broken / path.relative_to(root)).write_bytes(path.read_bytes())
    bad = broken / "train" / "bee" / "2.jpg"
    streamed = images(f"machine.workers={workers}", of=broken)
    whole, deep = bad.read_bytes(), BytesIO()
    Image.fromarray(np.full((90, 90), 40000, np.uint16)).save(deep, "PNG")
    bad.unlink() if how == "missing" else bad.write_bytes(
        {"empty": b"", "no image": b"no image", "truncated": whole[: len(whole) // 2], "16 bits": deep.getvalue()}[how]
    )
    with pytest.raises(UserError, match=r"bee/2\.jpg can't be read as an image") as refused:
        list(streamed.eval_batches("train"))
    assert "\n" not in str(refused.value)


def test_too_few_images(images):
    with pytest.raises(UserError, match=r"train\.batch_size=25: there are only 24 training images"):
        images("train.batch_size=25").train()


def test_a_run_on_large_images_stopped_and_resumed_ends_the_same(root, tmp_path, overrides, monkeypatch):
    """Two epochs with workers, stopped after the first and resumed without any, against an unbroken run."""
    from lls.runs.run import Run
    from lls.training.execute import execute

    def run(output, *more):
        keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=80", "dataset.stem=imagenet"]
        keys += [
            "network.width=0.125",
            "train.batch_size=9",
            "train.epochs=2",
            "augment=randaugment",
            *overrides,
            f"machine.output={output}",
        ]
        return Run(compose([*keys, *more]))

    whole = run(tmp_path / "whole", "machine.workers=2")
    execute(whole)
    broken = run(tmp_path / "broken", "machine.workers=1")
    from lls.training import loop as train

    def stop(*_):
        raise KeyboardInterrupt

    evaluate = train.evaluate
    calls = iter([evaluate, stop])
    monkeypatch.setattr(train, "evaluate", lambda *a: next(calls)(*a))
    with pytest.raises(KeyboardInterrupt):
        execute(broken)
    assert broken.epochs_done == 1
    monkeypatch.setattr(train, "evaluate", evaluate)
    execute(run(tmp_path / "broken", "machine.workers=0"))
    assert whole.id == broken.id

    def measured(run):
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: row[key] for key in ("loss", "top1", "nll")} for row in rows]

    assert measured(whole) == measured(broken)
    one, other = load(whole), load(broken)
    for name in ("network", "method"):
        assert one[name].keys() == other[name].keys()
        assert all(torch.equal(value, other[name][key]) for key, value in one[name].items())
