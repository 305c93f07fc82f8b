"""The training loop beside the same network's bare step, and beside the loops of torchvision and timm.

- Images are random numbers of the data set's shape, because their content does not affect the time.
- Each competitor runs in a separate process, as in normal use.
- The loop and the bare step configure the memory allocator (lls.device.keep_memory). The other loops do not.
"""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from benchmarks.other_loops import WORKERS, timm_loop, torchvision_loop
from benchmarks.rounds import Times, alternate
from benchmarks.subprocess_benchmark import SubprocessBenchmark
from lls.config.compose import compose
from lls.data.augment import none
from lls.data.in_memory import TrainBatches
from lls.device import ComputeSettings, keep_memory, resolve_compute, select_device, set_precision, synchronizer
from lls.training.build import build_method, build_network, build_step
from lls.training.progress import Progress
from lls.training.step import Step, train_epoch


class Case(NamedTuple):
    """A network, a data set and the number of steps per turn, on a CPU and on a GPU.

    A turn is long enough to be timed. On a GPU it has more steps, so that the work once per turn does not matter."""

    network: str
    dataset: str
    on_cpu: int
    on_gpu: int

    @property
    def steps(self) -> int:
        return self.on_cpu if select_device("auto").type == "cpu" else self.on_gpu


COMPETITORS = ("ours", "batches", "bare", "torchvision", "timm")
CASES = (
    Case("lenet", "fashionmnist", on_cpu=100, on_gpu=400),
    Case("alexnet", "cifar10", on_cpu=12, on_gpu=200),
    Case("resnet18", "cifar100", on_cpu=2, on_gpu=200),
)


def compare(case: Case, rounds: int) -> Times:
    """Return the seconds of `case.steps` steps by each of COMPETITORS.

    - ours: the training loop.
    - batches: its batches alone.
    - bare: forward, backward and SGD on one batch.
    - torchvision, timm: their usual loops."""
    with ExitStack() as stack:
        work = {name: stack.enter_context(SubprocessBenchmark(build, case, name)) for name in COMPETITORS}
        return alternate(work, rounds)


def build(case: Case, competitor: str, workers: int = WORKERS) -> Callable[[], object]:
    """Return a function that does one turn of a competitor and waits for the device. workers: of other loaders."""
    cfg = compose([f"dataset={case.dataset}", f"network={case.network}", "method=onehot"])
    device = select_device("auto")
    set_precision("auto", device)
    images, labels = random_images(cfg, case.steps * cfg.train.batch_size)
    if competitor in ("torchvision", "timm"):
        loop = torchvision_loop if competitor == "torchvision" else timm_loop
        work = loop(cfg, images, labels, device, workers)
    else:
        keep_memory(device)
        batches = train_batches(cfg, images, labels, device)
        if competitor == "ours":
            work = training_loop(cfg, batches, device)
        elif competitor == "bare":
            work = bare_steps(cfg, next(batches.epoch(0)), case.steps, device)
        else:
            work = lambda: len([None for _ in batches.epoch(0)])  # noqa: E731
    wait = synchronizer(device)

    def turn() -> object:
        result = work()
        wait()
        return result

    return turn


def random_images(cfg: DictConfig, n: int) -> tuple[Tensor, Tensor]:
    """Return random images, uint8 `[n, H, W, C]`, and labels `[n]`, with the shape and classes of the data set."""
    g, data = torch.Generator().manual_seed(0), cfg.dataset
    x = torch.randint(256, (n, data.size, data.size, data.channels), dtype=torch.uint8, generator=g)
    return x, torch.randint(data.num_classes, (n,), generator=g)


def train_batches(cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device) -> TrainBatches:
    """Return training batches, augmented as configured. Large images are not cropped, as decoding would do."""
    data = cfg.dataset
    keys = {"batch_size": cfg.train.batch_size, "seed": 0, "mean": list(data.mean), "std": list(data.std)}
    if "crop_padding" in data:
        keys |= {"crop_padding": data.crop_padding, "padding_mode": data.padding_mode}
    return TrainBatches(x, y, flip=data.flip, device=device, **keys)


def new_step(cfg: DictConfig, device: torch.device, compute: ComputeSettings | None = None) -> Step:
    """Return the training step of a configuration, with a new network and method."""
    data = cfg.dataset
    net = build_network(cfg.network, data.num_classes, data.channels, data.size)
    method = build_method(cfg.method, data.num_classes)
    step = build_step(cfg, net, method, compute or resolve_compute(cfg.machine, device), device)
    step.set_lr(1e-3)
    return step


def training_loop(cfg: DictConfig, batches: TrainBatches, device: torch.device) -> Callable[[], None]:
    """Return a function that trains an epoch as lls/training/loop.py does, without the evaluation."""
    step, numbers = new_step(cfg, device), itertools.count()

    def work() -> None:
        with Progress(1, len(batches), cfg.train.batch_size, 0) as progress:
            step.net.train()
            train_epoch(step, batches.epoch(next(numbers)), none().mix, progress.step)
            step.measures()

    return work


def bare_steps(cfg: DictConfig, batch: tuple[Tensor, Tensor], steps: int, device: torch.device) -> Callable[[], None]:
    """Return a function that does forward, backward and SGD on one batch: the limit for any loop."""
    x, y = batch
    step = new_step(cfg, device)
    if device.type == "cuda":  # the limit on a GPU is the CUDA graph
        return lambda: [step(x, [(y, 1.0)]) for _ in range(steps)]
    net, optimizer = step.net.train(), step.optimizer

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x)[0], y).backward()
            optimizer.step()

    return work
