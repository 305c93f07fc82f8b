"""Images in the CPU's memory in channels_last: pixel by pixel, the channels of each together."""

import torch
from torch import Tensor

from lls import native


def suits(x: Tensor) -> bool:
    """Whether x `[N, C, H, W]` is float32, is to stay so, and lies in the CPU's memory in channels_last."""
    return (
        native.plain(x)
        and not torch.is_autocast_enabled("cpu")
        and x.dim() == 4
        and x.permute(0, 2, 3, 1).is_contiguous()
    )


def empty(*shape: int) -> Tensor:
    """Memory for float32 `[N, C, H, W]`, in channels_last."""
    return torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)


def in_order(x: Tensor) -> Tensor:
    """x, copied to where it lies in channels_last, and with its own sign, if it does not."""
    return x.permute(0, 2, 3, 1).contiguous().resolve_neg().permute(0, 3, 1, 2)
