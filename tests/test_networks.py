"""The networks' parameter counts, to the digit (Table 9 and the authors' stated architectures), and their shapes."""

import pytest
import torch
from omegaconf import OmegaConf

from lls.build import build_method, build_network
from lls.config import compose, options

COUNTS = {  # (network, channels, size, classes): trainable parameters
    ("resnet18", 3, 64, 200): 11_578_632,
    ("resnet34", 3, 64, 200): 21_686_792,
    ("resnet50", 3, 64, 200): 25_138_952,
    ("resnet101", 3, 64, 200): 44_131_080,
    ("resnet18", 3, 32, 100): 11_220_132,
    ("resnet34", 3, 32, 100): 21_328_292,
    ("resnet50", 3, 32, 100): 23_705_252,
    ("resnet101", 3, 32, 100): 42_697_380,
    ("alexnet", 3, 32, 10): 2_472_266,
    ("alexnet", 1, 32, 10): 2_456_778,
    ("lenet", 3, 32, 10): 62_006,
    ("lenet", 1, 32, 10): 61_706,
}


def build(name, channels, size, classes, *overrides):
    return build_network(compose([f"network={name}", *overrides]).network, classes, channels, size)


def trainable(*modules):
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("key", COUNTS, ids=lambda key: "-".join(map(str, key)))
def test_parameters(key):
    assert trainable(build(*key)) == COUNTS[key]


@pytest.mark.parametrize(("method", "more"), [("onehot", 0), ("ls", 0), ("lls", 200**2)])
def test_table_9(method, more):
    net = build("resnet18", 3, 64, 200)
    assert trainable(net, build_method(compose([f"method={method}"]).method, 200)) == 11_578_632 + more


def test_global_pooling():
    """The same function as the 2x2 head at 32x32; a smaller head at 64x64."""
    assert trainable(build("resnet18", 3, 64, 200, "network.pool=global")) == 11_271_432
    assert trainable(build("resnet18", 3, 32, 100, "network.pool=global")) == COUNTS["resnet18", 3, 32, 100]


@pytest.mark.parametrize("name", options("network"))
def test_logits_come_from_the_classifier_on_the_penultimate_features(name):
    net = build(name, 3, 32, 7).eval()
    x = torch.randn(2, 3, 32, 32)
    logits, features = net(x)
    assert logits.shape == (2, 7)
    assert features.dim() == 4
    assert torch.equal(net.classifier(net.embed(x)), logits)


@pytest.mark.parametrize(("size", "map_side", "width"), [(8, 1, 512), (32, 4, 512), (64, 8, 2048), (96, 12, 2048)])
def test_the_head_pools_to_at_most_2x2(size, map_side, width):
    net = build("resnet18", 3, size, 3).eval()
    features = net(torch.randn(1, 3, size, size))[1]
    assert features.shape == (1, 512, map_side, map_side)
    assert net.classifier.in_features == width
    if size == 64:
        assert torch.allclose(net.neck(features), torch.nn.AvgPool2d(4)(features).flatten(1), atol=1e-6)


def test_the_imagenet_stem():
    """torchvision's own ResNet-18: 11,689,512 parameters with 1,000 classes, the same logits from the same weights."""
    from torchvision.models import resnet18

    cfg = OmegaConf.create({"name": "r", "family": "resnet", "depth": 18, "stem": "imagenet", "pool": "global"})
    net, theirs = build_network(cfg, 1000, 3, 224).eval(), resnet18().eval()
    assert trainable(net) == 11_689_512
    net.trunk.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc")})
    net.classifier.load_state_dict(theirs.fc.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(x)[0], theirs(x), rtol=1e-5, atol=1e-5)
