"""An epoch of ours beside the same network's bare step, and beside the loops that a user would write instead.

Images are random numbers of the data set's shape: what they show costs nothing. torchvision's data sets are its own
classes, to which these images are given where they would have read their files. Each way has a process of its own, as
it would have in use. Ours and the bare step set the allocator to what is best; the others leave it at what is usual.
"""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from benchmarks.apart import SubprocessBenchmark
from benchmarks.rounds import Times, alternate
from lls.config.compose import compose
from lls.data.augment import none
from lls.data.in_memory import TrainBatches
from lls.device import ComputeSettings, keep_memory, resolve_compute, select_device, set_precision, synchronizer
from lls.training.build import build_method, build_network, build_step
from lls.training.progress import Progress
from lls.training.step import Step, train_epoch

WORKERS = 2  # as in PyTorch's tutorials


class Case(NamedTuple):
    """A network on a data set, and the steps of a turn: enough to be timed, and few enough to take turns. On a GPU they
    are more, or what is done once a turn would count."""

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
    """Seconds of `case.steps` steps each way: ours, its batches alone, the bare step, torchvision's loop, timm's."""
    with ExitStack() as stack:
        work = {way: stack.enter_context(SubprocessBenchmark(build, case, way)) for way in COMPETITORS}
        return alternate(work, rounds)


def build(case: Case, way: str) -> Callable[[], object]:
    """One of WAYS, ready to be timed."""
    cfg = compose([f"dataset={case.dataset}", f"network={case.network}", "method=onehot"])
    device = select_device("auto")
    set_precision("auto", device)
    images, labels = pixels(cfg, case.steps * cfg.train.batch_size)
    if way in ("torchvision", "timm"):
        loop = torchvision_loop if way == "torchvision" else timm_loop
        work = loop(cfg, images, labels, device)
    else:
        keep_memory(device)
        batches = train_batches(cfg, images, labels, device)
        if way == "ours":
            work = ours(cfg, batches, device)
        elif way == "bare":
            work = bare(cfg, next(batches.epoch(0)), case.steps, device)
        else:
            work = lambda: len([None for _ in batches.epoch(0)])  # noqa: E731
    wait = synchronizer(device)

    def waited() -> object:
        result = work()
        wait()
        return result

    return waited


def pixels(cfg: DictConfig, n: int) -> tuple[Tensor, Tensor]:
    """`n` random images uint8 `[n, H, W, C]` and labels of a data set's shape."""
    g, data = torch.Generator().manual_seed(0), cfg.dataset
    x = torch.randint(256, (n, data.size, data.size, data.channels), dtype=torch.uint8, generator=g)
    return x, torch.randint(data.num_classes, (n,), generator=g)


def train_batches(cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device) -> TrainBatches:
    """Their batches, augmented as the configuration says; large images come without the crop that decoding gives."""
    data = cfg.dataset
    keys = {"batch_size": cfg.train.batch_size, "seed": 0, "mean": list(data.mean), "std": list(data.std)}
    if "crop_padding" in data:
        keys |= {"crop_padding": data.crop_padding, "padding_mode": data.padding_mode}
    return TrainBatches(x, y, flip=data.flip, device=device, **keys)


def build_step_of(cfg: DictConfig, device: torch.device, how: ComputeSettings | None = None) -> Step:
    """The step of a configuration, its network and method new."""
    data = cfg.dataset
    net = build_network(cfg.network, data.num_classes, data.channels, data.size)
    step = build_step(
        cfg, net, build_method(cfg.method, data.num_classes), how or resolve_compute(cfg.machine, device), device
    )
    step.set_lr(1e-3)
    return step


def ours(cfg: DictConfig, batches: TrainBatches, device: torch.device) -> Callable[[], None]:
    """An epoch of lls/training/loop.py: all but the evaluation."""
    step, numbers = build_step_of(cfg, device), itertools.count()

    def work() -> None:
        with Progress(1, len(batches), cfg.train.batch_size, 0) as progress:
            step.net.train()
            train_epoch(step, batches.epoch(next(numbers)), none().mix, progress.step)
            step.measures()

    return work


def bare(cfg: DictConfig, batch: tuple[Tensor, Tensor], steps: int, device: torch.device) -> Callable[[], None]:
    """Forward, backward and SGD on one batch, at its fastest: the limit."""
    x, y = batch
    step = build_step_of(cfg, device)
    if device.type == "cuda":  # there the limit is the graph
        return lambda: [step(x, [(y, 1.0)]) for _ in range(steps)]
    net, optimizer = step.net.train(), step.optimizer

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x)[0], y).backward()
            optimizer.step()

    return work


def torchvision_loop(cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device) -> Callable[[], None]:
    """PyTorch's tutorial: a torchvision data set, its transforms, a DataLoader, SGD."""
    from torchvision import transforms

    data = cfg.dataset
    seen = [transforms.RandomCrop(data.size, padding=data.crop_padding)] if data.crop_padding else []
    seen += [transforms.RandomHorizontalFlip()] if data.flip else []
    if data.name == "fashionmnist":
        seen.insert(0, transforms.Pad(2))
    normalise = transforms.Normalize(list(data.mean), list(data.std))
    images = torchvision_set(data, x, y, transforms.Compose([*seen, transforms.ToTensor(), normalise]))
    loader = torch.utils.data.DataLoader(
        images, cfg.train.batch_size, shuffle=True, num_workers=WORKERS, persistent_workers=WORKERS > 0, drop_last=True
    )
    net = Logits(cfg).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def work() -> float:
        running = 0.0
        net.train()
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return running

    return work


def timm_loop(cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device) -> Callable[[], None]:
    """timm's loader, its optimizer and meter, and the loop of its training script. The loader's prefetcher and crops
    are those it has by default: of random size, where the data set has crops or flips at all."""
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.utils import AverageMeter

    data = cfg.dataset
    loader = create_loader(
        torchvision_set(data, x, y, None),
        input_size=(data.channels, data.size, data.size),
        batch_size=cfg.train.batch_size,
        is_training=True,
        no_aug=not (data.crop_padding or data.flip),
        hflip=0.5 if data.flip else 0.0,
        color_jitter=None,
        mean=tuple(data.mean),
        std=tuple(data.std),
        num_workers=WORKERS,
        persistent_workers=WORKERS > 0,
        device=device,
    )
    net = Logits(cfg).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = create_optimizer_v2(net, opt="sgd", lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def work() -> float:
        losses = AverageMeter()
        net.train()
        for inputs, targets in loader:
            loss = criterion(net(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), inputs.size(0))
        return losses.avg

    return work


class Logits(nn.Module):
    """Our network as other loops know networks: returning logits alone."""

    def __init__(self, cfg: DictConfig):
        super().__init__()
        self.net = build_network(cfg.network, cfg.dataset.num_classes, cfg.dataset.channels, cfg.dataset.size)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


def torchvision_set(data: DictConfig, x: Tensor, y: Tensor, transform: Callable | None):
    """torchvision's data set of this name, with these images."""
    from torchvision import datasets

    kind = {"fashionmnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[
        data.name
    ]
    images = kind.__new__(kind)
    images.transform, images.target_transform, images.transforms, images.train = transform, None, None, True
    if kind is datasets.FashionMNIST:
        images.data, images.targets = x[..., 0][:, 2:-2, 2:-2], y
    else:
        images.data, images.targets = np.asarray(x), y.tolist()
    return images
