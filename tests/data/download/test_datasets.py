"""All data sets train, from their archives to a finished run, with the command that a user types."""

import json
from collections import Counter

import pytest
import torch
from archives import label_of, write

from lls.config.compose import compose
from lls.data.download import published
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.runs.run import Run

NAMES = sorted({name.partition("_")[0] for name in published.COUNTS} - {"digits"})
SMALL_NETWORK = ("network=timm", "network.model=test_resnet", "network.weights=null")
FASTER = {  # overrides that make a run faster: these tests are about the data
    "cifar100": SMALL_NETWORK,
    "tinyimagenet": SMALL_NETWORK,
    "animals10n": SMALL_NETWORK,
    **dict.fromkeys(("cub200", "flowers102", "imagenet100"), ("dataset.size=72", "dataset.resize=80", *SMALL_NETWORK)),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_one_epoch_reads_the_archives(name, tmp_path, monkeypatch, train_py):
    counts = write(name, tmp_path / "data", monkeypatch)
    keys = [f"dataset={name}", f"machine.data={tmp_path}/data", f"machine.output={tmp_path}", "machine.device=cpu"]
    keys += [
        "machine.wandb=disabled",
        "machine.workers=1",
        "train.epochs=1",
        "train.batch_size=10",
        *FASTER.get(name, ()),
    ]
    if counts.test.total > 150:  # plotting Q takes long for many classes
        keys.append("method=onehot")
    status, out, err = train_py(*keys)
    assert (status, err) == (0, ""), err

    run = Run(compose(keys))
    result, (row,) = run.result, [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert result["epochs"] == row["epoch"] == 1
    source = find_source(run.cfg.dataset, tmp_path / "data")
    classes = source.files().classes if source.files else source.read().classes
    header, *confusion = [line.split(",") for line in (run.folder / "confusion.csv").read_text().splitlines()]
    assert header[1:] == [line[0] for line in confusion] == classes
    assert len(classes) == run.cfg.dataset.num_classes
    assert {sum(map(int, line[1:])) for line in confusion} == {counts.test.per_class}  # test images of each class
    assert f"done: top-1 {result['top1']:.2f} %" in out


@pytest.mark.parametrize("name", ["cub200", "tinyimagenet"])
def test_augmented_images_have_the_label_of_their_file(name, tmp_path, monkeypatch):
    """The colour of an image gives its label after unpacking, listing, decoding, shuffling and augmentation."""
    write(name, tmp_path, monkeypatch)
    keys = [f"dataset={name}", f"machine.data={tmp_path}", "train.batch_size=50", "machine.workers=1"]
    cfg = compose([*keys, *FASTER[name]] if name == "cub200" else [*keys, "dataset.crop_padding=0"])
    mean, std = (torch.tensor(list(part)) for part in (cfg.dataset.mean, cfg.dataset.std))
    label_counts = Counter()
    for x, y in make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")).train().epoch(0):
        pixels = ((x.permute(0, 2, 3, 1) * std + mean) * 255).round()
        labels = [label_of(image) for image in pixels]
        coloured = [i for i, image in enumerate(pixels) if (image[0, 0, 2] - 128).abs() < 8 and y[i] > 1]
        assert len(coloured) > 0.9 * len(y)
        assert [labels[i] for i in coloured] == y[coloured].tolist()
        label_counts.update(y.tolist())
    assert len(label_counts) == 200
    assert set(label_counts.values()) == {2}
