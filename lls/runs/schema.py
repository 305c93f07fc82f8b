"""The keys of a run's files, with the unit of each number: metrics.jsonl, result.json and failed.json.

A row of metrics.jsonl is checked when it is written. The other two are checked when they are written and when they are
read. result.json has two versions. Version 2 has the key `version`; version 1 does not, and it may lack numbers, which
are shown as "not recorded".
"""

from collections.abc import Mapping
from typing import Annotated, NotRequired, TypedDict

from lls.runs.validation import Unit, check, shorten

VERSION = 2
NOT_RECORDED = "not recorded"

Percent = Annotated[float, Unit("%", 0, 100)]
Fraction = Annotated[float, Unit("a fraction", 0, 1)]
Nats = Annotated[float, Unit("nats")]
Seconds = Annotated[float, Unit("seconds", 0)]
Rate = Annotated[float, Unit("images per second", 0)]
Count = Annotated[int, Unit("a count", 0)]
Number = Annotated[float, Unit("no unit")]


class Row(TypedDict):
    """One epoch, a line of metrics.jsonl.

    top1, nll, ece and confidence are of all test images in the configured geometry, after the epoch."""

    epoch: Count  # from 1
    lr: Number
    loss: Nats  # the method's loss, a mean over the training batches
    train_cross_entropy: Nats  # with the labels, on the augmented training batches in train mode, for each method
    train_top1: Percent  # on the same batches; Mixup and CutMix weight it as they weight the labels
    top1: Percent
    nll: Nats
    ece: Fraction  # 15 bins of equal width
    confidence: Fraction  # mean of the largest predicted probability
    q_diagonal: NotRequired[Fraction]  # mean Q_yy
    q_entropy: NotRequired[Nats]  # mean entropy of the rows of Q
    seconds: Seconds  # of training alone
    eval_seconds: Seconds
    images_per_second: Rate  # of training alone


class Compute(TypedDict):
    """How consecutive epochs were really computed, which may differ from the configured `machine` section."""

    epochs: Count
    device: str
    threads: Count
    precision: str  # fp32 | tf32 | bf16, of the network
    compile: bool  # the network was compiled
    graph: bool  # steps were replayed as a CUDA graph
    loss_kernel: str  # torch | triton; older runs also c


class Reevaluated(TypedDict):
    """Numbers that were measured with the saved weights after the run was done."""

    commit: str
    finished: str
    keys: list  # the numbers that were added


class Result(TypedDict):
    """result.json. Unless a comment says otherwise, numbers are from float32 logits of the test images after the last
    epoch."""

    version: NotRequired[Count]
    id: str
    dataset: str
    network: str
    method: str
    seed: Count
    budget: Fraction
    epochs: Count
    top1: Percent
    top1_best: Percent  # of the epoch with the highest top1
    top1_superclass: NotRequired[Percent]  # CIFAR-100: the predicted class is in the true superclass
    top5: Percent
    nll: Nats
    loss: Nats  # the method's loss, a mean over the training batches of the last epoch
    train_cross_entropy: NotRequired[Nats]  # of the training batches of the last epoch
    train_top1: NotRequired[Percent]
    confidence: Fraction
    ece: Fraction
    adaptive_ece: Fraction
    brier: Annotated[float, Unit("squared probability", 0, 2)]
    temperature: Annotated[float, Unit("no unit", 0)]  # fitted on one half of the test images
    ece_untempered: Fraction  # of the other half, at temperature 1
    ece_tempered: Fraction  # of the other half, at `temperature`
    # FashionMNIST: the test images in the geometry that is not configured
    top1_paper_geometry: NotRequired[Percent]
    nll_paper_geometry: NotRequired[Nats]
    ece_paper_geometry: NotRequired[Fraction]
    top1_matched_geometry: NotRequired[Percent]
    nll_matched_geometry: NotRequired[Nats]
    ece_matched_geometry: NotRequired[Fraction]
    q_diagonal: NotRequired[Fraction]
    q_entropy: NotRequired[Nats]
    q_confusion: NotRequired[Annotated[float, Unit("rank correlation", -1, 1)]]
    parameters: Count  # trainable parameters of network and method
    seconds: Seconds  # of training and evaluation
    images_per_second: Rate
    # how the last epoch was computed; missing if an older version of the code trained it
    device: NotRequired[str]
    threads: NotRequired[Count]
    precision: NotRequired[str]
    compile: NotRequired[bool]
    graph: NotRequired[bool]
    loss_kernel: NotRequired[str]
    earlier: NotRequired[list[Compute]]  # earlier epochs that were computed differently
    kernels: NotRequired[str]  # version 1: the available kernels of the loss
    versions: dict
    commit: str
    method_code: NotRequired[str]  # fingerprint of the code of the method and its loss (lls/runs/provenance.py)
    images: NotRequired[str]  # fingerprint of the images (lls/data/fingerprint.py)
    finished: str  # ISO 8601
    reevaluated: NotRequired[Reevaluated]


class Failed(TypedDict):
    """failed.json: the first number of a run that was not finite."""

    id: str
    epoch: Count  # from 1
    step: Count  # in the epoch, from 1
    measure: str  # the key of that number: loss, or another number of the epoch's row
    loss: Number | str  # at that step; "nan", "inf" or "-inf" if it is not finite
    largest_logit: Number | str  # the largest finite |logit| on the training batches of the epoch up to that step
    lr: Number
    commit: str
    finished: str


def is_failed(outcome: Mapping) -> bool:
    """Return whether the content of a result.json or failed.json is that of a failed.json."""
    return "measure" in outcome


def check_result(result: object) -> None:
    """Check the content of a result.json of any version. Raises ValueError as `check` does."""
    version = result.get("version", 1) if isinstance(result, Mapping) else 1
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"version is {shorten(version)}: this code reads versions up to {VERSION}")
    check(result, Result, complete=version == VERSION)
