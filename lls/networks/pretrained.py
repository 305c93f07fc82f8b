"""The weights a network starts from, where they are not random: torchvision's or timm's by name, or a file.

All but the classifier is taken over. What does not fit to the last tensor is an error: no run starts from weights that
its configuration does not say.
"""

from pathlib import Path

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError
from torch import Tensor

from lls.errors import UserError, one_line
from lls.networks.models import Network

HEADS = ("fc.", "classifier.", "head.")  # the classifier's parameters, as files of weights call them


def load_pretrained(net: Network, cfg: DictConfig, channels: int, folder: Path) -> None:
    """Load the weights that `cfg` (a node of configs/network) names into all of `net` but its classifier.

    `weights: null`, or no such key, leaves it as it is. A name is one of torchvision's for that network, such as
    IMAGENET1K_V1, downloaded into `folder/weights` unless it is there, or `tag` for a network of timm; anything else is
    a file: a state_dict of torchvision, timm or this package, or a run's last.pt. UserError where there is no such
    thing, or where it does not fit."""
    if "weights" not in cfg or cfg.weights is None:
        return
    wanted, path = str(cfg.weights), Path(str(cfg.weights)).expanduser()
    key = f"network.weights={wanted}"
    if next(net.neck.parameters(), None) is not None:  # LeNet's layers between map and classifier: none has such a file
        raise UserError(f"{key}: {cfg.name} starts from random weights only: null")
    if cfg.family == "timm" and wanted == "tag":
        state = _from_timm(cfg.model, channels)
    elif cfg.family != "timm" and wanted in (names := _torchvision(cfg)):
        state = _file(_fetched(names[wanted], folder / "weights"), key)
    elif path.is_file():
        state = _file(path, key)
    else:
        named = "tag" if cfg.family == "timm" else ", ".join(names) or "none"
        raise UserError(f"{key}: no such file, and no name of weights of {cfg.name} (there are: {named})")
    _load(net, state, key)


def _load(net: Network, state: dict[str, Tensor], key: str) -> None:
    own, prefix = net.trunk.state_dict(), "body." if any(n.startswith("body.") for n in net.trunk.state_dict()) else ""
    if any(name.startswith("trunk.") for name in state):  # one of our own networks
        given = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    else:
        given = {prefix + name: value for name, value in state.items() if not name.startswith(HEADS)}
    needed = {name for name in own if not name.endswith("num_batches_tracked")}  # old files have none of those
    wrong = [f"lacks {name}" for name in sorted(needed - given.keys())]
    wrong += [f"has {name}, which the network has not" for name in sorted(given.keys() - own.keys())]
    wrong += [
        f"has {name} of shape {list(given[name].shape)}, not {list(own[name].shape)}"
        for name in sorted(needed & given.keys())
        if given[name].shape != own[name].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more differences)" if wrong[1:] else ""
        raise UserError(f"{key}: these are not this network's weights: the file {wrong[0]}{more}")
    net.trunk.load_state_dict(own | given)


def _file(path: Path, key: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{key}: {path} can't be read ({one_line(error)})") from None
    except Exception as error:  # a broken file shows as any of a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{key}: {path} is no file of weights ({reason})") from None
    for name in ("network", "state_dict", "model"):  # a run's last.pt, and what others wrap theirs in
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}: {path} is no file of weights (it holds no tensors by name)")
    return {name.removeprefix("module."): value for name, value in state.items()}  # as DataParallel saves them


def _torchvision(cfg: DictConfig) -> dict[str, str]:
    """Name of weights -> their address; none for a network that torchvision does not have."""
    from torchvision.models import get_model_weights

    name = {"resnet": "resnet{depth}", "mobilenetv2": "mobilenet_v2"}.get(cfg.family, "").format(**cfg)
    if not name:
        return {}
    return {weights.name: weights.url for weights in get_model_weights(name)}


def _fetched(url: str, folder: Path) -> Path:
    from lls.data.download.fetch import download

    path = folder / url.rpartition("/")[2]
    digest = path.stem.rpartition("-")[2]  # as in resnet18-f37072fd.pth
    try:
        download(url, path, sha256_prefix=digest)
    except UserError as error:
        raise UserError(f"{error}; network.weights=FILE names a copy, network.weights=null starts at random") from None
    return path


def _from_timm(model: str, channels: int) -> dict[str, Tensor]:
    import timm

    known = timm.list_pretrained(f"{model.partition('.')[0]}.*")
    if model not in known:
        said = f"is one of {', '.join(known)}" if known else "has none; network.weights=null starts at random"
        raise UserError(f"network.model={model}: its weights must be named, and that {said}")
    try:
        return timm.create_model(model, pretrained=True, num_classes=0, in_chans=channels).state_dict()
    except Exception as error:  # no network, no space, a hub that refuses: many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(
            f"network.model={model}: its weights can't be fetched ({reason}); network.weights=FILE names a copy"
        ) from None
