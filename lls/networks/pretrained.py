"""Pretrained weights of a network: torchvision's or timm's by name, or a file.

They are loaded into the whole network except its classifier. A tensor that is missing, unexpected or of another shape
is an error, so that no run starts from other weights than its configuration states.
"""

from pathlib import Path

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError
from torch import Tensor

from lls.data.download.fetch import download
from lls.errors import UserError, one_line
from lls.networks.models import Network

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "head.")  # of the classifier's parameters in files of torchvision and timm


def load_pretrained(net: Network, cfg: DictConfig, channels: int, folder: Path) -> None:
    """Load the weights `cfg.weights` into all of `net` except its classifier.

    cfg: a node of configs/network. folder: the data folder. `cfg.weights` is one of these:

    - null, or no such key: `net` is not changed.
    - A name of torchvision's weights for this network, such as IMAGENET1K_V1. The file is downloaded to
      folder/weights if it is not there.
    - `tag`, for a network of timm: the weights that the tag in `cfg.model` names.
    - A file: a state_dict of torchvision, timm or this package, or the last.pt of a run.

    Raises UserError if there are no such weights or they do not fit the network."""
    if "weights" not in cfg or cfg.weights is None:
        return
    weights, path = str(cfg.weights), Path(str(cfg.weights)).expanduser()
    key = f"network.weights={weights}"
    if next(net.neck.parameters(), None) is not None:  # LeNet: no file of weights has its fully connected layers
        raise UserError(f"{key}: {cfg.name} can only start from random weights; use network.weights=null")
    if cfg.family == "timm" and weights == "tag":
        state = _timm_weights(cfg.model, channels)
    elif cfg.family != "timm" and weights in (urls := _torchvision_urls(cfg)):
        state = _read_weights(_download_for_run(urls[weights], folder), key)
    elif path.is_file():
        state = _read_weights(path, key)
    else:
        names = "tag" if cfg.family == "timm" else ", ".join(urls) or "none"
        raise UserError(f"{key}: no such file and no such weights of {cfg.name}; use a file or one of: {names}")
    _load_trunk(net, state, key)


def ensure_weights(url: str, folder: Path) -> Path:
    """Return the path of a file of weights in folder/weights, downloaded if it is missing and verified by its name.

    Raises UserError if it can't be downloaded or its SHA-256 does not start as its name says."""
    path = folder / "weights" / url.rpartition("/")[2]
    download(url, path, sha256_prefix=sha256_in_name(path))
    return path


def sha256_in_name(path: Path) -> str:
    """Return the first characters of a file's SHA-256 from its name, such as resnet18-f37072fd.pth."""
    return path.stem.rpartition("-")[2]


def _download_for_run(url: str, folder: Path) -> Path:
    try:
        return ensure_weights(url, folder)
    except UserError as error:
        raise UserError(f"{error}; or use network.weights=FILE with a copy, or network.weights=null") from None


def _load_trunk(net: Network, state: dict[str, Tensor], key: str) -> None:
    trunk = net.trunk.state_dict()
    prefix = "body." if any(name.startswith("body.") for name in trunk) else ""  # of timm's networks
    if any(name.startswith("trunk.") for name in state):  # written by this package
        weights = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    else:
        weights = {prefix + name: value for name, value in state.items() if not name.startswith(CLASSIFIER_PREFIXES)}
    required = {name for name in trunk if not name.endswith("num_batches_tracked")}  # old files do not have these
    errors = [f"lacks {name}" for name in sorted(required - weights.keys())]
    errors += [f"has {name}, which the network does not have" for name in sorted(weights.keys() - trunk.keys())]
    errors += [
        f"has {name} of shape {list(weights[name].shape)}, not {list(trunk[name].shape)}"
        for name in sorted(required & weights.keys())
        if weights[name].shape != trunk[name].shape
    ]
    if errors:
        more = f" (and {len(errors) - 1} more differences)" if errors[1:] else ""
        raise UserError(f"{key}: these are the weights of another network: the file {errors[0]}{more}")
    net.trunk.load_state_dict(trunk | weights)


def _read_weights(path: Path, key: str) -> dict[str, Tensor]:
    """Read the tensors of a file, without the prefixes that DataParallel adds to their names."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{key}: {path} can't be read ({one_line(error)})") from None
    except Exception as error:  # a broken file raises any of a dozen kinds
        raise UserError(f"{key}: {path} is not a file of weights ({_first_line(error)})") from None
    for name in ("network", "state_dict", "model"):  # the key in a run's last.pt, and the keys in others' checkpoints
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}: {path} is not a file of weights (it holds no tensors by name)")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _torchvision_urls(cfg: DictConfig) -> dict[str, str]:
    """Return the URLs of torchvision's weights for a network, by name; empty if torchvision does not have it."""
    from torchvision.models import get_model_weights

    model = {"resnet": "resnet{depth}", "mobilenetv2": "mobilenet_v2"}.get(cfg.family, "").format(**cfg)
    if not model:
        return {}
    return {weights.name: weights.url for weights in get_model_weights(model)}


def _timm_weights(model: str, channels: int) -> dict[str, Tensor]:
    import timm

    tags = timm.list_pretrained(f"{model.partition('.')[0]}.*")
    if model not in tags:
        reason = f"use one of {', '.join(tags)}" if tags else "timm has none; use network.weights=null"
        raise UserError(f"network.model={model}: the model's name does not name weights; {reason}")
    try:
        return timm.create_model(model, pretrained=True, num_classes=0, in_chans=channels).state_dict()
    except Exception as error:  # no network, a full disk, a hub that refuses: many kinds
        raise UserError(
            f"network.model={model}: the weights can't be downloaded ({_first_line(error)}): use network.weights=FILE "
            "with a copy"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
