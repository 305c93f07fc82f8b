"""Which values make sense, for the keys that every configuration has; a method's own are judged by its constructor."""

import math
import re
from collections.abc import Callable

from lls.config import UserError, flattened, shown


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(*words: str) -> tuple[Callable[[object], bool], str]:
    return (lambda v: v in words), "one of " + ", ".join(words)


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
    "dataset.crop_padding": (lambda v: v >= 0, "0 or more pixels"),
    "dataset.padding_mode": _one_of("zeros", "reflect"),
    "dataset.geometry": _one_of("matched", "paper"),
    "dataset.stem": _one_of("small", "imagenet"),
    "dataset.num_classes": (lambda v: v is None or (isinstance(v, int) and v >= 2), "2 or more, or null"),
    "machine.device": (
        lambda v: re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", v) is not None,
        "one of auto, cuda, cuda:N, mps, cpu",
    ),
    "machine.precision": _one_of("fp32", "tf32", "bf16"),
    "machine.wandb": _one_of("offline", "online", "disabled"),
}


def check_ranges(cfg: dict) -> None:
    """Raise UserError for a value of a resolved configuration that is out of range."""
    for key, value in flattened(cfg).items():
        holds, what = RANGES.get(key, (lambda _: True, ""))
        if not holds(value):
            raise UserError(f"{key}={shown(value)}: must be {what}")
    data, train = cfg["dataset"], cfg["train"]
    if train["nesterov"] and train["momentum"] == 0:
        raise UserError("train.nesterov=true: needs train.momentum above 0")
    for key in ("mean", "std"):
        if len(data[key]) != data["channels"]:
            raise UserError(f"dataset.{key}={data[key]}: needs one number a channel ({data['channels']})")
    if data.get("padding_mode") == "reflect" and data["crop_padding"] >= data["size"]:
        raise UserError(
            f"dataset.crop_padding={data['crop_padding']}: reflection needs less than dataset.size={data['size']}"
        )
