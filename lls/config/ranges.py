"""The ranges of values, for the keys that all configurations have. A method's constructor checks the method's keys."""

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


WANDB_TAG_LENGTH = 64  # the most characters that W&B allows


def _is_wandb_tag(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= WANDB_TAG_LENGTH


# Key -> a test of the value, and the requirement in words.
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
    "machine.wandb_tags": (
        lambda v: (
            v is None
            or (isinstance(v, list) and all(isinstance(tag, str) and 1 <= len(tag) <= WANDB_TAG_LENGTH for tag in v))
        ),
        f"a list of texts of 1 to {WANDB_TAG_LENGTH} characters, or null",
    ),
}


IN_MEMORY_SIDE = 64  # largest image side, in pixels, up to which a data set is decoded as a whole into memory
LARGE = ("crop", "resize", "keep_aspect", "resize_first")  # keys of `dataset` for larger images only


def check_ranges(cfg: dict) -> None:
    """Raise UserError for a value of a resolved configuration that is out of range."""
    for key, value in flatten(cfg).items():
        is_valid, requirement = RANGES.get(key, (lambda _: True, ""))
        if not is_valid(value):
            raise UserError(f"{key}={format_value(value)}: must be {requirement}")
    data, train = cfg["dataset"], cfg["train"]
    if train["nesterov"] and train["momentum"] == 0:
        raise UserError("train.nesterov=true: needs train.momentum above 0")
    for key in ("mean", "std"):
        if len(data[key]) != data["channels"]:
            raise UserError(f"dataset.{key}={data[key]}: needs one number per channel ({data['channels']})")
    _check_image_keys(data, cfg["machine"])
    if data.get("padding_mode") == "reflect" and data["crop_padding"] >= data["size"]:
        raise UserError(
            f"dataset.crop_padding={data['crop_padding']}: reflection needs less than dataset.size={data['size']}"
        )


def _check_image_keys(data: dict, machine: dict) -> None:
    """Check the keys that say how images are scaled and cropped, which depend on `dataset.size` and on each other."""
    large = data["size"] > IN_MEMORY_SIDE
    large_only = [key for key in LARGE if data[key] is not None]
    if not large and "crop_padding" not in data:
        raise UserError(f"dataset.size={data['size']}: must be above 64 for {data['name']}")
    if large_only and not large:
        key = large_only[0]
        raise UserError(
            f"dataset.{key}={format_value(data[key])}: is for images above 64x64; smaller ones are padded by "
            f"dataset.crop_padding and cropped (dataset.size={data['size']})"
        )
    if data["resize"] is not None and data["resize"] < data["size"]:
        raise UserError(f"dataset.resize={data['resize']}: must be at least dataset.size={data['size']}")
    random_crop = data["crop"] == "random"
    if data["resize_first"] is not None and random_crop:
        raise UserError(
            "dataset.resize_first=true: needs dataset.crop=random_resized; crop=random always cuts from scaled images"
        )
    if machine["cache"] and large and not random_crop and not data["resize_first"]:
        raise UserError(
            "machine.cache=true: needs dataset.resize_first=true, because random resized crops are cut from unscaled "
            "images; crops of scaled images are faster to make and slightly different"
        )
