"""The paper's runs on this GPU: minutes, extrapolated from a few hundred steps, beside the least that they could take.

A few steps of a ResNet-101 take minutes on a CPU, so there is no such measurement on one.
"""

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from threading import Barrier, BrokenBarrierError
from typing import NamedTuple

import torch

from benchmarks.loops import build_step_of, pixels, train_batches
from lls.config.compose import compose
from lls.config.ranges import IN_MEMORY_SIDE
from lls.data.augment import none
from lls.data.download import published
from lls.device import resolve_compute, select_device, set_precision, synchronizer
from lls.launch.mps import shared
from lls.launch.slots import Slot
from lls.training.cuda_graph import CUDAGraphStep
from lls.training.schedule import make_schedule
from lls.training.step import train_epoch

STEADY = 3.0  # seconds to be timed on a GPU, at least
PATIENCE = 180  # seconds that one of several processes waits for the others to be ready


class Paper(NamedTuple):
    """A run of the paper's; minutes on an H100 if nothing but its arithmetic and memory traffic took time (a roofline
    layer by layer: bf16 at 790 TFLOP/s, 3.0 TB/s), and those of its Table 9."""

    dataset: str
    network: str
    floor: float | None = None
    paper: float | None = None


RUNS = (
    *(Paper("fashionmnist", "alexnet", 0.06), Paper("svhn", "lenet"), Paper("cifar10", "alexnet", 0.07)),
    *(Paper("cifar100", "resnet18", 1.4), Paper("cifar100", "resnet34", 2.7), Paper("cifar100", "resnet50", 5.0)),
    *(Paper("cifar100", "resnet101", 8.2), Paper("tinyimagenet", "resnet18", 3.5, 142)),
    *(Paper("tinyimagenet", "resnet50", 12.9), Paper("tinyimagenet", "resnet101", 20.9, 674)),
    *(
        Paper("animals10n", "resnet18", 1.8),
        Paper("imagenet100", "resnet18", 3.5),
        Paper("imagenet100", "resnet50", 11.7),
    ),
    *(
        Paper("cub200", "resnet18"),
        Paper("cub200", "resnet50"),
        Paper("cub200", "resnet101"),
        Paper("cub200", "mobilenetv2"),
    ),
)


class Minutes(NamedTuple):
    step: float  # milliseconds
    begin: float  # seconds of the first 20 steps, in which all is compiled and recorded
    training: float  # minutes of a whole run, its begin included; evaluation, checkpoints and decoding aside


def measure(
    run: Paper, steps: int, method: str = "lls", *machine_keys: str, ready: Callable[[], object] = lambda: None
) -> Minutes:
    """Time `steps` training steps after 20 to warm up; machine_keys: other than automatic ways. ready: called between
    the two."""
    cfg = compose([f"dataset={run.dataset}", f"network={run.network}", f"method={method}", *machine_keys])
    device, plan = select_device(cfg.machine.device), make_schedule(cfg.train, 1.0)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what the run before this one held
    set_precision(cfg.machine.precision, device)
    total = published.images(run.dataset, cfg.dataset.get("classes"))[0] // cfg.train.batch_size * plan.epochs
    step = build_step_of(cfg, device, resolve_compute(cfg.machine, device, total))
    # enough that an epoch does not start more often than in training
    images = 20_000 if cfg.dataset.size <= IN_MEMORY_SIDE else 2_048
    batches = train_batches(cfg, *pixels(cfg, images), device)
    step.net.train()
    endless = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))
    finish = synchronizer(device)

    def seconds_of(n: int) -> float:
        started = time.perf_counter()
        train_epoch(step, itertools.islice(endless, n), none().mix, lambda: None)
        finish()
        return time.perf_counter() - started

    finish()
    begin = seconds_of(20)
    ready()
    if isinstance(step, CUDAGraphStep) and step.capture_failed:
        raise RuntimeError(f"{run.dataset} / {run.network}: its step was not recorded as a CUDA graph")
    n = steps
    if device.type == "cuda":  # of a small network, 200 steps are over before the clock rate is what it is in a run
        n = max(steps, round(STEADY * steps / seconds_of(steps)))
    seconds = seconds_of(n) / n
    return Minutes(1000 * seconds, begin, (begin + seconds * total) / 60)


def at_once(run: Paper, steps: int, processes: int) -> tuple[Minutes, bool]:
    """Of the slowest of several processes that train on the GPU at once, as with --jobs, and whether under MPS. All
    begin to be timed when all are ready; RuntimeError where one of them fails."""
    from multiprocessing import get_context

    context, before = get_context("spawn"), dict(os.environ)
    gpu = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    with shared([Slot(1, gpu if torch.cuda.is_available() else {})] * processes) as slots:
        try:
            os.environ.update(slots[0].environment)  # which the processes inherit
            with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
                barrier = manager.Barrier(processes, timeout=PATIENCE)
                timed = [pool.submit(_beside_others, run, steps, barrier) for _ in range(processes)]
                pool.submit(int)  # wakes the pool, which else may not watch the process that it started last
                ended, _ = wait(timed)  # all: who stopped for another may say so first
                if failed := [error for one in ended if (error := one.exception())]:
                    first = min(failed, key=lambda error: isinstance(error, BrokenBarrierError))  # which is a result
                    raise RuntimeError(f"several at once: {type(first).__name__}: {first}") from first
                return max(one.result() for one in timed), "CUDA_MPS_PIPE_DIRECTORY" in os.environ
        finally:
            os.environ.clear()
            os.environ.update(before)


def _beside_others(run: Paper, steps: int, barrier: Barrier) -> Minutes:
    try:
        return measure(run, steps, ready=barrier.wait)
    except BaseException:
        barrier.abort()  # the others would wait for this one
        raise
