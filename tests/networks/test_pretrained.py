"""Pretrained weights: files of torchvision, timm and this package, and errors for all other files."""

import pytest
import torch
import torchvision
from file_server import block_network
from safetensors.torch import save_file

from lls.config.compose import compose
from lls.errors import UserError
from lls.networks.pretrained import load_pretrained
from lls.training.build import build_network

SIZE = 64  # side of the images; weights fit images of all sizes


def network(*overrides, classes=7, channels=3):
    cfg = compose(["dataset=cub200", *overrides]).network
    return build_network(cfg, classes, channels, SIZE), cfg


def torchvision_network(name, seed=1):
    """Return a network of torchvision with random weights and random statistics of batch normalisation."""
    torch.manual_seed(seed)
    net = getattr(torchvision.models, name)()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


TORCHVISION_NAMES = {"resnet18": "resnet18", "resnet50": "resnet50", "mobilenetv2": "mobilenet_v2"}


@pytest.mark.parametrize("name", TORCHVISION_NAMES)
def test_weights_of_torchvision_give_the_features_of_torchvision(name, tmp_path):
    reference = torchvision_network(TORCHVISION_NAMES[name])
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    net, cfg = network(f"network={name}", f"network.weights={tmp_path}/weights.pth")
    classifier = net.classifier.weight.clone()
    load_pretrained(net, cfg, 3, tmp_path)
    x, last = torch.randn(1, 3, SIZE, SIZE), list(reference.children())[-1]
    last = last[-1] if isinstance(last, torch.nn.Sequential) else last
    features = []
    last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    reference(x)
    torch.testing.assert_close(net.eval().embed(x), features[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(net.classifier.weight, classifier)


def test_weights_of_timm_give_the_features_of_timm(tmp_path):
    import timm  # here, because the import takes seconds

    torch.manual_seed(1)
    reference = timm.create_model("resnet10t", num_classes=5).eval()
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    keys = ("network=timm", "network.model=resnet10t", f"network.weights={tmp_path}/weights.safetensors")
    net, cfg = network(*keys)
    load_pretrained(net, cfg, 3, tmp_path)
    x = torch.randn(1, 3, SIZE, SIZE)
    features = reference.forward_head(reference.forward_features(x), pre_logits=True)
    torch.testing.assert_close(net.eval().embed(x), features)


def test_weights_of_a_run_give_its_features(tmp_path):
    trained, _ = network("network.weights=null", classes=3)
    torch.save({"network": trained.state_dict(), "rows": []}, tmp_path / "last.pt")
    net, cfg = network(f"network.weights={tmp_path}/last.pt", classes=7)
    load_pretrained(net, cfg, 3, tmp_path)
    x = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(net.eval().embed(x), trained.eval().embed(x))


def test_null_does_not_change_the_network(tmp_path):
    net, cfg = network("network.weights=null")
    before = net.trunk.conv1.weight.clone()
    load_pretrained(net, cfg, 3, tmp_path)
    assert torch.equal(net.trunk.conv1.weight, before)


def test_named_weights_are_the_first_version_of_torchvision_in_the_data_folder(tmp_path, monkeypatch):
    """torchvision's default is the second version."""
    downloads = []

    def download(url, path, **checksum):
        downloads.append((url.rpartition("/")[2], checksum))
        path.parent.mkdir(exist_ok=True)
        torch.save(torchvision_network("resnet50").state_dict(), path)

    monkeypatch.setattr("lls.networks.pretrained.download", download)
    net, cfg = network("network=resnet50")
    assert cfg.weights == "IMAGENET1K_V1"
    load_pretrained(net, cfg, 3, tmp_path)
    assert downloads == [("resnet50-0676ba61.pth", {"sha256_prefix": "0676ba61"})]
    assert (tmp_path / "weights" / "resnet50-0676ba61.pth").exists()
    assert torch.equal(net.trunk.conv1.weight, torchvision_network("resnet50").conv1.weight)


@pytest.mark.parametrize(
    ("overrides", "channels", "message"),
    [
        (
            ("network.weights=nowhere.pth",),
            3,
            r"no such file and no such weights of resnet18; use a file or one of: IMAGENET",
        ),
        (("network.weights=IMAGENET1K_V2",), 3, "network.weights=IMAGENET1K_V2: no such file"),
        (("network=resnet34", "network.weights={resnet18}"), 3, "the file lacks layer1.2.bn1.bias .and 79 more"),
        (
            ("network=mobilenetv2", "network.weights={resnet18}"),
            3,
            "these are the weights of another network: the file lacks features",
        ),
        (
            ("dataset.stem=small", "network.weights={resnet18}"),
            3,
            r"conv1.weight of shape \[64, 3, 7, 7\], not \[64, 3, 3",
        ),
        (("network.weights={resnet18}",), 1, r"has conv1.weight of shape \[64, 3, 7, 7\], not \[64, 1, 7, 7\]"),
        (("network.weights={text}",), 3, "is not a file of weights"),
        (("network.weights={list}",), 3, "holds no tensors by name"),
        (("network.weights={cut}",), 3, "is not a file of weights"),
        (
            ("network=timm", "network.model=resnet50"),
            3,
            "the model's name does not name weights; use one of resnet50.a1_in1k",
        ),
        (("network=timm", "network.model=resnet10t", "network.weights=nowhere"), 3, "one of: tag$"),
    ],
)
def test_weights_that_do_not_fit_are_an_error_of_one_line(tmp_path, overrides, channels, message):
    files = {name: tmp_path / f"{name}.pth" for name in ("resnet18", "text", "list", "cut")}
    torch.save(torchvision_network("resnet18").state_dict(), files["resnet18"])
    files["text"].write_text("no weights")
    torch.save([1, 2], files["list"])
    files["cut"].write_bytes(files["resnet18"].read_bytes()[:1000])
    net, cfg = network(*(text.format(**files) for text in overrides), channels=channels)
    with pytest.raises(UserError, match=message) as error:
        load_pretrained(net, cfg, channels, tmp_path)
    assert "\n" not in str(error.value)


def test_weights_that_cannot_be_downloaded_are_an_error(tmp_path, monkeypatch):
    block_network(monkeypatch)
    net, cfg = network()
    with pytest.raises(UserError, match=r"can't be downloaded .*; or use network\.weights=FILE with a copy"):
        load_pretrained(net, cfg, 3, tmp_path)


def test_a_run_checks_its_weights_before_it_reads_an_image(train_py, overrides, tmp_path):
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            (tmp_path / "images" / split / label / "1.png").write_text("no image")
    dataset = ("dataset=imagefolder", f"dataset.root={tmp_path}/images")
    status, _, err = train_py("network=resnet18", "network.weights=nowhere.pth", *dataset, *overrides)
    assert status == 2
    assert err.startswith("error: network.weights=nowhere.pth: no such file")
    assert err.count("\n") == 1
    status, _, err = train_py("network=resnet18", "network.weights=null", *dataset, *overrides)
    assert status == 2
    assert "can't be read as an image" in err
