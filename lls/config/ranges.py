"""Which values make sense, for the keys that every configuration has; a method's own are judged by its constructor."""

import math
import re
from collections.abc import Callable

from lls.config.assemble import flatten, format_value
from lls.errors import UserError


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(*words: str) -> tuple[Callable[[object], bool], str]:
    return (lambda v: v in words), "one of " + ", ".join(words)


def _null_or(*words: str) -> tuple[Callable[[object], bool], str]:
    return (lambda v: v is None or v in words), "one of " + ", ".join(words) + ", or null"


RANGES: dict[str, tuple[Callable[..., bool], str]] = {
    "seed": (lambda v: 0 <= v < 2**63, "0 or more, and below 2^63"),
    "budget": (lambda v: 0 < v <= 1, "above 0 and at most 1"),
    "train.epochs": (lambda v: v >= 1, "1 or more"),
    "train.batch_size": (lambda v: v >= 1, "1 or more"),
    "train.lr": (lambda v: 0 < v < math.inf, "above 0"),
    "train.warmup": (lambda v: v >= 0, "0 or more epochs"),
    "train.milestones": (lambda v: all(type(m) is int and m >= 1 for m in v), "epochs, counted from 1"),
    "train.lr_decay": (lambda v: 0 < v <= 1, "above 0 and at most 1"),
    "train.momentum": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "train.clip_norm": (lambda v: v is None or (_number(v) and v > 0), "above 0, or null"),
    "train.weight_decay": (lambda v: 0 <= v < math.inf, "0 or more"),
    "dataset.size": (lambda v: v >= 1, "1 or more pixels"),
    "dataset.channels": (lambda v: v in (1, 3), "1 (grey) or 3 (colour)"),
    "dataset.mean": (lambda v: all(map(_number, v)), "numbers"),
    "dataset.std": (lambda v: all(_number(n) and n > 0 for n in v), "numbers above 0"),
    "dataset.subset": (lambda v: v in (None, "classes", "samples"), "null, classes or samples"),
    "dataset.crop": _null_or("random_resized", "random"),
    "dataset.resize": (lambda v: v is None or (type(v) is int and v >= 1), "1 or more pixels, or null"),
    "dataset.keep_aspect": (lambda v: v in (None, True, False), "true, false or null"),
    "dataset.resize_first": (lambda v: v in (None, True, False), "true, false or null"),
    "dataset.crop_padding": (lambda v: v >= 0, "0 or more pixels"),
    "dataset.padding_mode": _one_of("zeros", "reflect"),
    "dataset.geometry": _one_of("matched", "paper"),
    "dataset.stem": _one_of("small", "imagenet"),
    "dataset.num_classes": (lambda v: v is None or (isinstance(v, int) and v >= 2), "2 or more, or null"),
    "machine.device": (
        lambda v: re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", v) is not None,
        "one of auto, cuda, cuda:N, mps, cpu",
    ),
    "machine.precision": _one_of("auto", "fp32", "tf32", "bf16"),
    "machine.compile": (lambda v: v == "auto" or type(v) is bool, "auto, true or false"),
    "machine.graph": (lambda v: v == "auto" or type(v) is bool, "auto, true or false"),
    "machine.workers": (lambda v: v is None or (type(v) is int and v >= 0), "0 or more, or null"),
    "machine.wandb": _one_of("offline", "online", "disabled"),
}


IN_MEMORY_SIDE = 64  # pixels a side: up to here all images are decoded at once, and kept
LARGE = ("crop", "resize", "keep_aspect", "resize_first")


def check_ranges(cfg: dict) -> None:
    """Raise UserError for a value of a resolved configuration that is out of range."""
    for key, value in flatten(cfg).items():
        holds, what = RANGES.get(key, (lambda _: True, ""))
        if not holds(value):
            raise UserError(f"{key}={format_value(value)}: must be {what}")
    data, train = cfg["dataset"], cfg["train"]
    if train["nesterov"] and train["momentum"] == 0:
        raise UserError("train.nesterov=true: needs train.momentum above 0")
    for key in ("mean", "std"):
        if len(data[key]) != data["channels"]:
            raise UserError(f"dataset.{key}={data[key]}: needs one number a channel ({data['channels']})")
    _check_geometry(data, cfg["machine"])
    if data.get("padding_mode") == "reflect" and data["crop_padding"] >= data["size"]:
        raise UserError(
            f"dataset.crop_padding={data['crop_padding']}: reflection needs less than dataset.size={data['size']}"
        )


def _check_geometry(data: dict, machine: dict) -> None:
    """What only large images have, and what of it goes together."""
    large, given = data["size"] > IN_MEMORY_SIDE, [key for key in LARGE if data[key] is not None]
    if not large and "crop_padding" not in data:
        raise UserError(f"dataset.size={data['size']}: {data['name']} is read in more than 64x64 only")
    if given and not large:
        raise UserError(
            f"dataset.{given[0]}={format_value(data[given[0]])}: is for images above 64x64; smaller ones are padded by "
            f"dataset.crop_padding and cropped (dataset.size={data['size']})"
        )
    if data["resize"] is not None and data["resize"] < data["size"]:
        raise UserError(f"dataset.resize={data['resize']}: must be at least dataset.size={data['size']}")
    windows = data["crop"] == "random"
    if data["resize_first"] is not None and windows:
        raise UserError("dataset.resize_first=true: goes with crop=random_resized; crop=random always cuts from it")
    if machine["cache"] and large and not windows and not data["resize_first"]:
        raise UserError(
            "machine.cache=true: random resized crops are cut from the images as they are; "
            "dataset.resize_first=true cuts them from scaled ones, which is faster and not quite the same"
        )
