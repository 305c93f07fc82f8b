"""Draw sixteen training images as the network sees them.

python scripts/contact_sheet.py [dataset=cifar10 augment=mixup ...]

The first row has the original images. Each further row has an augmentation: the given one, or all of them. The images
are the first of an epoch's first batch, cropped and flipped as in training, and mixed with images of the whole batch.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lls.config.assemble import options
from lls.config.compose import compose
from lls.errors import UserError, run_script

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from PIL.Image import Image
    from torch import Tensor

    from lls.data.loaders import InMemoryData, StreamingData


IMAGES, TILE, GAP, MARGIN = 16, 64, 2, 108
LARGEST = 400_000  # bytes; a larger sheet gets a palette of 256 colours
SEED = "seed=36"  # default seed: Mixup and CutMix visibly mix its first batch


def rows(overrides: list[str]) -> "dict[str, Tensor]":
    """Return the rows' names and images, uint8 `[16, H, W, C]`. All rows show the same sixteen images."""
    from lls.data.loaders import make_loaders
    from lls.data.sources import find_source
    from lls.device import select_device

    requested = [text.partition("=")[2] for text in overrides if text.startswith("augment=")]
    others = [text for text in overrides if not text.startswith("augment=")]
    names = requested or sorted(options("augment"), key=lambda name: name != "none")
    cfgs = {name: compose([SEED, f"augment={name}", *others]) for name in names}
    cfg, unaugmented = cfgs[names[0]], _unchanged(cfgs[names[0]])
    source, device = find_source(cfg.dataset, Path(cfg.machine.data)), select_device(cfg.machine.device)
    with make_loaders(unaugmented, source, device) as images:
        originals = {"original": _first(unaugmented, images)}
    with make_loaders(cfg, source, device) as images:
        return originals | {name: _first(cfgs[name], images) for name in names}


def _unchanged(cfg: "DictConfig") -> "DictConfig":
    """Return the configuration without augmentation, crop and flip: an epoch then has the original images."""
    from lls.config.ranges import IN_MEMORY_SIDE

    cfg = cfg.copy()
    cfg.augment = {"name": "none"}
    cfg.dataset.flip, cfg.dataset.crop_padding = False, 0
    if cfg.dataset.size > IN_MEMORY_SIDE:
        cfg.dataset.update({"crop": "random", "resize": cfg.dataset.size, "keep_aspect": False})
    return cfg


def _first(cfg: "DictConfig", images: "InMemoryData | StreamingData") -> "Tensor":
    """Return the network's first input images, with the normalisation undone."""
    import torch

    from lls.training.build import build_augmentation

    torch.manual_seed(cfg.seed)
    augmentation = build_augmentation(cfg.augment)
    x, y = next(images.train(augmentation.pixels).epoch(0))
    x = augmentation.mix(x, y)[0][:IMAGES].permute(0, 2, 3, 1).cpu()
    mean, std = torch.tensor(list(cfg.dataset.mean)), torch.tensor(list(cfg.dataset.std))
    return ((x * std + mean) * 255).round().clamp(0, 255).byte()


def sheet(images_by_row: "dict[str, Tensor]") -> "Image":
    """Return a picture of the rows and their names, with images 64 pixels wide."""
    from PIL import Image, ImageDraw, ImageFont

    step, font = TILE + GAP, ImageFont.load_default(15)
    picture = Image.new("RGB", (MARGIN + IMAGES * step, len(images_by_row) * step + GAP), "white")
    for row, (name, images) in enumerate(images_by_row.items()):
        middle = GAP + row * step + TILE // 2
        ImageDraw.Draw(picture).text((MARGIN - 8, middle), name, "black", font, anchor="rm")
        for column, image in enumerate(images):
            tile = Image.fromarray(image.expand(-1, -1, 3).numpy())
            smooth = Image.Resampling.NEAREST if TILE % tile.width == 0 else Image.Resampling.LANCZOS
            picture.paste(tile.resize((TILE, TILE), smooth), (MARGIN + column * step, GAP + row * step))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as of train.py: dataset=..., augment=..., seed=...")
    parser.add_argument("--out", type=Path, help="the PNG to write (default: outputs/figures/augment-<dataset>.png)")
    arguments = parser.parse_args()
    out = arguments.out or Path("outputs") / "figures" / f"augment-{compose(arguments.overrides).dataset.name}.png"
    picture = sheet(rows(arguments.overrides))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out, "PNG", optimize=True)
        if out.stat().st_size > LARGEST:
            picture.quantize(palette=picture.quantize(256)).save(out, "PNG", optimize=True)  # with dithering
    except OSError as error:
        raise UserError(f"--out {out}: {error}") from None
    print(out)


if __name__ == "__main__":
    run_script(main)
