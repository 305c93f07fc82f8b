"""Layers as a CPU computes them fastest: the same functions of the same parameters as PyTorch's, computed otherwise.

`place` has a network on a CPU use them. What does not suit them (another device, bfloat16, what is traced or compiled,
a shape for which it would not pay) they leave to PyTorch. They are differentiable once, a gradient at a time. What is
done to a whole network (conversion to other layers, symbolic tracing) is to be done before.
"""

import sys
from copy import copy
from itertools import pairwise

import torch
from torch import nn

from lls.layers import convolution, norm, pooling
from lls.layers.convolution import Conv2d
from lls.layers.norm import BatchNormReLU
from lls.layers.pooling import MaxPoolReLU


def place(net: nn.Module, device: torch.device) -> nn.Module:
    """Move `net` to a device, in the form in which it is fastest there. Its parameters keep their names."""
    net.to(device, memory_format=torch.channels_last)
    if device.type == "cpu":
        for module in [*net.modules()]:
            _quicken(module)
    return net


def _quicken(module: nn.Module) -> None:
    """Have a layer, block or sequence of them be of the faster class, where there is one."""
    if type(module) is nn.Conv2d and convolution.usual(module):
        module.__class__ = Conv2d
    elif "torchvision.models.resnet" in sys.modules:  # who has not imported it, which takes a second, has no such block
        from lls.layers import residual

        if residual.usual(module) and not any(map(_watched, module.modules())):
            module.__class__ = residual.FASTER[type(module)]
    if type(module) is nn.Sequential:
        for i, (layer, after) in enumerate(pairwise([*module])):
            faster = _with_relu(layer) if type(after) is nn.ReLU else None
            if faster and not (_watched(layer) or _watched(after)):
                both = copy(layer)  # which may have another place too, without a ReLU
                both.__class__ = faster
                module[i], module[i + 1] = both, nn.Identity()


def _with_relu(layer: nn.Module) -> type[nn.Module] | None:
    """What is both this layer and the ReLU after it."""
    if type(layer) is nn.MaxPool2d and pooling.halves(layer):
        return MaxPoolReLU
    return BatchNormReLU if norm.usual(layer) else None


def _watched(module: nn.Module) -> bool:
    """Whether hooks wait for what goes through it, of which there will be no more, or something else."""
    return bool(
        module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks
    )
