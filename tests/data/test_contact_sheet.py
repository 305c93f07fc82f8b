"""scripts/contact_sheet.py."""

import runpy

import pytest
import torch
from paths import ROOT
from PIL import Image

from lls.config.assemble import options
from lls.config.compose import compose
from lls.data.loaders import make_loaders
from lls.data.sources import find_source


@pytest.fixture
def contact_sheet():
    return runpy.run_path(str(ROOT / "scripts" / "contact_sheet.py"))


def test_a_contact_sheet_shows_the_same_images_in_all_rows(contact_sheet, overrides, data):
    cfg = compose(overrides)
    rows = contact_sheet["rows"](overrides)
    assert list(rows) == ["original", "none", *(name for name in options("augment") if name != "none")]
    train_x = make_loaders(cfg, find_source(cfg.dataset, data), torch.device("cpu")).images.train_x
    for image, uncovered in zip(rows["original"], rows["cutout"] == rows["none"], strict=True):
        assert (train_x == image).flatten(1).all(1).any()
        assert 0.7 < uncovered.float().mean() < 1
    assert {row.shape for row in rows.values()} == {(16, 32, 32, 1)}
    assert not any(torch.equal(rows["none"], row) for name, row in rows.items() if name not in ("none", "original"))


def test_a_contact_sheet_of_one_augmentation(run_script, overrides, tmp_path):
    path = tmp_path / "new" / "sheet.png"
    line = ["--out", path, "augment=cutout", "augment.length=3", "seed=1", *overrides]
    status, output, _ = run_script("contact_sheet.py", *line)
    assert (status or 0, output.strip()) == (0, str(path))
    assert path.stat().st_size < 400_000
    with Image.open(path) as picture:
        assert picture.size == (108 + 16 * 66, 2 * 66 + 2)  # the originals and cutout
