"""Random logits and labels for tests of losses, and all methods."""

import re
from functools import cache

import torch
from omegaconf import OmegaConf
from paths import ROOT

from lls.config.assemble import options
from lls.config.compose import compose
from lls.methods.base import Method
from lls.training.build import build_method


def case(k=7, b=16, seed=0, spread=2.0):
    """Logits `[b, k]` that require gradients, and labels."""
    g = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(b, k, generator=g, dtype=torch.float64)
    return z.requires_grad_(), torch.randint(k, (b,), generator=g)


def gradient(loss, z):
    return torch.autograd.grad(loss, z)[0]


@cache
def _yaml(line):
    return compose(f"method={line}".split()).method


def _shares_arguments(name: str) -> bool:
    """Whether a yaml of configs/method has its own method, and that takes weight, ignore_index and reduction."""
    if not re.search(rf"^name: {name}$", (ROOT / "configs" / "method" / f"{name}.yaml").read_text(), re.M):
        return False  # other values of another method's keys
    method = type(build_method(_yaml(name), 10))
    try:
        method(10, reduction="mean")
    except TypeError:
        return False
    return method.losses is not Method.losses


# lls_topn with n below K: else it is LLS.
METHODS = [name.replace("lls_topn", "lls_topn method.n=3") for name in options("method") if _shares_arguments(name)]


def make_method(line: str, k: int, **arguments) -> Method:
    """Build a method of configs/method, such as `lls method.terms=no_rce`, in eval mode and float64.

    Its parameters are random. A teacher is a random Q, or a network that returns the images themselves. lls_topn has
    chosen its candidates. arguments: those that all methods share, such as reduction."""
    cfg = _yaml(line)
    keys = {name: value for name, value in OmegaConf.to_container(cfg).items() if name not in ("name", "teacher", "q")}
    method = type(build_method(cfg, k))(k, **keys | arguments)
    g = torch.Generator().manual_seed(1)
    if "teacher" in cfg:
        method.set_teacher(torch.randn(k, k, generator=g) if "q" in cfg else lambda x: x)
    if cfg.name == "lls_topn":
        method.end_epoch()
    for parameter in method.parameters():
        parameter.data.normal_(generator=g)
    if cfg.name == "ols":
        method.s.copy_(torch.randn(k, k, generator=g).softmax(-1))
    return method.double().eval()
