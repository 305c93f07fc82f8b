"""Build the objects that a configuration names: method, network, augmentation, training step.

A yaml file names a module or a function of this package. Its other keys are the arguments. Adding one needs no entry in
a registry, and no configuration can name code outside lls/methods, lls/networks/models.py and lls/data/augment.py.
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
    """Build the Method of configs/method/<name>.yaml with the yaml's other keys as arguments.

    `teacher`, and `q` beside it, are not passed: lls/training/teacher.py gives the method its teacher.
    Raises UserError if there is no such method, or if it refuses a value."""
    keys = OmegaConf.to_container(cfg, resolve=True)
    name = keys.pop("name", "")
    has_teacher = keys.pop("teacher", None) is not None
    if has_teacher:
        keys.pop("q", None)
    if not re.fullmatch(r"[a-z]\w*", name):
        raise UserError(f"method.name={name}: not the name of a Python module; give the name of a file in lls/methods")
    try:
        module = importlib.import_module(f"lls.methods.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lls.methods.{name}":
            raise
        raise UserError(f"method.name={name}: there is no lls/methods/{name}.py") from None
    if unused := [key for key in ("weight", "ignore_index") if key in keys]:
        raise UserError(f"method.{unused[0]}: is for calls of the loss in other code; remove the key")
    method = call(_method_class(module), "method", num_classes=num_classes, **keys)
    if method.reduction == "none":
        raise UserError("method.reduction=none: training needs a loss of one number; use mean or sum")
    if has_teacher and type(method).set_teacher is Method.set_teacher:
        raise UserError(f"method.teacher: {type(method).__name__} of lls/methods/{name}.py has no set_teacher")
    return method


def build_method_for(net: Network, cfg: DictConfig, num_classes: int) -> Method:
    """Build a method as `build_method` does, and prepare it for a network. Raises UserError if it does not fit."""
    method = build_method(cfg, num_classes)
    try:
        method.prepare(net)
    except ValueError as error:
        raise UserError(f"method.{error}") from None
    return method


def build_network(cfg: DictConfig, num_classes: int, channels: int, size: int) -> Network:
    """Build the network of configs/network/<name>.yaml for images `[channels, size, size]`, with random weights.

    `network.weights` is ignored: lls/networks/pretrained.py loads pretrained weights.
    Raises UserError if there is no such network, or if it refuses a value."""
    from lls.networks import models

    keys = OmegaConf.to_container(cfg, resolve=True)
    keys.pop("name")
    keys.pop("weights", None)
    builder = public_function(models, keys.pop("family"), "network.family")
    return call(builder, "network", num_classes=num_classes, channels=channels, size=size, **keys)


def build_augmentation(cfg: DictConfig) -> Augmentation:
    """Build the augmentation of configs/augment/<name>.yaml with the yaml's other keys as arguments.

    Raises UserError if there is no such augmentation, or if it refuses a value."""
    from lls.data import augment

    keys = OmegaConf.to_container(cfg, resolve=True)
    return call(public_function(augment, keys.pop("name"), "augment.name"), "augment", **keys)


def build_step(cfg: DictConfig, net: Network, method: Method, compute: ComputeSettings, device: torch.device) -> Step:
    """Move network and method to the device, and build their training step with SGD (Appendix I of the paper)."""
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
    step_class = CUDAGraphStep if compute.graph else Step
    return step_class(
        net, method, optimizer, precision=compute.precision, compile=compute.compile, clip_norm=train.clip_norm
    )


def _method_class(module: ModuleType) -> type[Method]:
    """Return the one subclass of Method that the module defines."""
    classes = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Method) and member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} must define one subclass of Method, not {len(classes)}")
    return classes[0]
