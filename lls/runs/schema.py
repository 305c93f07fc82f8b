"""What the files of a run hold, with the unit of each number: rows of metrics.jsonl, result.json and failed.json.

A file is checked when it is written and when it is read. There are two versions of result.json: 2 has `"version": 2`,
1 has no such key. Reading version 1 works: a number that it lacks was not recorded.
"""

import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    NamedTuple,
    NotRequired,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

VERSION = 2
NOT_RECORDED = "not recorded"


class Unit(NamedTuple):
    """The unit of a number and the range that makes sense for it."""

    name: str
    low: float = -math.inf
    high: float = math.inf


Percent = Annotated[float, Unit("%", 0, 100)]
Fraction = Annotated[float, Unit("a fraction", 0, 1)]
Nats = Annotated[float, Unit("nats")]
Seconds = Annotated[float, Unit("seconds", 0)]
Rate = Annotated[float, Unit("images per second", 0)]
Count = Annotated[int, Unit("a count", 0)]
Number = Annotated[float, Unit("no unit")]


class Row(TypedDict):
    """One epoch: a line of metrics.jsonl. Test images are those of the configured geometry, after the epoch."""

    epoch: Count  # from 1
    lr: Number
    loss: Nats  # the method's, a mean over the training batches
    train_cross_entropy: Nats  # of the training batches, augmented and in train mode, whatever the method's loss is
    train_top1: Percent  # of the same; with Mixup and CutMix weighted as the labels are
    top1: Percent
    nll: Nats
    ece: Fraction  # 15 bins of equal width
    confidence: Fraction  # mean of the largest probability
    q_diagonal: NotRequired[Fraction]  # mean Q_yy
    q_entropy: NotRequired[Nats]  # mean entropy of Q's rows
    seconds: Seconds  # of training
    eval_seconds: Seconds
    images_per_second: Rate  # while training


class Compute(TypedDict):
    """How a stretch of epochs was computed, as it was and not as it was asked for."""

    epochs: Count
    device: str
    threads: Count
    precision: str  # fp32 | tf32 | bf16, of the network
    compile: bool  # the network ran compiled
    graph: bool  # steps were replayed as a CUDA graph
    loss_kernel: str  # what computed the loss: torch | triton; until November 2026 also c


class Reevaluated(TypedDict):
    """Numbers that were measured on the saved weights after the run had ended."""

    commit: str
    finished: str
    keys: list  # the numbers that were added


class Result(TypedDict):
    """result.json. All numbers are of float32 logits of the test images after the last epoch, unless said otherwise."""

    version: NotRequired[Count]
    id: str
    dataset: str
    network: str
    method: str
    seed: Count
    budget: Fraction
    epochs: Count
    top1: Percent
    top1_best: Percent  # the best epoch's
    top1_superclass: NotRequired[Percent]  # CIFAR-100: the predicted class is in the true superclass
    top5: Percent
    nll: Nats
    loss: Nats  # the method's, a mean over the last epoch's training batches
    train_cross_entropy: NotRequired[Nats]  # of the last epoch's training batches
    train_top1: NotRequired[Percent]
    confidence: Fraction
    ece: Fraction
    adaptive_ece: Fraction
    brier: Annotated[float, Unit("squared probability", 0, 2)]
    temperature: Annotated[float, Unit("no unit", 0)]  # fitted on half of the test images
    ece_untempered: Fraction  # of the other half
    ece_tempered: Fraction
    # FashionMNIST in the geometry that the run's own test images do not have
    top1_paper_geometry: NotRequired[Percent]
    nll_paper_geometry: NotRequired[Nats]
    ece_paper_geometry: NotRequired[Fraction]
    top1_matched_geometry: NotRequired[Percent]
    nll_matched_geometry: NotRequired[Nats]
    ece_matched_geometry: NotRequired[Fraction]
    q_diagonal: NotRequired[Fraction]
    q_entropy: NotRequired[Nats]
    q_confusion: NotRequired[Annotated[float, Unit("rank correlation", -1, 1)]]
    parameters: Count  # trainable: the network's and the method's
    seconds: Seconds  # of training and evaluation
    images_per_second: Rate
    # of the last epoch; missing where a run of an older version was only ended by this one
    device: NotRequired[str]
    threads: NotRequired[Count]
    precision: NotRequired[str]
    compile: NotRequired[bool]
    graph: NotRequired[bool]
    loss_kernel: NotRequired[str]
    earlier: NotRequired[list[Compute]]  # epochs before it that were computed otherwise
    kernels: NotRequired[str]  # version 1: what there was to compute the loss with
    versions: dict
    commit: str
    method_code: NotRequired[str]  # fingerprint of the code of method and loss (lls/runs/provenance.py)
    images: NotRequired[str]  # fingerprint of the images (lls/data/fingerprint.py)
    finished: str  # ISO 8601
    reevaluated: NotRequired[Reevaluated]


class Failed(TypedDict):
    """failed.json: where the numbers of a run stopped being finite."""

    id: str
    epoch: Count  # from 1
    step: Count  # of the epoch, from 1
    measure: str  # what was not finite: loss, or after the epoch another number of its row
    loss: Number | str  # at that step; "nan", "inf" or "-inf" where it is no number
    largest_logit: Number | str  # the largest finite |logit| of a training batch of that epoch until then
    lr: Number
    commit: str
    finished: str


def is_failed(ended: Mapping) -> bool:
    """Whether what a run has ended with is a failed.json, and not a result.json."""
    return "measure" in ended


def check(data: object, schema: type, complete: bool = True) -> None:
    """Raise ValueError, which begins with the key, where `data` is not as `schema` says: a wrong type, a number out of
    its range, or, if `complete`, a key that is missing. Keys that the schema does not know are left alone."""
    if not isinstance(data, Mapping):
        raise ValueError(f"holds {_shown(data)} and no JSON object")
    if complete and (missing := schema.__required_keys__ - data.keys()):
        raise ValueError(f"{min(missing)} is missing")
    for key, hint in _hints(schema).items():
        if key in data and (problem := _problem(data[key], hint)):
            raise ValueError(f"{key}{problem}")


def check_result(result: object) -> None:
    """`check` of a result.json of any version."""
    version = result.get("version", 1) if isinstance(result, Mapping) else 1
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"version is {_shown(version)}: this code reads versions up to {VERSION}")
    check(result, Result, complete=version == VERSION)


def check_written(data: Mapping, schema: type) -> None:
    """`check` of what this code is about to write: a key that the schema does not know is an error too."""
    check(data, schema)
    if unknown := data.keys() - _hints(schema).keys():
        raise ValueError(f"{min(unknown)} is not in {schema.__name__}")


@cache
def _hints(schema: type) -> dict[str, object]:
    hints = get_type_hints(schema, include_extras=True)
    return {key: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for key, hint in hints.items()}


def _problem(value: object, hint: object) -> str | None:
    """What is wrong with a value: ' is ...', or '.key is ...' for a part of it."""
    kind, *units = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if get_origin(kind) is list:
        parts = value if isinstance(value, list) else [value]
        return next((problem for part in parts if (problem := _problem(part, get_args(kind)[0]))), None)
    if is_typeddict(kind):
        try:
            check(value, kind)
        except ValueError as error:
            return f".{error}"
        return None
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        problems = [_problem(value, one) for one in get_args(kind)]
        return None if None in problems else f" is {_shown(value)}, must be {' or '.join(map(_words, get_args(kind)))}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and math.isfinite(value) if kind is float else isinstance(value, kind)
    if kind is int:
        fits = number and isinstance(value, int)
    if not fits:
        return f" is {_shown(value)}, must be {_words(kind)}{f' ({units[0].name})' if units else ''}"
    if units and not units[0].low <= value <= units[0].high:
        return f" is {_shown(value)}, must be from {units[0].low:g} to {units[0].high:g} ({units[0].name})"
    return None


def _words(kind: object) -> str:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    words = {float: "a finite number", int: "a whole number", str: "text", bool: "true or false", dict: "an object"}
    return words.get(kind, "a list")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
