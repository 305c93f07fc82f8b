"""The paper's networks, and timm's, as trunk, neck and classifier; the blocks are torchvision's.

A builder is a public function `family(num_classes, channels, size, **keys)` of this module, named by a yaml of
configs/network with the keys it takes. It raises ValueError for images it can't take.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lls.errors import one_line


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
    """LeNet-5 with ReLU and max-pooling (LeCun et al., 1998, as is usual on CIFAR): 6-16 convolutions, 400-120-84-K.
    ReLU after the pooling has the same values and gradients, to the bit, of a quarter as many numbers."""
    _only_32(size, "LeNet")
    trunk = nn.Sequential(
        *(nn.Conv2d(channels, 6, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
    )
    neck = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(16 * 5 * 5, 120), nn.ReLU(inplace=True)),
        *(nn.Linear(120, 84), nn.ReLU(inplace=True)),
    )
    return Network(trunk, neck, nn.Linear(84, num_classes))


def alexnet(num_classes: int, channels: int, size: int) -> Network:
    """AlexNet (Krizhevsky et al., 2012) for 32x32 images: five convolutions, three max-poolings, one Linear; no batch
    normalisation, no dropout. ReLU comes after a pooling, as in LeNet."""
    _only_32(size, "AlexNet")
    trunk = nn.Sequential(
        *(nn.Conv2d(channels, 64, 11, stride=4, padding=5), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
    )
    return Network(trunk, nn.Flatten(), nn.Linear(256, num_classes))


def resnet(
    num_classes: int, channels: int, size: int, depth: int, stem: str, pool: str, width: float | None = None
) -> Network:
    """ResNet (He et al., 2016) of 18, 34, 50 or 101 layers, from torchvision.

    stem: `small` (3x3 convolution of stride 1, no max-pooling) or `imagenet` (7x7 of stride 2, then max-pooling).
    pool: `2x2` averages the last map to 2x2 cells, of 4x4 locations each at 64x64, where it gives Table 9's counts; to
    one cell where they would have fewer than 4x4. `global` averages all of it: the same function at 32x32.
    width: times the usual channels of every layer; None for 1.
    """
    import torchvision.models.resnet as tv  # here, so that a LeNet run does not wait for torchvision

    if pool not in ("2x2", "global"):
        raise ValueError(f"pool={pool}: must be one of 2x2, global")
    blocks = {18: tv.BasicBlock, 34: tv.BasicBlock, 50: tv.Bottleneck, 101: tv.Bottleneck}
    layers = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}
    if depth not in blocks:
        raise ValueError(f"depth={depth}: must be one of {', '.join(map(str, blocks))}")
    reduction = _reduction(stem, size, "ResNet")
    first = _scaled(64, width)

    class ResNet(tv.ResNet):  # torchvision 0.26 has no public argument for the width of BasicBlocks
        def _make_layer(self, block, planes, *rest, **keys):
            if planes == 64:  # the first stage: what comes before it is as wide
                self.inplanes, self.bn1 = first, nn.BatchNorm2d(first)
            return super()._make_layer(block, planes * first // 64, *rest, **keys)

    net = (tv.ResNet if first == 64 else ResNet)(blocks[depth], layers[depth], num_classes=1)
    features = net.fc.in_features * first // 64
    if stem == "small":
        net.conv1, net.maxpool = nn.Conv2d(channels, first, 3, padding=1, bias=False), nn.Identity()
    elif channels != 3 or first != 64:
        net.conv1 = nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does for the others
    cells = 1 if pool == "global" else min(2, max(1, -(-size // reduction) // 4))
    trunk = nn.Sequential(
        OrderedDict((name, layer) for name, layer in net.named_children() if name not in ("avgpool", "fc"))
    )
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(cells), nn.Flatten())
    return Network(trunk, neck, nn.Linear(features * cells**2, num_classes), pooled=cells)


def mobilenetv2(num_classes: int, channels: int, size: int, stem: str, width: float | None = None) -> Network:
    """MobileNetV2 (Sandler et al., 2018), from torchvision, with its dropout of 0.2 before the classifier.

    stem: `imagenet`, or `small` as is usual on CIFAR: the first two of the five strides are 1.
    width: its width multiplier; None for 1.
    """
    import torchvision.models.mobilenetv2 as tv

    _reduction(stem, size, "MobileNetV2")
    _scaled(32, width)
    net = tv.MobileNetV2(num_classes=1, width_mult=1.0 if width is None else width)
    first, third = net.features[0], net.features[2].conv[1]
    if channels != 3:
        first[0] = nn.Conv2d(channels, first[0].out_channels, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(first[0].weight, mode="fan_out")  # as torchvision does
    if stem == "small":
        first[0].stride = third[0].stride = (1, 1)
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    classifier = nn.Linear(net.last_channel, num_classes)
    nn.init.normal_(classifier.weight, 0, 0.01)  # as torchvision does
    nn.init.zeros_(classifier.bias)
    return Network(nn.Sequential(OrderedDict(features=net.features)), neck, classifier, pooled=1)


def timm(num_classes: int, channels: int, size: int, model: str) -> Network:
    """Any classification network of timm by its name; a tag after a dot, as in `resnet50.tv_in1k`, says whose weights
    are meant, and where they lie (lls/networks/pretrained.py)."""
    import timm as library  # here: it costs seconds

    try:
        body = library.create_model(model, num_classes=0, in_chans=channels)
    except (RuntimeError, ValueError, TypeError) as error:
        known = library.list_models(f"*{model.partition('.')[0]}*")[:5]
        near = f"; there are {', '.join(known)} ..." if known else ""
        raise ValueError(f"model={model}: timm can't build it ({one_line(error)}){near}") from None
    trunk = TimmTrunk(body)
    example = torch.linspace(-1, 1, 2 * channels * size * size).view(2, channels, size, size)
    body.eval()
    with torch.no_grad():
        try:
            features = trunk(example)
            embedded = body.forward_head(features, pre_logits=True)
        except (RuntimeError, AssertionError, ValueError) as error:  # a vision transformer knows one size only
            reason = one_line(error, 160)
            raise ValueError(f"model={model} can't take images of {size}x{size} ({reason})") from None
    body.train()
    averaged = features.mean((2, 3)) if features.dim() == 4 else None
    pooled = 1 if averaged is not None and averaged.shape == embedded.shape and averaged.allclose(embedded) else None
    return Network(trunk, TimmNeck(body), nn.Linear(embedded.shape[1], num_classes), pooled)


class TimmTrunk(nn.Module):
    """A network of timm up to its last feature map."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body.forward_features(x)


class TimmNeck(nn.Module):
    """The rest of it, without the classifier. Its parameters are the trunk's, which alone may list them."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = [body]  # a list hides it from parameters() and state_dict()

    def forward(self, features: Tensor) -> Tensor:
        return self.body[0].forward_head(features, pre_logits=True)


def _reduction(stem: str, size: int, name: str) -> int:
    """By how much a network with this stem reduces the sides of an image; ValueError if nothing were left."""
    if stem not in ("small", "imagenet"):
        raise ValueError(f"stem={stem}: must be one of small, imagenet")
    reduction = 8 if stem == "small" else 32
    if size < reduction:
        raise ValueError(
            f"{name} with the {stem} stem needs images of at least {reduction}x{reduction}, not {size}x{size}"
        )
    return reduction


def _scaled(channels: int, width: float | None) -> int:
    """`channels` times `width`; ValueError for a width that leaves none of them."""
    if width is not None and not (isinstance(width, int | float) and channels * width >= 1):
        raise ValueError(f"width={width}: must be a number of at least {1 / channels:g}")
    return channels if width is None else int(channels * width)


def _only_32(size: int, name: str) -> None:
    if size != 32:
        raise ValueError(f"{name} takes images of 32x32, not {size}x{size}")
