"""The layers of a CPU: PyTorch's own functions, and PyTorch itself for what they do not suit."""

from copy import deepcopy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lls import native
from lls.build import build_network
from lls.config import compose
from lls.layers import place
from lls.layers.norm import norm_relu

CPU = torch.device("cpu")
compiled = pytest.mark.skipif(native.library() is None, reason="no C compiler")


def images(n: int, c: int, height: int, width: int) -> Tensor:
    return torch.randn(n, c, height, width).to(memory_format=torch.channels_last).requires_grad_()


def way(y: Tensor) -> str:
    """What PyTorch calls the function that made it."""
    return y.grad_fn.name() if y.grad_fn is not None else ""


def exact(layer: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """In float64: what a layer makes of x, and the gradients of that times weights to x and to its parameters."""
    layer, x = deepcopy(layer).double(), x.detach().double().requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize(
    ("n", "c", "out", "sides", "keys"),
    [
        (64, 192, 384, (2, 2), {"kernel_size": 3, "padding": 1}),
        (64, 128, 128, (4, 4), {"kernel_size": 3, "padding": 1, "bias": False}),
        (65, 128, 130, (8, 7), {"kernel_size": (3, 5), "stride": 2, "padding": 1}),
        (64, 256, 64, (4, 4), {"kernel_size": 5, "padding": 2}),
        (64, 128, 128, (5, 6), {"kernel_size": 3}),
        (64, 128, 128, (1, 1), {"kernel_size": (1, 3), "padding": (0, 1)}),
        (64, 128, 128, (3, 9), {"kernel_size": 2, "stride": (1, 4), "padding": (1, 0)}),
    ],
)
def test_a_convolution_of_a_small_map(n, c, out, sides, keys):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(c, out, **keys), images(n, c, *sides)
    weights = torch.randn_like(layer(x))
    want = exact(layer, x, weights)
    y = place(layer, CPU)(x)
    assert "_Products" in way(y)
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = [y, *torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()])]
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize(
    ("keys", "sides"),
    [
        ({"kernel_size": 3, "padding": 1}, (8, 8)),  # a large map
        ({"kernel_size": 1}, (2, 2)),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, (2, 2)),
        ({"kernel_size": 2, "dilation": 2, "padding": 1}, (2, 2)),
        ({"kernel_size": 3, "padding": 3}, (2, 2)),  # places that see nothing of the map
        ({"kernel_size": 3, "padding": "same"}, (2, 2)),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (2, 2)),
    ],
)
def test_other_convolutions_are_pytorchs(keys, sides):
    layer, x = nn.Conv2d(128, 128, **keys), images(64, 128, *sides)
    want, y = layer(x), place(layer, CPU)(x)
    assert "_Products" not in way(y)
    torch.testing.assert_close(y, want)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
def test_other_inputs_are_pytorchs():
    layer = place(nn.Conv2d(128, 128, 3, padding=1), CPU)
    x = images(64, 128, 2, 2)
    assert "_Products" in way(layer(x))
    assert "_Products" not in way(layer(x[:63]))
    assert "_Products" not in way(layer(x[0]))
    assert "_Products" not in way(layer(x.contiguous()))
    assert "_Products" not in way(place(nn.Conv2d(127, 128, 3, padding=1), CPU)(images(64, 127, 2, 2)))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    for bad in (x[:, :, :1, :1].expand(-1, -1, 0, 0), images(64, 127, 2, 2), images(64, 129, 2, 2)):
        with pytest.raises(RuntimeError):
            layer(bad)
    graph = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(graph(x), layer(x))
    torch.testing.assert_close(torch.func.vmap(layer)(x[None])[0], layer(x))
    assert "Products" not in str(torch.jit.trace(layer, x).graph)
    with torch.device("meta"):
        assert layer(x).is_cpu
    assert layer.double()(x.double()).dtype == torch.float64


def test_what_learns_nothing_gets_no_gradient():
    layer, x = place(nn.Conv2d(128, 128, 3, padding=1), CPU), images(64, 128, 2, 2)
    whole = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight], retain_graph=True)
    again = layer(x).square().sum()
    for _ in range(2):  # as often as one likes
        found = torch.autograd.grad(again, [x, layer.weight], retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    layer(x.detach()).square().sum().backward()
    assert x.grad is None
    assert torch.equal(layer.weight.grad, whole[1])
    layer.requires_grad_(False)
    (to_x,) = torch.autograd.grad(layer(x).square().sum(), x)
    assert torch.equal(to_x, whole[0])
    assert not layer(x.detach()).requires_grad


@compiled
@pytest.mark.parametrize(
    "shape", [(128, 6, 28, 28), (3, 16, 10, 10), (5, 64, 8, 8), (2, 7, 5, 9), (1, 1, 2, 2), (2, 9, 3, 2)]
)
def test_pooling_is_pytorchs_to_the_bit(shape):
    """Where pixels are equally large, too: of whole numbers there are many."""
    torch.manual_seed(0)
    layer, x = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True)), images(*shape)
    x.data.round_()
    x.data[0, 0, 0, 1] = float("nan")
    want = layer(x)
    y, grad = place(deepcopy(layer), CPU)(x), torch.randn_like(want)
    assert "_MaxPoolReLU" in way(y)
    assert torch.equal(y.nan_to_num(9), want.nan_to_num(9))
    assert torch.equal(torch.autograd.grad(y, x, grad)[0], torch.autograd.grad(want, x, grad)[0])
    placed = place(deepcopy(layer), CPU)
    for other in (grad.contiguous(), grad.to(memory_format=torch.channels_last), torch._neg_view(-grad)):
        assert torch.equal(*(torch.autograd.grad(of(x), x, other)[0] for of in (placed, layer)))


def test_a_layer_without_its_relu_elsewhere_and_one_that_is_watched():
    class Two(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    pool, norm, x = nn.MaxPool2d(2), nn.BatchNorm2d(3), images(8, 3, 8, 8)
    net = nn.Sequential(pool, nn.ReLU(), norm, nn.ReLU(), Two(pool, nn.ReLU()), nn.Conv2d(3, 3, 1), norm)
    want, seen = deepcopy(net)(x), []
    net[3].register_forward_hook(lambda layer, x, y: seen.append(y))
    assert torch.allclose(place(net, CPU)(x), want)
    assert net[0] is not pool
    assert net[2] is net[6] is norm
    assert len(seen) == 1


@pytest.mark.parametrize(
    "hook",
    [
        *("register_forward_pre_hook", "register_forward_hook"),
        *("register_full_backward_pre_hook", "register_full_backward_hook"),
    ],
)
def test_hooks_go_on_being_called(hook):
    seen, x = [], images(8, 3, 8, 8)
    pair, block = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), torchvision.models.resnet.BasicBlock(3, 3)
    block.relu.inplace = False  # which PyTorch refuses behind some hooks
    for layer in (*pair, block.bn1):
        getattr(layer, hook)(lambda *_: seen.append(1))
    for net in (pair, block):
        place(net, CPU)(x).sum().backward()
    assert len(seen) == 3


def test_parameters_are_kept_with_their_names():
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    of = dict(net.named_parameters())
    place(net, CPU)
    assert "lls.layers" in type(net[1]).__module__
    assert all(of[name] is parameter for name, parameter in net.named_parameters())
    net[1].load_state_dict({**net[1].state_dict(), "running_mean": torch.ones(3)})
    assert net.train()[1].training
    assert torch.equal(net.eval()[1].running_mean, torch.ones(3))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sequential(nn.MaxPool2d(3, 2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2, padding=1), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Sigmoid()),
        nn.Sequential(nn.MaxPool2d(2)),
    ],
)
def test_other_poolings_are_pytorchs(layer):
    x = images(2, 3, 7, 7)
    want, y = layer(x), place(layer, CPU)(x)
    assert "_MaxPoolReLU" not in way(y)
    assert torch.equal(y, want)


def test_pooling_of_other_inputs_is_pytorchs(monkeypatch):
    layer, x = place(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()), CPU), images(2, 3, 6, 6)
    want = layer(x)
    for other in (x.contiguous(), x[0], x.bfloat16()):
        assert "_MaxPoolReLU" not in way(layer(other))
    assert torch.equal(layer(x.double()), want.double())
    assert torch.equal(torch.compile(layer, backend="eager", fullgraph=True)(x), want)
    with pytest.raises(RuntimeError):
        layer(x[:, :, :1])
    monkeypatch.setattr(native, "library", lambda: None)
    assert "_MaxPoolReLU" not in way(layer(x))
    assert torch.equal(layer(x), want)


def norm_of(c: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(c)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    return norm


@compiled
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("shape", [(128, 64, 8, 8), (5, 7, 3, 3), (1, 3, 5, 7), (2, 16, 1, 1), (1000, 1, 2, 2)])
def test_normalised_and_relu(shape, add):
    torch.manual_seed(0)
    norm, x, other = norm_of(shape[1]), images(*shape), images(*shape) if add else None
    x.data.mul_(3).add_(20)  # far from zero, where a mean of squares says little of a variance
    double, of = deepcopy(norm).double(), [t.detach().double().requires_grad_() for t in (x, other) if t is not None]
    grad = torch.randn(shape)
    want = (double(of[0]) + (of[1] if add else 0)).relu()
    want = [want, *torch.autograd.grad(want, [*of, *double.parameters()], grad.double())]
    y = norm_relu(norm, x, other)
    assert "_NormReLU" in way(y)
    found = [y, *torch.autograd.grad(y, [x, *([other] if add else []), *norm.parameters()], grad)]
    for a, b in zip([*found, *norm.buffers()], [*want, *double.buffers()], strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-4)


@compiled
def test_threads_change_no_bit_of_a_norm():
    torch.manual_seed(0)
    x, own, found = images(33, 20, 7, 7), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            norm = nn.BatchNorm2d(20)
            y = norm_relu(norm, x)
            found.append([y, *torch.autograd.grad(y.square().sum(), [x, *norm.parameters()]), *norm.buffers()])
    finally:
        torch.set_num_threads(own)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_other_norms_are_pytorchs(monkeypatch):
    x = images(4, 6, 3, 3)
    for norm in (nn.BatchNorm2d(6).eval(), nn.BatchNorm2d(6).bfloat16()):
        assert "_NormReLU" not in way(norm_relu(norm, x.to(norm.weight.dtype)))
    assert "_NormReLU" not in way(norm_relu(nn.BatchNorm2d(6), x, x.contiguous()))
    assert "_NormReLU" not in way(norm_relu(nn.BatchNorm2d(6), x, x.mean(0, keepdim=True)))
    for keys in ({"affine": False}, {"track_running_stats": False}, {"momentum": None}):
        layer = nn.Sequential(nn.BatchNorm2d(6, **keys), nn.ReLU())
        assert torch.equal(layer(x), place(deepcopy(layer), CPU)(x))
    with pytest.raises(ValueError, match="more than 1 value"):
        norm_relu(nn.BatchNorm2d(6), x[:1, :, :1, :1].contiguous(memory_format=torch.channels_last))
    with pytest.raises(RuntimeError):
        norm_relu(nn.BatchNorm2d(5), x)
    norm = nn.BatchNorm2d(6)
    want = norm_relu(deepcopy(norm), x, x)
    graph = torch.compile(lambda x: norm_relu(norm, x, x), backend="eager", fullgraph=True)
    torch.testing.assert_close(graph(x), want)
    monkeypatch.setattr(native, "library", lambda: None)
    torch.testing.assert_close(norm_relu(nn.BatchNorm2d(6), x, x), want)


@compiled
def test_what_is_not_finite_stays_so():
    x, norm = images(4, 6, 3, 3), nn.BatchNorm2d(6)
    x.data[0, 2, 0, 0] = float("nan")
    y = norm_relu(norm, x)
    assert y.isnan().any((0, 2, 3)).tolist() == [False, False, True, False, False, False]
    assert norm.running_var.isnan().tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_residual_blocks(block):
    """In training and in evaluation, to what PyTorch makes of them in float64."""
    torch.manual_seed(0)
    kind = getattr(torchvision.models.resnet, block)
    kind = nn.Sequential(kind(8, 8 // kind.expansion), kind(8, 8 // kind.expansion))
    for norm in kind.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 2)
    exact, net, x = deepcopy(kind).double(), place(kind, CPU), images(16, 8, 5, 5)
    y = net(x)
    assert ("_NormReLU" in way(y)) == (native.library() is not None)
    torch.testing.assert_close(y.double(), exact(x.double()), rtol=1e-4, atol=1e-4)
    for mean, want in zip(net.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mean.double(), want.double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.eval()(x).double(), exact.eval()(x.double()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"norm_layer": lambda c: nn.BatchNorm2d(c, affine=False)},
        lambda: {"norm_layer": lambda c: nn.BatchNorm2d(c, momentum=None)},
        lambda: {"norm_layer": lambda c: nn.GroupNorm(2, c)},
        lambda: {"norm_layer": lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True)},
        lambda: {"norm_layer": torchvision.ops.FrozenBatchNorm2d},
        lambda: {"relu": nn.SiLU()},
    ],
)
def test_other_residual_blocks_are_torchvisions(change):
    keys, x = change(), images(8, 8, 5, 5)
    block = torchvision.models.resnet.BasicBlock(8, 8, **{k: v for k, v in keys.items() if k == "norm_layer"})
    block.relu = keys.get("relu", block.relu)
    want = deepcopy(block)(x)
    torch.testing.assert_close(place(block, CPU)(x), want)


@compiled
def test_once_and_not_twice():
    layers = (nn.Conv2d(128, 128, 3, padding=1), nn.Sequential(nn.MaxPool2d(2), nn.ReLU()))
    for layer in (*layers, nn.Sequential(nn.BatchNorm2d(128), nn.ReLU())):
        x = images(64, 128, 2, 2)
        (to_x,) = torch.autograd.grad(place(layer, CPU)(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            to_x.sum().backward()


@pytest.mark.parametrize(
    ("dataset", "network"), [("fashionmnist", "lenet"), ("cifar10", "alexnet"), ("cifar100", "resnet18")]
)
def test_a_network_stays_the_same(dataset, network):
    torch.manual_seed(0)
    cfg = compose([f"dataset={dataset}", f"network={network}"])
    plain = build_network(cfg.network, 10, cfg.dataset.channels, 32).to(memory_format=torch.channels_last)
    if network == "resnet18":  # of its last layers, which cost the least
        plain, x = plain.trunk.layer4, images(64, 256, 8, 8)
    else:
        x = images(64, cfg.dataset.channels, 32, 32)
    net = place(deepcopy(plain), CPU)
    assert [*net.state_dict()] == [*plain.state_dict()]
    assert any(type(layer).__module__.startswith("lls.layers") for layer in net.modules())
    ways = []
    for one in (net, plain):
        y = one(x)
        y = y[0] if isinstance(y, tuple) else y
        weights = torch.linspace(-1, 1, y.numel()).view_as(y)
        ways.append([y, *torch.autograd.grad((y * weights).mean(), [*one.parameters()])])
    torch.testing.assert_close(ways[0][0], ways[1][0], rtol=1e-4, atol=1e-4)
    for a, b in zip(*ways, strict=True):  # a rounding that takes a number through a ReLU changes a gradient by more
        assert torch.linalg.norm(a - b) < 0.02 * torch.linalg.norm(b)
    net.load_state_dict(plain.state_dict())
    place(net, CPU)  # again: nothing is left to do
