"""From a configuration to the objects it names: method, network, augmentation, step.

A yaml names a module or a function of this package and gives its other keys. No registry is edited to add one, and no
config, wherever it comes from, can name code outside these places.
"""

import importlib
import inspect
import re
from types import ModuleType

import torch
from omegaconf import DictConfig, OmegaConf

from lls.config.lookup import call, public_function
from lls.data.augment import Augmentation
from lls.device import ComputeSettings
from lls.errors import UserError
from lls.methods.base import Method
from lls.networks.models import Network
from lls.training.cuda_graph import CUDAGraphStep
from lls.training.step import Step


def build_method(cfg: DictConfig, num_classes: int) -> Method:
    """The Method that configs/method/<name>.yaml names, with its other keys, except those that say who teaches it:
    `set_teacher` gives it that (lls/training/teacher.py). UserError for a value it refuses."""
    keys = OmegaConf.to_container(cfg, resolve=True)
    name = keys.pop("name", "")
    taught = keys.pop("teacher", None) is not None
    if taught:
        keys.pop("q", None)
    if not re.fullmatch(r"[a-z]\w*", name):
        raise UserError(f"method.name={name}: not a name")
    try:
        module = importlib.import_module(f"lls.methods.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lls.methods.{name}":
            raise
        raise UserError(f"method.name={name}: there is no lls/methods/{name}.py") from None
    method = call(_method_class(module), "method", num_classes=num_classes, **keys)
    if taught and type(method).set_teacher is Method.set_teacher:
        raise UserError(f"method.teacher: {type(method).__name__} of lls/methods/{name}.py has no set_teacher")
    return method


def build_network(cfg: DictConfig, num_classes: int, channels: int, size: int) -> Network:
    """The network of configs/network/<name>.yaml for images `[channels, size, size]`, with random weights, whatever it
    is to start from (lls/networks/pretrained.py). UserError where it can't be."""
    from lls.networks import models as networks

    keys = OmegaConf.to_container(cfg, resolve=True)
    keys.pop("name")
    keys.pop("weights", None)
    builder = public_function(networks, keys.pop("family"), "network.family")
    return call(builder, "network", num_classes=num_classes, channels=channels, size=size, **keys)


def build_augmentation(cfg: DictConfig) -> Augmentation:
    """The augmentation of configs/augment/<name>.yaml, with its other keys. UserError for a value it refuses."""
    from lls.data import augment

    keys = OmegaConf.to_container(cfg, resolve=True)
    return call(public_function(augment, keys.pop("name"), "augment.name"), "augment", **keys)


def _method_class(module: ModuleType) -> type[Method]:
    own = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Method) and c.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} must define one Method, not {len(own)}")
    return own[0]


def build_step(cfg: DictConfig, net: Network, method: Method, compute: ComputeSettings, device: torch.device) -> Step:
    """The step of a configuration's run: network and method go to the device, with SGD as Appendix I has it."""
    net.to(device, memory_format=torch.channels_last)
    method.to(device)
    train = cfg.train
    optimizer = torch.optim.SGD(
        [{"params": list(net.parameters())}, *method.param_groups(train.weight_decay)],
        lr=train.lr,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        nesterov=train.nesterov,
        fused=True,
    )
    kind = CUDAGraphStep if compute.graph else Step
    return kind(net, method, optimizer, precision=compute.precision, compile=compute.compile, clip_norm=train.clip_norm)
