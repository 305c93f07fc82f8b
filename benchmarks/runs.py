"""The time of the paper's runs on this GPU, extrapolated from a few hundred steps, beside a lower bound.

There is no such measurement on a CPU, where a few steps of a ResNet-101 take minutes.
"""

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from threading import Barrier, BrokenBarrierError
from typing import NamedTuple

import torch

from benchmarks.loops import new_step, random_images, train_batches
from lls.config.compose import compose
from lls.config.ranges import IN_MEMORY_SIDE
from lls.data.augment import none
from lls.data.download import published
from lls.device import resolve_compute, select_device, set_precision, synchronizer
from lls.launch.mps import share_gpus
from lls.launch.slots import Slot
from lls.training.cuda_graph import CUDAGraphStep
from lls.training.schedule import make_schedule
from lls.training.step import train_epoch

WARMUP_STEPS = 20
MIN_SECONDS = 3.0  # time to be measured on a GPU, at least
BARRIER_TIMEOUT_SECONDS = 180  # time that one of several processes waits until the others are ready


class PaperRun(NamedTuple):
    """A run of the paper.

    - roofline: a lower bound of its minutes on an H100, layer by layer from bf16 at 790 TFLOP/s and 3.0 TB/s.
    - paper: its minutes in the paper's Table 9."""

    dataset: str
    network: str
    roofline: float | None = None
    paper: float | None = None

    @property
    def title(self) -> str:
        return f"{self.dataset} / {self.network}"


RUNS = (
    PaperRun("fashionmnist", "alexnet", 0.06),
    PaperRun("svhn", "lenet"),
    PaperRun("cifar10", "alexnet", 0.07),
    PaperRun("cifar100", "resnet18", 1.4),
    PaperRun("cifar100", "resnet34", 2.7),
    PaperRun("cifar100", "resnet50", 5.0),
    PaperRun("cifar100", "resnet101", 8.2),
    PaperRun("tinyimagenet", "resnet18", 3.5, 142),
    PaperRun("tinyimagenet", "resnet50", 12.9),
    PaperRun("tinyimagenet", "resnet101", 20.9, 674),
    PaperRun("animals10n", "resnet18", 1.8),
    PaperRun("imagenet100", "resnet18", 3.5),
    PaperRun("imagenet100", "resnet50", 11.7),
    PaperRun("cub200", "resnet18"),
    PaperRun("cub200", "resnet50"),
    PaperRun("cub200", "resnet101"),
    PaperRun("cub200", "mobilenetv2"),
)


class RunTime(NamedTuple):
    """The time of a run, without evaluation, checkpoints and decoding.

    - step: milliseconds of a training step.
    - startup: seconds of the first WARMUP_STEPS steps, in which the step is compiled and captured.
    - training: minutes of the whole run, with its start-up."""

    step: float
    startup: float
    training: float


def measure(
    run: PaperRun, steps: int, method: str = "lls", *machine_keys: str, ready: Callable[[], object] = lambda: None
) -> RunTime:
    """Time `steps` training steps or more, after WARMUP_STEPS steps.

    machine_keys: overrides of `machine`. ready: called between warm-up and timing. Raises RuntimeError if the step
    should be a CUDA graph but could not be captured."""
    cfg = compose([f"dataset={run.dataset}", f"network={run.network}", f"method={method}", *machine_keys])
    device, schedule = select_device(cfg.machine.device), make_schedule(cfg.train, 1.0)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # memory of the run before this one
    set_precision(cfg.machine.precision, device)
    images_per_epoch, _ = published.images(run.dataset, cfg.dataset.get("classes"))
    total_steps = images_per_epoch // cfg.train.batch_size * schedule.epochs
    step = new_step(cfg, device, resolve_compute(cfg.machine, device, total_steps))
    # So many images that an epoch does not start more often than in training.
    images = 20_000 if cfg.dataset.size <= IN_MEMORY_SIDE else 2_048
    loader = train_batches(cfg, *random_images(cfg, images), device)
    step.net.train()
    batches = itertools.chain.from_iterable(map(loader.epoch, itertools.count()))
    synchronize = synchronizer(device)

    def seconds_of(n: int) -> float:
        start = time.perf_counter()
        train_epoch(step, itertools.islice(batches, n), none().mix, lambda: None)
        synchronize()
        return time.perf_counter() - start

    synchronize()
    startup = seconds_of(WARMUP_STEPS)
    ready()
    if isinstance(step, CUDAGraphStep) and step.capture_failed:
        raise RuntimeError(f"{run.title}: the step could not be captured as a CUDA graph")
    n = steps
    if device.type == "cuda":  # a small network's 200 steps end before the GPU reaches its usual clock rate
        n = max(steps, round(MIN_SECONDS * steps / seconds_of(steps)))
    seconds = seconds_of(n) / n
    return RunTime(1000 * seconds, startup, (startup + seconds * total_steps) / 60)


def measure_concurrent(
    run: PaperRun, steps: int, processes: int, measure: Callable[..., RunTime] = measure
) -> tuple[RunTime, bool]:
    """Measure a run in several processes that share the GPU, as with --jobs. All start to be timed when all are ready.

    Returns the time of the slowest process, and whether MPS was used. Raises RuntimeError if a process fails.
    measure: what each process calls, with the arguments run, steps, ready."""
    context, environment = multiprocessing.get_context("spawn"), dict(os.environ)
    gpu = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    with share_gpus([Slot(1, gpu if torch.cuda.is_available() else {})] * processes) as slots:
        try:
            os.environ.update(slots[0].environment)  # the processes inherit it
            with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
                barrier = manager.Barrier(processes, timeout=BARRIER_TIMEOUT_SECONDS)
                futures = [pool.submit(_measure_at_barrier, measure, run, steps, barrier) for _ in range(processes)]
                pool.submit(int)  # wakes the pool, which otherwise may not watch the process that it started last
                done, _ = wait(futures)  # for all: a process that stops for another may end before it
                if errors := [error for future in done if (error := future.exception())]:
                    cause = min(errors, key=lambda error: isinstance(error, BrokenBarrierError))  # this one follows it
                    raise RuntimeError(f"several at once: {type(cause).__name__}: {cause}") from cause
                return max(future.result() for future in futures), "CUDA_MPS_PIPE_DIRECTORY" in os.environ
        finally:
            os.environ.clear()
            os.environ.update(environment)


def _measure_at_barrier(measure: Callable[..., RunTime], run: PaperRun, steps: int, barrier: Barrier) -> RunTime:
    try:
        return measure(run, steps, ready=barrier.wait)
    except BaseException:
        barrier.abort()  # otherwise the other processes would wait for this one
        raise
