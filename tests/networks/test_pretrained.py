"""What networks start from: files of weights as torchvision, timm and this package write them, and nothing else."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lls.config.compose import compose
from lls.errors import UserError
from lls.networks.pretrained import load_pretrained
from lls.training.build import build_network

SIZE = 64  # what the networks are tried on; the weights know no size


def network(*overrides, classes=7, channels=3):
    cfg = compose(["dataset=cub200", *overrides]).network
    return build_network(cfg, classes, channels, SIZE), cfg


def theirs(name, seed=1):
    torch.manual_seed(seed)
    net = getattr(torchvision.models, name)()
    for module in net.modules():  # no two layers alike, the statistics of batch normalisation included
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


NAMES = {"resnet18": "resnet18", "resnet50": "resnet50", "mobilenetv2": "mobilenet_v2"}


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_weights_give_torchvisions_features(name, tmp_path):
    reference = theirs(NAMES[name])
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    net, cfg = network(f"network={name}", f"network.weights={tmp_path}/weights.pth")
    head = net.classifier.weight.clone()
    load_pretrained(net, cfg, 3, tmp_path)
    x, last = torch.randn(1, 3, SIZE, SIZE), list(reference.children())[-1]
    last = last[-1] if isinstance(last, torch.nn.Sequential) else last
    seen = []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    reference(x)
    torch.testing.assert_close(net.eval().embed(x), seen[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(net.classifier.weight, head)


def test_timms_weights_give_timms_features(tmp_path):
    import timm  # takes seconds

    torch.manual_seed(1)
    reference = timm.create_model("resnet10t", num_classes=5).eval()
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    keys = ("network=timm", "network.model=resnet10t", f"network.weights={tmp_path}/weights.safetensors")
    net, cfg = network(*keys)
    load_pretrained(net, cfg, 3, tmp_path)
    x = torch.randn(1, 3, SIZE, SIZE)
    want = reference.forward_head(reference.forward_features(x), pre_logits=True)
    torch.testing.assert_close(net.eval().embed(x), want)


def test_the_weights_of_a_run(tmp_path):
    given, _ = network("network.weights=null", classes=3)
    torch.save({"network": given.state_dict(), "rows": []}, tmp_path / "last.pt")
    net, cfg = network(f"network.weights={tmp_path}/last.pt", classes=7)
    load_pretrained(net, cfg, 3, tmp_path)
    x = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(net.eval().embed(x), given.eval().embed(x))


def test_no_weights_leave_the_network_as_it_is(tmp_path):
    net, cfg = network("network.weights=null")
    before = net.trunk.conv1.weight.clone()
    load_pretrained(net, cfg, 3, tmp_path)
    assert torch.equal(net.trunk.conv1.weight, before)


def test_named_weights_are_torchvisions_first_version_and_lie_in_the_data_folder(tmp_path, monkeypatch):
    """The defaults of torchvision are the second version's now."""
    asked = []

    def download(url, path, **check):
        asked.append((url.rpartition("/")[2], check))
        path.parent.mkdir(exist_ok=True)
        torch.save(theirs("resnet50").state_dict(), path)

    monkeypatch.setattr("lls.data.download.fetch.download", download)
    net, cfg = network("network=resnet50")
    assert cfg.weights == "IMAGENET1K_V1"
    load_pretrained(net, cfg, 3, tmp_path)
    assert asked == [("resnet50-0676ba61.pth", {"sha256_prefix": "0676ba61"})]
    assert (tmp_path / "weights" / "resnet50-0676ba61.pth").exists()
    assert torch.equal(net.trunk.conv1.weight, theirs("resnet50").conv1.weight)


@pytest.mark.parametrize(
    ("overrides", "channels", "said"),
    [
        (
            ("network.weights=nowhere.pth",),
            3,
            r"no such file, and no name of weights of resnet18 \(there are: IMAGENET",
        ),
        (("network.weights=IMAGENET1K_V2",), 3, "network.weights=IMAGENET1K_V2: no such file"),
        (("network=resnet34", "network.weights={resnet18}"), 3, "the file lacks layer1.2.bn1.bias .and 79 more"),
        (
            ("network=mobilenetv2", "network.weights={resnet18}"),
            3,
            "not this network's weights: the file lacks features",
        ),
        (
            ("dataset.stem=small", "network.weights={resnet18}"),
            3,
            r"conv1.weight of shape \[64, 3, 7, 7\], not \[64, 3, 3",
        ),
        (("network.weights={resnet18}",), 1, r"has conv1.weight of shape \[64, 3, 7, 7\], not \[64, 1, 7, 7\]"),
        (("network.weights={text}",), 3, "is no file of weights"),
        (("network.weights={list}",), 3, "holds no tensors by name"),
        (("network.weights={cut}",), 3, "is no file of weights"),
        (
            ("network=timm", "network.model=resnet50"),
            3,
            "its weights must be named, and that is one of resnet50.a1_in1k",
        ),
        (("network=timm", "network.model=resnet10t", "network.weights=nowhere"), 3, r"\(there are: tag\)"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, overrides, channels, said):
    made = {name: tmp_path / f"{name}.pth" for name in ("resnet18", "text", "list", "cut")}
    torch.save(theirs("resnet18").state_dict(), made["resnet18"])
    made["text"].write_text("no weights")
    torch.save([1, 2], made["list"])
    made["cut"].write_bytes(made["resnet18"].read_bytes()[:1000])
    net, cfg = network(*(text.format(**made) for text in overrides), channels=channels)
    with pytest.raises(UserError, match=said) as refused:
        load_pretrained(net, cfg, channels, tmp_path)
    assert "\n" not in str(refused.value)


def test_weights_that_cannot_be_fetched_are_an_error_and_no_random_start(tmp_path, monkeypatch):
    def offline(url, path, **_):
        raise UserError(f"{url} can't be fetched")

    monkeypatch.setattr("lls.data.download.fetch.download", offline)
    net, cfg = network()
    with pytest.raises(UserError, match=r"can't be fetched; network\.weights=FILE names a copy"):
        load_pretrained(net, cfg, 3, tmp_path)


def test_a_run_asks_for_its_weights_before_it_reads_an_image(train_py, overrides, data, monkeypatch):
    monkeypatch.setattr("lls.training.loop.make_loaders", lambda *_: pytest.fail("images were read"))
    status, _, err = train_py("network=resnet18", "network.weights=nowhere.pth", *overrides)
    assert status == 2
    assert err.startswith("error: network.weights=nowhere.pth: no such file")
    assert err.count("\n") == 1
