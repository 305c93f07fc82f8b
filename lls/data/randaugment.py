"""RandAugment on whole batches: torchvision's functions, each run once on all images that drew it.

The strengths are torchvision's. Moved images get black where they have no pixels. Color leaves grey images as they are,
as in torchvision.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

Operation = Callable[[Tensor], Tensor]
STRENGTHS = 31  # evenly spaced from no change to the strongest


@cache
def operations(m: int, height: int, width: int) -> dict[str, tuple[Operation, Operation]]:
    """Return the fourteen operations at strength m (0 to 30) by torchvision's names, as (positive, negative) pairs.

    The operations take and return uint8 `[B, C, height, width]`. Both halves of a pair are the same without a sign.
    """
    from torchvision.transforms.v2 import functional as tv

    def strength(weakest: float, strongest: float) -> float:
        return torch.linspace(weakest, strongest, STRENGTHS)[m].item()

    def signed(operation: Callable[[float, Tensor], Tensor], strongest: float) -> tuple[Operation, Operation]:
        value = strength(0, strongest)
        return partial(operation, value), partial(operation, -value)

    def unsigned(operation: Operation) -> tuple[Operation, Operation]:
        return operation, operation

    def degrees(slope: float) -> float:
        return math.degrees(math.atan(slope))

    identity = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    bits, threshold = 8 - round(m / (STRENGTHS - 1) * 4), 255 * strength(1, 0)
    return {
        "Identity": unsigned(lambda x: x),
        "ShearX": signed(lambda v, x: tv.affine(x, **identity | {"shear": [degrees(v), 0.0]}, center=[0, 0]), 0.3),
        "ShearY": signed(lambda v, x: tv.affine(x, **identity | {"shear": [0.0, degrees(v)]}, center=[0, 0]), 0.3),
        "TranslateX": signed(lambda v, x: tv.affine(x, **identity | {"translate": [int(v), 0]}), 150 / 331 * width),
        "TranslateY": signed(lambda v, x: tv.affine(x, **identity | {"translate": [0, int(v)]}), 150 / 331 * height),
        "Rotate": signed(lambda v, x: tv.rotate(x, v), 30),
        "Brightness": signed(lambda v, x: tv.adjust_brightness(x, 1 + v), 0.9),
        "Color": signed(lambda v, x: tv.adjust_saturation(x, 1 + v), 0.9),
        "Contrast": signed(lambda v, x: tv.adjust_contrast(x, 1 + v), 0.9),
        "Sharpness": signed(lambda v, x: tv.adjust_sharpness(x, 1 + v), 0.9),
        "Posterize": unsigned(lambda x: tv.posterize(x, bits)),
        "Solarize": unsigned(lambda x: tv.solarize(x, threshold)),
        "AutoContrast": unsigned(tv.autocontrast),
        "Equalize": unsigned(tv.equalize),
    }


def rand_augment(x: Tensor, n: int, m: int) -> Tensor:
    """Apply n random operations to each image, uint8 `[B, H, W, C]` to the same.

    All operations and signs are equally likely. Each round sorts the batch by operation. The order and the sizes of the
    groups are known on the CPU, so that this function does not synchronise with the device. torchvision's affine and
    sharpness do, for tensors of a few numbers.
    """
    batch, height, width, _ = x.shape
    signed_operations = [operation for pair in operations(m, height, width).values() for operation in pair]
    first = torch.tensor(
        [signed_operations.index(operation) for operation in signed_operations]
    )  # the two signs of an operation without a sign are one group
    draws = first[torch.randint(len(signed_operations), (n, batch))]
    order = draws.argsort(dim=1)
    original_order = torch.arange(batch)[None]
    position = torch.cat([original_order, order.argsort(dim=1)])  # of each image before each round and after the last
    moves = position.gather(1, torch.cat([order, original_order])).to(x.device, non_blocking=True)
    for k in range(n):
        sizes = draws[k].bincount(minlength=len(signed_operations)).tolist()
        groups = x.index_select(0, moves[k]).permute(0, 3, 1, 2).split(sizes)
        results = [operation(group) for operation, group in zip(signed_operations, groups, strict=True) if len(group)]
        x = torch.cat([group.permute(0, 2, 3, 1) for group in results])
    return x.index_select(0, moves[n])
