"""Every data set trains: from archives as they are distributed to a finished run, by the command a user types."""

import json
from collections import Counter

import pytest
from archives import write

from lls.config.assemble import options
from lls.config.compose import compose
from lls.data.sources import find_source
from lls.runs.run import Run

NAMES = sorted(set(options("dataset")) - {"digits", "imagefolder"})
TINY = ("network=timm", "network.model=test_resnet", "network.weights=null")  # the data are the point here
FASTER = {
    "cifar100": TINY,
    "tinyimagenet": TINY,
    "animals10n": TINY,
    **dict.fromkeys(("cub200", "flowers102", "imagenet100"), ("dataset.size=72", "dataset.resize=80", *TINY)),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_from_the_distributed_archives(name, tmp_path, monkeypatch, train_py):
    counts = write(name, tmp_path / "data", monkeypatch)
    keys = [f"dataset={name}", f"machine.data={tmp_path}/data", f"machine.output={tmp_path}", "machine.device=cpu"]
    keys += [
        "machine.wandb=disabled",
        "machine.workers=1",
        "train.epochs=1",
        "train.batch_size=10",
        *FASTER.get(name, ()),
    ]
    if counts.test.total > 150:  # drawing a Q of so many classes would take longer than all the rest
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
    assert {sum(map(int, line[1:])) for line in confusion} == {counts.test.each}  # every class's test images
    assert f"done: top-1 {result['top1']:.2f} %" in out


@pytest.mark.parametrize("name", ["cub200", "tinyimagenet"])
def test_what_a_network_sees_has_the_label_of_its_file(name, tmp_path, monkeypatch):
    """Through unpacking, listing, decoding, shuffling and augmenting: the colour of an image tells its label."""
    import torch
    from archives import label_of

    from lls.data.loaders import make_loaders

    write(name, tmp_path, monkeypatch)
    keys = [f"dataset={name}", f"machine.data={tmp_path}", "train.batch_size=50", "machine.workers=1"]
    cfg = compose([*keys, *FASTER[name]] if name == "cub200" else [*keys, "dataset.crop_padding=0"])
    mean, std = (torch.tensor(list(part)) for part in (cfg.dataset.mean, cfg.dataset.std))
    seen = Counter()
    for x, y in make_loaders(cfg, find_source(cfg.dataset, tmp_path), torch.device("cpu")).train().epoch(0):
        pixels = ((x.permute(0, 2, 3, 1) * std + mean) * 255).round()
        told = [label_of(image) for image in pixels]
        coloured = [i for i, image in enumerate(pixels) if (image[0, 0, 2] - 128).abs() < 8 and y[i] > 1]
        assert len(coloured) > 0.9 * len(y)
        assert [told[i] for i in coloured] == y[coloured].tolist()
        seen.update(y.tolist())
    assert len(seen) == 200
    assert set(seen.values()) == {2}
