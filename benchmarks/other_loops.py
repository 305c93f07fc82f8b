"""The loops that a user would write with torchvision or timm.

Their data sets are torchvision's own classes, which hold the given images instead of those of their files.
"""

from collections.abc import Callable

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lls.training.build import build_network

WORKERS = 2  # as in PyTorch's tutorials


def torchvision_loop(
    cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device, workers: int = WORKERS
) -> Callable[[], float]:
    """Return the loop of PyTorch's tutorial: a torchvision data set with transforms, a DataLoader, SGD.

    The loop trains an epoch and returns the sum of its losses."""
    from torchvision import transforms

    data = cfg.dataset
    steps = [transforms.Pad(2)] if data.name == "fashionmnist" else []
    steps += [transforms.RandomCrop(data.size, padding=data.crop_padding)] if data.crop_padding else []
    steps += [transforms.RandomHorizontalFlip()] if data.flip else []
    steps += [transforms.ToTensor(), transforms.Normalize(list(data.mean), list(data.std))]
    images = torchvision_dataset(data, x, y, transforms.Compose(steps))
    loader = DataLoader(
        images, cfg.train.batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )
    net = LogitsOnly(cfg).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def work() -> float:
        running_loss = 0.0
        net.train()
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        return running_loss

    return work


def timm_loop(
    cfg: DictConfig, x: Tensor, y: Tensor, device: torch.device, workers: int = WORKERS
) -> Callable[[], float]:
    """Return the loop of timm's training script, with timm's loader, optimizer and meter.

    The loader has its default prefetcher. It has its default crops of random size if the data set has crops or flips.
    The loop trains an epoch and returns its mean loss."""
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.utils import AverageMeter

    data = cfg.dataset
    loader = create_loader(
        torchvision_dataset(data, x, y, None),
        input_size=(data.channels, data.size, data.size),
        batch_size=cfg.train.batch_size,
        is_training=True,
        no_aug=not (data.crop_padding or data.flip),
        hflip=0.5 if data.flip else 0.0,
        color_jitter=None,
        mean=tuple(data.mean),
        std=tuple(data.std),
        num_workers=workers,
        persistent_workers=workers > 0,
        device=device,
    )
    net = LogitsOnly(cfg).to(device)
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


class LogitsOnly(nn.Module):
    """A network of this project that returns only its logits, as other loops expect."""

    def __init__(self, cfg: DictConfig):
        super().__init__()
        self.net = build_network(cfg.network, cfg.dataset.num_classes, cfg.dataset.channels, cfg.dataset.size)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


def torchvision_dataset(data: DictConfig, x: Tensor, y: Tensor, transform: Callable | None) -> Dataset:
    """Return torchvision's data set of this name with images x, uint8 `[N, 32, 32, C]`, and labels y `[N]`.

    FashionMNIST's images have 28 x 28 pixels: the border of x is cut off."""
    from torchvision import datasets

    classes = {"fashionmnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
    cls = classes[data.name]
    images = cls.__new__(cls)  # without __init__, which would read the files
    images.transform, images.target_transform, images.transforms, images.train = transform, None, None, True
    if cls is datasets.FashionMNIST:
        images.data, images.targets = x[..., 0][:, 2:-2, 2:-2], y
    else:
        images.data, images.targets = np.asarray(x), y.tolist()
    return images
