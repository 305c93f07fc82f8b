"""RandAugment's operations on whole batches: torchvision's functions at torchvision's strengths, each run once on all
the images that drew it.

Images that are moved get black where there is nothing; grey ones are left as they are by Color, as in torchvision.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

Operation = Callable[[Tensor], Tensor]
STRENGTHS = 31  # evenly from none at all to the strongest


@cache
def operations(m: int, height: int, width: int) -> dict[str, tuple[Operation, Operation]]:
    """The fourteen operations on uint8 `[B, C, height, width]` at strength m of 0 to 30, by torchvision's names: each
    with plus and with minus as its sign, or twice the same where it has none."""
    from torchvision.transforms.v2 import functional as tv

    def strength(weakest: float, strongest: float) -> float:
        return torch.linspace(weakest, strongest, STRENGTHS)[m].item()

    def signed(operation: Callable[[float, Tensor], Tensor], strongest: float) -> tuple[Operation, Operation]:
        by = strength(0, strongest)
        return partial(operation, by), partial(operation, -by)

    def unsigned(operation: Operation) -> tuple[Operation, Operation]:
        return operation, operation

    def degrees(slope: float) -> float:
        return math.degrees(math.atan(slope))

    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    bits, threshold = 8 - round(m / (STRENGTHS - 1) * 4), 255 * strength(1, 0)
    return {
        "Identity": unsigned(lambda x: x),
        "ShearX": signed(lambda by, x: tv.affine(x, **still | {"shear": [degrees(by), 0.0]}, center=[0, 0]), 0.3),
        "ShearY": signed(lambda by, x: tv.affine(x, **still | {"shear": [0.0, degrees(by)]}, center=[0, 0]), 0.3),
        "TranslateX": signed(lambda by, x: tv.affine(x, **still | {"translate": [int(by), 0]}), 150 / 331 * width),
        "TranslateY": signed(lambda by, x: tv.affine(x, **still | {"translate": [0, int(by)]}), 150 / 331 * height),
        "Rotate": signed(lambda by, x: tv.rotate(x, by), 30),
        "Brightness": signed(lambda by, x: tv.adjust_brightness(x, 1 + by), 0.9),
        "Color": signed(lambda by, x: tv.adjust_saturation(x, 1 + by), 0.9),
        "Contrast": signed(lambda by, x: tv.adjust_contrast(x, 1 + by), 0.9),
        "Sharpness": signed(lambda by, x: tv.adjust_sharpness(x, 1 + by), 0.9),
        "Posterize": unsigned(lambda x: tv.posterize(x, bits)),
        "Solarize": unsigned(lambda x: tv.solarize(x, threshold)),
        "AutoContrast": unsigned(tv.autocontrast),
        "Equalize": unsigned(tv.equalize),
    }


def rand_augment(x: Tensor, n: int, m: int) -> Tensor:
    """uint8 `[B, H, W, C]` to the same: n operations on each image, each as likely as the others, and so are its signs.

    Each round sorts the batch by operation. In which order, and where a group ends, is known on the CPU, so that
    nothing here asks the device; torchvision's affine and sharpness do, for tensors of a few numbers."""
    batch, height, width, _ = x.shape
    either = [operation for pair in operations(m, height, width).values() for operation in pair]
    first = torch.tensor([either.index(operation) for operation in either])  # one group for what has no sign
    drawn = first[torch.randint(len(either), (n, batch))]
    order = drawn.argsort(dim=1)
    as_it_came = torch.arange(batch)[None]
    place = torch.cat([as_it_came, order.argsort(dim=1)])  # where each image is, before a round and after the last
    moves = place.gather(1, torch.cat([order, as_it_came])).to(x.device, non_blocking=True)
    for k in range(n):
        sizes = drawn[k].bincount(minlength=len(either)).tolist()
        groups = x.index_select(0, moves[k]).permute(0, 3, 1, 2).split(sizes)
        done = [operation(group) for operation, group in zip(either, groups, strict=True) if len(group)]
        x = torch.cat([group.permute(0, 2, 3, 1) for group in done])
    return x.index_select(0, moves[n])
