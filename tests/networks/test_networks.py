"""Parameter counts of the networks (Table 9 and the authors' stated architectures), shapes, and errors."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lls.config.assemble import options
from lls.config.compose import compose
from lls.data.download import published
from lls.errors import UserError
from lls.networks.models import Network
from lls.training.build import build_method, build_network

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
    # torchvision's counts, with the 1,000 classes replaced
    ("mobilenetv2", 3, 224, 200): 2_223_872 + 1281 * 200,
    ("mobilenetv2", 3, 224, 102): 2_223_872 + 1281 * 102,
    ("resnet18", 3, 224, 200): 11_176_512 + 513 * 200,
    ("resnet50", 3, 224, 200): 23_508_032 + 2049 * 200,
    ("resnet101", 3, 224, 200): 42_500_160 + 2049 * 200,
    ("resnet18", 3, 224, 102): 11_176_512 + 513 * 102,
    ("resnet50", 3, 224, 102): 23_508_032 + 2049 * 102,
    ("resnet101", 3, 224, 102): 42_500_160 + 2049 * 102,
    ("resnet18", 3, 224, 100): 11_176_512 + 513 * 100,
    ("resnet50", 3, 224, 100): 23_508_032 + 2049 * 100,
    ("resnet18", 3, 64, 10): 11_168_832 + 2049 * 10,
}

PAIRS = {  # the networks that the paper's tables and figures train on each data set
    "cifar100": ("resnet18", "resnet34", "resnet50", "resnet101"),
    "tinyimagenet": ("resnet18", "resnet50", "resnet101"),
    "svhn": ("lenet",),
    "cifar10": ("alexnet",),
    "fashionmnist": ("alexnet", "lenet"),
    "animals10n": ("resnet18",),
    "imagenet100": ("resnet18", "resnet50"),
    "cub200": ("mobilenetv2", "resnet18", "resnet50", "resnet101"),
    "flowers102": ("mobilenetv2", "resnet18", "resnet50", "resnet101"),
}


def build(name, channels, size, classes, *overrides):
    """Build a network by its name in configs/network."""
    stem = "dataset=cub200" if size == 224 else "dataset=cifar100"
    return build_network(compose([stem, f"network={name}", *overrides]).network, classes, channels, size)


def trainable(*modules):
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("key", COUNTS, ids=lambda key: "-".join(map(str, key)))
def test_networks_have_the_published_numbers_of_parameters(key):
    with torch.device("meta"):  # parameters without values: only their number matters
        assert trainable(build(*key)) == COUNTS[key]


@pytest.mark.parametrize(("method", "more"), [("onehot", 0), ("ls", 0), ("lls", 200**2)])
def test_lls_adds_the_parameters_of_table_9(method, more):
    net = build("resnet18", 3, 64, 200)
    assert trainable(net, build_method(compose([f"method={method}"]).method, 200)) == 11_578_632 + more


def test_global_pooling_has_a_smaller_classifier_at_64x64_only():
    assert trainable(build("resnet18", 3, 64, 200, "network.pool=global")) == 11_271_432
    assert trainable(build("resnet18", 3, 32, 100, "network.pool=global")) == COUNTS["resnet18", 3, 32, 100]


@pytest.mark.parametrize(("dataset", "network"), [(d, n) for d, networks in PAIRS.items() for n in networks])
def test_all_networks_of_the_tables_have_their_number_of_parameters(dataset, network):
    cfg = compose([f"dataset={dataset}", f"network={network}"])
    data = cfg.dataset
    with torch.device("meta"):
        net = build_network(cfg.network, data.num_classes, data.channels, data.size)
    assert trainable(net) == COUNTS[network, data.channels, data.size, data.num_classes]


def test_all_data_sets_of_the_paper_have_one_of_its_networks_as_the_default():
    assert set(PAIRS) == {name.partition("_")[0] for name in published.COUNTS} - {"digits"}
    for dataset, networks in PAIRS.items():
        assert compose([f"dataset={dataset}"]).network.name in networks


@pytest.mark.parametrize("name", sorted(set(options("network")) - {"timm"}))
def test_logits_come_from_the_classifier_on_the_penultimate_features(name):
    net = build(name, 3, 32, 7).eval()
    x = torch.randn(2, 3, 32, 32)
    logits, features = net(x)
    assert logits.shape == (2, 7)
    assert features.dim() == 4
    assert torch.equal(net.classifier(net.embed(x)), logits)


@pytest.mark.parametrize(("model", "pooled"), [("resnet10t", 1), ("mobilenetv3_small_050", None), ("levit_128s", None)])
def test_a_network_of_timm_has_trunk_neck_and_classifier(model, pooled):
    """pooled: 1 if the classifier can be applied at each location of the last feature map, else None."""
    net = build("timm", 3, 224, 7, f"network.model={model}", "network.weights=null").eval()
    x = torch.randn(2, 3, 224, 224)
    logits, features = net(x)
    assert logits.shape == (2, 7)
    assert net.pooled == pooled
    assert torch.equal(net.classifier(net.embed(x)), logits)
    assert len(list(net.parameters())) == len(dict(net.named_parameters(remove_duplicate=False)))
    if pooled:
        torch.testing.assert_close(net.classifier(features.mean((2, 3))), logits)


@pytest.mark.parametrize(
    ("overrides", "size", "message"),
    [
        (
            ("network=timm", "network.model=resnet999"),
            32,
            r"network.model=resnet999: timm can't build it .Unknown model",
        ),
        (("network=timm", "network.model=resnet"), 32, "similar names are .*resnet"),
        (("network=timm", "network.model=vit_tiny_patch16_224"), 32, "can't take images of 32x32"),
        (("network=mobilenetv2", "network.stem=imagenet"), 16, "MobileNetV2 with the imagenet stem needs .* 32x32"),
        (("network=mobilenetv2", "network.stem=big"), 32, "network.stem=big: must be one of small, imagenet"),
        (("network=lenet",), 224, "LeNet takes images of 32x32, not 224x224"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error_of_one_line(overrides, size, message):
    with pytest.raises(UserError, match=message) as error:
        build_network(compose(overrides).network, 7, 3, size)
    assert "\n" not in str(error.value)


def test_mobilenetv2_gives_the_logits_of_torchvision():
    """With the small stem and 32x32 images, its last feature map is 4x4."""
    from torchvision.models import mobilenet_v2

    net, reference = build("mobilenetv2", 3, 224, 1000).eval(), mobilenet_v2().eval()
    net.trunk.features.load_state_dict(reference.features.state_dict())
    net.classifier.load_state_dict(reference.classifier[1].state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(x)[0], reference(x))
    assert build("mobilenetv2", 3, 32, 10).eval()(torch.randn(1, 3, 32, 32))[1].shape == (1, 1280, 4, 4)


@pytest.mark.parametrize(("size", "map_side", "width"), [(8, 1, 512), (32, 4, 512), (64, 8, 2048), (96, 12, 2048)])
def test_resnet_pools_to_at_most_2x2(size, map_side, width):
    net = build("resnet18", 3, size, 3).eval()
    features = net(torch.randn(1, 3, size, size))[1]
    assert features.shape == (1, 512, map_side, map_side)
    assert net.classifier.in_features == width
    if size == 64:
        assert torch.allclose(net.neck(features), torch.nn.AvgPool2d(4)(features).flatten(1), atol=1e-6)


def test_resnet18_with_the_imagenet_stem_gives_the_logits_of_torchvision():
    """It has torchvision's 11,689,512 parameters with 1,000 classes."""
    from torchvision.models import resnet18

    cfg = OmegaConf.create({"name": "r", "family": "resnet", "depth": 18, "stem": "imagenet", "pool": "global"})
    net, reference = build_network(cfg, 1000, 3, 224).eval(), resnet18().eval()
    assert trainable(net) == 11_689_512
    net.trunk.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc")})
    net.classifier.load_state_dict(reference.fc.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(x)[0], reference(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "mobilenetv2"])
def test_width_scales_the_channels(network):
    """The number of parameters falls about with the square of the width. Width 1 gives the same random weights."""
    cfg, nets = compose(["dataset=cifar100", f"network={network}"]), {}
    for width in (None, 1, 0.25):
        cfg.network.width = width
        torch.manual_seed(0)
        nets[width] = build_network(cfg.network, 100, 3, 32)
    for default, with_width_1 in zip(nets[None].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(default, with_width_1)
    sizes = {width: sum(p.numel() for p in net.trunk.parameters()) for width, net in nets.items()}
    assert 1 / 20 < sizes[0.25] / sizes[None] < 1 / (2 if network == "mobilenetv2" else 14)
    logits, features = nets[0.25](torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 100)
    assert features.shape[1] == nets[0.25].classifier.in_features


@pytest.mark.parametrize("network", ["resnet34", "mobilenetv2"])
@pytest.mark.parametrize("width", ["0.001", "wide"])
def test_a_width_without_channels_is_an_error(network, width):
    cfg = compose(["dataset=cifar100", f"network={network}", f"network.width={width}"])
    with pytest.raises(UserError, match=rf"network.width={width}: must be a number of at least"):
        build_network(cfg.network, 100, 3, 32)


@pytest.mark.parametrize("name", ["lenet", "alexnet"])
def test_relu_after_the_pooling_is_bitwise_the_same_as_before_it(name):
    """The logits and the gradients of all weights."""
    net, x = build(name, 3, 32, 10), torch.randn(8, 3, 32, 32)
    layers = [*net.trunk]
    for i in [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]:
        layers[i : i + 2] = layers[i + 1], layers[i]
    assert [type(layer) for layer in layers[:3]] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    relu_first = Network(nn.Sequential(*layers), net.neck, net.classifier)
    results = []
    for network in (net, relu_first):
        logits, _ = network(x)
        results.append((logits, *torch.autograd.grad(logits.square().sum(), [*net.parameters()])))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
