"""The paper's networks and timm's, each as a trunk, a neck and a classifier.

A builder is a public function `family(num_classes, channels, size, **keys) -> Network` of this module. A yaml of
configs/network names it (`family`) and sets its keys. It raises ValueError for a value or an image size that the
network does not support.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lls.errors import one_line


class Network(nn.Module):
    """A network for classification.

    - trunk: from images to the last feature map
    - neck: from the feature map to the penultimate features
    - classifier: one Linear layer from the penultimate features to the logits
    """

    def __init__(self, trunk: nn.Module, neck: nn.Module, classifier: nn.Linear, pooled: int | None = None):
        """pooled: the neck averages the feature map to `pooled` x `pooled` locations; None if it does something else.
        If it is 1, the classifier can also be applied at each location of the feature map."""
        super().__init__()
        self.trunk, self.neck, self.classifier, self.pooled = trunk, neck, classifier, pooled

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `[B, K]` and the feature map before pooling `[B, D, h, w]`, for images x `[B, C, H, W]`."""
        features = self.trunk(x)
        return self.classifier(self.neck(features)), features

    def embed(self, x: Tensor) -> Tensor:
        """Return the penultimate features `[B, D']`, the classifier's input, for images x `[B, C, H, W]`."""
        return self.neck(self.trunk(x))


def lenet(num_classes: int, channels: int, size: int) -> Network:
    """LeNet-5 (LeCun et al., 1998) with ReLU and max-pooling, as is usual on CIFAR, for 32x32 images.

    Convolutions of 6 and 16 channels, then Linear layers 400-120-84-K. ReLU follows the pooling: values and gradients
    are bitwise the same as with ReLU first, and ReLU computes a quarter as many numbers."""
    _require_32x32(size, "LeNet")
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
    """AlexNet (Krizhevsky et al., 2012) for 32x32 images.

    Five convolutions, three max-poolings and one Linear layer, without batch normalisation and dropout. ReLU follows
    the pooling, as in LeNet."""
    _require_32x32(size, "AlexNet")
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
    pool: `2x2` averages the last feature map to 2x2 locations, or to one if the map is smaller than 8x8. For images of
        64x64 this gives the parameter counts of Table 9. `global` averages to one location, which for images of 32x32
        is the same as `2x2`.
    width: factor on the number of channels of all layers; None for 1.
    """
    import torchvision.models.resnet as tv  # here, because a run of LeNet does not need this slow import

    if pool not in ("2x2", "global"):
        raise ValueError(f"pool={pool}: must be one of 2x2, global")
    blocks = {18: tv.BasicBlock, 34: tv.BasicBlock, 50: tv.Bottleneck, 101: tv.Bottleneck}
    layers = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}
    if depth not in blocks:
        raise ValueError(f"depth={depth}: must be one of {', '.join(map(str, blocks))}")
    reduction = _reduction(stem, size, "ResNet")
    first = _scale_channels(64, width)

    class ResNet(tv.ResNet):  # torchvision 0.26 has no public argument for the width of BasicBlocks
        def _make_layer(self, block, planes, *args, **kwargs):
            if planes == 64:  # the first stage: the stem before it has as many channels
                self.inplanes, self.bn1 = first, nn.BatchNorm2d(first)
            return super()._make_layer(block, planes * first // 64, *args, **kwargs)

    net = (tv.ResNet if first == 64 else ResNet)(blocks[depth], layers[depth], num_classes=1)
    features = net.fc.in_features * first // 64
    if stem == "small":
        net.conv1, net.maxpool = nn.Conv2d(channels, first, 3, padding=1, bias=False), nn.Identity()
    elif channels != 3 or first != 64:
        net.conv1 = nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    pooled = 1 if pool == "global" else min(2, max(1, -(-size // reduction) // 4))
    trunk = nn.Sequential(
        OrderedDict((name, layer) for name, layer in net.named_children() if name not in ("avgpool", "fc"))
    )
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(pooled), nn.Flatten())
    return Network(trunk, neck, nn.Linear(features * pooled**2, num_classes), pooled=pooled)


def mobilenetv2(num_classes: int, channels: int, size: int, stem: str, width: float | None = None) -> Network:
    """MobileNetV2 (Sandler et al., 2018) from torchvision, with dropout of 0.2 before the classifier.

    stem: `imagenet`, or `small` as is usual on CIFAR, where the first two of the five strides of 2 are 1.
    width: the width multiplier; None for 1.
    """
    import torchvision.models.mobilenetv2 as tv

    _reduction(stem, size, "MobileNetV2")
    _scale_channels(32, width)
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
    """Any classification network of timm.

    model: timm's name. A tag after a dot, as in `resnet50.tv_in1k`, names pretrained weights; this function does not
        load them (see lls/networks/pretrained.py)."""
    import timm as library  # here, because the import takes seconds

    try:
        body = library.create_model(model, num_classes=0, in_chans=channels)
    except (RuntimeError, ValueError, TypeError) as error:
        similar = library.list_models(f"*{model.partition('.')[0]}*")[:5]
        hint = f"; similar names are {', '.join(similar)} ..." if similar else ""
        raise ValueError(f"model={model}: timm can't build it ({one_line(error)}){hint}") from None
    trunk = TimmTrunk(body)
    example = torch.linspace(-1, 1, 2 * channels * size * size).view(2, channels, size, size)
    body.eval()
    with torch.no_grad():
        try:
            features = trunk(example)
            embedded = body.forward_head(features, pre_logits=True)
        except (RuntimeError, AssertionError, ValueError) as error:  # a vision transformer takes one size
            reason = one_line(error, 160)
            raise ValueError(f"model={model} can't take images of {size}x{size} ({reason})") from None
    body.train()
    averaged = features.mean((2, 3)) if features.dim() == 4 else None
    pooled = 1 if averaged is not None and averaged.shape == embedded.shape and averaged.allclose(embedded) else None
    return Network(trunk, TimmNeck(body), nn.Linear(embedded.shape[1], num_classes), pooled)


class TimmTrunk(nn.Module):
    """The layers of a timm network up to its last feature map."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body.forward_features(x)


class TimmNeck(nn.Module):
    """The layers of a timm network between its last feature map and its classifier.

    It shares the module of TimmTrunk and does not register it, so that each parameter is listed once."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = [body]  # in a list, so that parameters() and state_dict() do not include it

    def forward(self, features: Tensor) -> Tensor:
        return self.body[0].forward_head(features, pre_logits=True)


def _reduction(stem: str, size: int, name: str) -> int:
    """Return the factor by which a network with this stem reduces an image's sides; ValueError for a smaller image."""
    if stem not in ("small", "imagenet"):
        raise ValueError(f"stem={stem}: must be one of small, imagenet")
    reduction = 8 if stem == "small" else 32
    if size < reduction:
        raise ValueError(
            f"{name} with the {stem} stem needs images of at least {reduction}x{reduction}, not {size}x{size}"
        )
    return reduction


def _scale_channels(channels: int, width: float | None) -> int:
    """Return `channels` times `width`; ValueError if `width` is not a number or gives less than one channel."""
    if width is not None and not (isinstance(width, int | float) and channels * width >= 1):
        raise ValueError(f"width={width}: must be a number of at least {1 / channels:g}")
    return channels if width is None else int(channels * width)


def _require_32x32(size: int, name: str) -> None:
    if size != 32:
        raise ValueError(f"{name} takes images of 32x32, not {size}x{size}")
