"""Large images: what workers decode and cut, whatever their number, and the store of images scaled once."""

import json
import multiprocessing
from io import BytesIO

import numpy as np
import pytest
import torch
from interrupt import interrupt_after
from PIL import Image
from torchvision.transforms.v2 import functional as F

from lls.config.compose import compose
from lls.data.image_store import decode
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.data.streaming import StreamedTest, StreamedTrain, geometry
from lls.errors import UserError
from lls.runs.run import Run
from lls.training.checkpoint import load
from lls.training.execute import execute


def pixels(x):
    """Return uint8 pixels from the network's input (mean 0, std 1)."""
    return (x * 255).round().to(torch.uint8)


def test_large_images_are_streamed_and_small_ones_are_in_memory(images):
    streamed = images()
    assert isinstance(streamed.train(), StreamedTrain)
    assert isinstance(streamed.eval_batches("test"), StreamedTest)
    in_memory = images("dataset.size=64")
    assert next(iter(in_memory.eval_batches("test")))[0].shape == (12, 3, 64, 64)
    assert in_memory.classes == streamed.classes == ["ant", "bee", "cow", "dog"]


@pytest.mark.parametrize("keep_aspect", ["true", "false"])
def test_test_images_are_torchvisions_resize_and_centre_crop(images, root, keep_aspect):
    test = images("dataset.resize=90", f"dataset.keep_aspect={keep_aspect}").eval_batches("test")
    ((x, y),) = test
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.tolist() == [c for c in range(4) for _ in range(3)]
    for i, path in enumerate(sorted((root / "test").rglob("*.jpg"))):
        scaled = F.resize(F.pil_to_tensor(Image.open(path)), 90 if keep_aspect == "true" else [90, 90])
        assert torch.equal(pixels(x[i]), F.center_crop(scaled, 80))


def test_the_default_crop_is_224_of_256():
    assert geometry(compose(["dataset=imagefolder", "dataset.root=x", "dataset.size=224"]).dataset)[:5] == (
        *(224, "random_resized", 256, True),
        False,
    )
    assert geometry(compose(["dataset=cub200"]).dataset)[:5] == (224, "random", 256, False, False)
    assert geometry(compose(["dataset=imagenet100"]).dataset)[:5] == (224, "random_resized", 256, True, False)


@pytest.mark.parametrize("crop", ["random", "random_resized"])
def test_an_epoch_depends_on_seed_and_epoch_but_not_on_the_number_of_workers(images, crop):
    def epoch(number, *overrides):
        train = images(f"dataset.crop={crop}", *overrides).train()
        return [(pixels(x), y) for x, y in train.epoch(number)]

    def same(a, b):
        return all(torch.equal(p, q) for one, other in zip(a, b, strict=True) for p, q in zip(one, other, strict=True))

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = epoch(0)
    assert torch.equal(torch.rand(2), expected)  # the run's generator did not change
    assert [len(y) for _, y in first] == [4] * 6
    assert same(first, epoch(0, "machine.workers=2"))
    assert not same(first, epoch(1))
    assert not same(first, epoch(0, "seed=1"))


def test_an_epoch_has_no_image_twice_and_correct_labels(images):
    train = images("machine.workers=1", "dataset.crop=random").train()
    for number in range(2):  # the workers persist
        x, y = (torch.cat(part) for part in zip(*train.epoch(number), strict=True))
        reds = 255 * x[:, 0].mean((1, 2))
        colour = (x[:, 0] - x[:, 1]).abs().mean((1, 2)) > 0.01  # grey images do not show their class
        assert (reds[colour] - 50 - 50 * y[colour]).abs().max() < 20
        assert y.bincount().max() <= 6


def test_workers_end_with_the_context(large_images, tmp_path):
    cfg = large_images("machine.workers=1")
    others = set(multiprocessing.active_children())
    with make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")) as images:
        train, test = images.train(), images.eval_batches("test")
        next(train.epoch(0)), list(test)
        assert len(set(multiprocessing.active_children()) - others) == 2
        train.close()
        assert len(set(multiprocessing.active_children()) - others) == 1
        assert len(list(train.epoch(1))) == 6  # by a new worker
    assert set(multiprocessing.active_children()) <= others


def test_flips_and_crops_are_drawn_for_each_image(images, root):
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
    dataset = train.loader.dataset
    drawn = [windows[dataset[number, [0]][0].permute(2, 0, 1).contiguous().numpy().tobytes()] for number in range(60)]
    assert len(set(drawn)) == 8


def test_pixels_change_before_normalisation(images):
    def alter(x):
        assert x.dtype == torch.uint8
        assert x.shape == (4, 80, 80, 3)
        return torch.full_like(x, 51)

    x, _ = next(images().train(alter).epoch(0))
    assert torch.allclose(x, torch.tensor(0.2))


def test_subsets_of_large_images(images):
    half = images("dataset.subset=classes", "train.batch_size=2")
    assert half.classes == ["ant", "bee"]
    assert [y.tolist() for _, y in half.eval_batches("train")] == [[0] * 6 + [1] * 6]
    half = images("dataset.subset=samples", "train.batch_size=2")
    assert [y.bincount().tolist() for _, y in half.eval_batches("train")] == [[3, 3, 3, 3]]
    assert len(half.eval_batches("test").y) == 12


# -- decoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decoding_equals_pillow(tmp_path, mode, channels):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / f"image.{'jpg' if mode in ('RGB', 'L', 'CMYK') else 'png'}"
    Image.fromarray(noise).convert(mode).save(path)
    expected = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB")).reshape(20, 30, channels)
    actual = decode(str(path), channels)
    assert actual.shape == (channels, 20, 30)
    exact = not (channels == 1 and mode in ("RGB", "CMYK"))  # a colour JPEG's luminance is taken as stored
    assert (actual.permute(1, 2, 0).int() - torch.tensor(expected).int()).abs().max() <= (1 if exact else 40)


@pytest.mark.parametrize("defect", ["empty", "no image", "truncated", "missing", "16 bits"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line(images, root, tmp_path, defect, workers):
    broken = tmp_path / "images"
    for path in sorted(root.rglob("*.jpg")):
        (broken / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (broken / path.relative_to(root)).write_bytes(path.read_bytes())
    bad = broken / "train" / "bee" / "2.jpg"
    streamed = images(f"machine.workers={workers}", folder=broken)
    content, deep = bad.read_bytes(), BytesIO()
    Image.fromarray(np.full((90, 90), 40000, np.uint16)).save(deep, "PNG")
    contents = {"empty": b"", "no image": b"no image", "16 bits": deep.getvalue()}
    contents["truncated"] = content[: len(content) // 2]
    bad.unlink() if defect == "missing" else bad.write_bytes(contents[defect])
    with pytest.raises(UserError, match=r"bee/2\.jpg can't be read as an image") as refused:
        list(streamed.eval_batches("train"))
    assert "\n" not in str(refused.value)


def test_fewer_large_images_than_a_batch_are_refused(images):
    with pytest.raises(UserError, match=r"train\.batch_size=25: there are only 24 training images"):
        images("train.batch_size=25").train()


def test_a_resumed_run_on_large_images_equals_an_uninterrupted_one(root, tmp_path, overrides):
    """Two epochs with workers, interrupted after the first and resumed without workers."""

    def run_of(output, *more):
        keys = ["dataset=imagefolder", f"dataset.root={root}", "dataset.size=80", "dataset.stem=imagenet"]
        keys += ["network.width=0.125", "train.batch_size=9", "train.epochs=2", "augment=randaugment"]
        return Run(compose([*keys, *overrides, f"machine.output={output}", *more]))

    def measures(run):
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: row[key] for key in ("loss", "top1", "nll")} for row in rows]

    uninterrupted = run_of(tmp_path / "uninterrupted", "machine.workers=2")
    execute(uninterrupted)
    interrupt_after(1, run_of(tmp_path / "interrupted", "machine.workers=1"))
    resumed = run_of(tmp_path / "interrupted", "machine.workers=0")
    execute(resumed)
    assert resumed.id == uninterrupted.id
    assert measures(resumed) == measures(uninterrupted)
    expected, actual = load(uninterrupted), load(resumed)
    for name in ("network", "method"):
        assert actual[name].keys() == expected[name].keys()
        assert all(torch.equal(value, actual[name][key]) for key, value in expected[name].items())
