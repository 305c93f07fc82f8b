"""The paper's networks as trunk, neck and classifier; the blocks are torchvision's.

A builder is a public function `family(num_classes, channels, size, **keys)` of this module, named by a yaml of
configs/network with the keys it takes. It raises ValueError for images it can't take.
"""

from collections import OrderedDict

from torch import Tensor, nn


class Network(nn.Module):
    """trunk: images to the last feature map; neck: map to penultimate features; classifier: one Linear to logits."""

    def __init__(self, trunk: nn.Module, neck: nn.Module, classifier: nn.Linear, pooled: int | None = None):
        """pooled: the neck averages the map to `pooled` x `pooled` cells; None if it does something else. At 1 the
        classifier can be applied at every location of the map."""
        super().__init__()
        self.trunk, self.neck, self.classifier, self.pooled = trunk, neck, classifier, pooled

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: `[B, C, H, W]`. Returns logits `[B, K]` and the feature map before pooling `[B, D, h, w]`."""
        features = self.trunk(x)
        return self.classifier(self.neck(features)), features

    def embed(self, x: Tensor) -> Tensor:
        """The penultimate features, the classifier's input: `[B, D']`."""
        return self.neck(self.trunk(x))


def lenet(num_classes: int, channels: int, size: int) -> Network:
    """LeNet-5 with ReLU and max-pooling (LeCun et al., 1998, as is usual on CIFAR): 6-16 convolutions, 400-120-84-K."""
    _only_32(size, "LeNet")
    trunk = nn.Sequential(
        *(nn.Conv2d(channels, 6, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    )
    neck = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(16 * 5 * 5, 120), nn.ReLU(inplace=True)),
        *(nn.Linear(120, 84), nn.ReLU(inplace=True)),
    )
    return Network(trunk, neck, nn.Linear(84, num_classes))


def alexnet(num_classes: int, channels: int, size: int) -> Network:
    """AlexNet (Krizhevsky et al., 2012) for 32x32 images: five convolutions, three max-poolings, one Linear; no batch
    normalisation, no dropout."""
    _only_32(size, "AlexNet")
    trunk = nn.Sequential(
        *(nn.Conv2d(channels, 64, 11, stride=4, padding=5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    )
    return Network(trunk, nn.Flatten(), nn.Linear(256, num_classes))


def resnet(num_classes: int, channels: int, size: int, depth: int, stem: str, pool: str) -> Network:
    """ResNet (He et al., 2016) of 18, 34, 50 or 101 layers, from torchvision.

    stem: `small` (3x3 convolution of stride 1, no max-pooling) or `imagenet` (7x7 of stride 2, then max-pooling).
    pool: `2x2` averages the last map to 2x2 cells, of 4x4 locations each at 64x64, where it gives Table 9's counts; to
    one cell where they would have fewer than 4x4. `global` averages all of it: the same function at 32x32.
    """
    import torchvision.models.resnet as tv  # here, so that a LeNet run does not wait for torchvision

    if stem not in ("small", "imagenet"):
        raise ValueError(f"stem={stem}: must be one of small, imagenet")
    if pool not in ("2x2", "global"):
        raise ValueError(f"pool={pool}: must be one of 2x2, global")
    blocks = {18: tv.BasicBlock, 34: tv.BasicBlock, 50: tv.Bottleneck, 101: tv.Bottleneck}
    layers = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}
    if depth not in blocks:
        raise ValueError(f"depth={depth}: must be one of {', '.join(map(str, blocks))}")
    reduction = 8 if stem == "small" else 32
    if size < reduction:
        raise ValueError(
            f"ResNet with the {stem} stem needs images of at least {reduction}x{reduction}, not {size}x{size}"
        )

    net = tv.ResNet(blocks[depth], layers[depth], num_classes=1)
    width = net.fc.in_features
    if stem == "small":
        net.conv1, net.maxpool = nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does for the others
    cells = 1 if pool == "global" else min(2, max(1, -(-size // reduction) // 4))
    trunk = nn.Sequential(
        OrderedDict((name, layer) for name, layer in net.named_children() if name not in ("avgpool", "fc"))
    )
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(cells), nn.Flatten())
    return Network(trunk, neck, nn.Linear(width * cells**2, num_classes), pooled=cells)


def _only_32(size: int, name: str) -> None:
    if size != 32:
        raise ValueError(f"{name} takes images of 32x32, not {size}x{size}")
