"""Losses and gradients of the official code (tests/golden/README.md)."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from paths import ROOT
from torch import nn

from lls.methods.base import Batch
from lls.methods.flsd import FLSD
from lls.methods.focal import Focal
from lls.methods.kd import KD
from lls.methods.lls import LLS
from lls.methods.lls_st import LLSST
from lls.methods.ls import LS
from lls.methods.lspp import LSPP
from lls.methods.ols import OLS
from lls.methods.onehot import OneHot
from lls.methods.tfkd_reg import TFKDReg
from lls.methods.tfkd_self import TFKDSelf
from lls.methods.zipf import Zipf, votes
from lls.qmatrix import QMatrix

FOLDER = ROOT / "tests" / "golden"
INDEX = json.loads((FOLDER / "index.json").read_text())["methods"]
EXACT = {"rtol": 1e-9, "atol": 1e-12}
ROWS = ("no_fce", "no_rce", "no_pred_em", "no_target_em", "fce_only", "symmetric_ce", "forward_kl", "reverse_kl", "lls")


def cases(*files):
    return [(f, name) for f in files for name, about in INDEX[f]["cases"].items() if not about["fragile"]]


@cache
def arrays(file):
    return np.load(FOLDER / f"{file}.npz")


def has(file, case, name):
    return f"{case}.{name}" in arrays(file)


def get(file, case, name):
    return torch.from_numpy(arrays(file)[f"{case}.{name}"])


def close(actual, expected):
    torch.testing.assert_close(actual.detach(), expected, **EXACT)


def close_float32(actual, expected):
    atol = 2e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual.detach(), expected, rtol=3e-4, atol=atol, check_dtype=False)


def loss_and_gradient(method, z, y, **fields):
    z = z.detach().requires_grad_()
    loss = method(z, y, **fields)
    return loss, torch.autograd.grad(loss, z)[0]


def logits_of(file, case):
    """Return a teacher that gives a case's teacher logits for any images."""
    logits = get(file, case, "teacher_logits")
    return lambda x: logits


def method_of(file, case, k, **keys):
    about = INDEX[file]["cases"][case]
    return {
        "ce": lambda: OneHot(k),
        "ls_uniform": lambda: LS(k, alpha=about["alpha"]),
        "ls_offtarget": lambda: LS(k, alpha=about["alpha"] * k / (k - 1)),
        "fl3": lambda: Focal(k, gamma=about["gamma"], **keys),
        "flsd53": lambda: FLSD(k, gamma=about["gamma"], **keys),
        "tfkd_reg": lambda: TFKDReg(k, about["T"], about["alpha"], about["multiplier"]),
        "tfkd_self": lambda: TFKDSelf(k, logits_of(file, case), about["T"], about["alpha"], about["multiplier"]),
        "kd_yuan": lambda: TFKDSelf(k, logits_of(file, case), about["T"], about["alpha"], 1.0),
        "kd_eq6": lambda: KD(k, logits_of(file, case), about["beta"], about["T"]),
    }[file]()


FIXED = ("ce", "ls_uniform", "ls_offtarget", "fl3", "flsd53", "tfkd_reg", "tfkd_self", "kd_yuan", "kd_eq6")


@pytest.mark.parametrize(("file", "case"), cases(*FIXED))
def test_methods_without_parameters(file, case):
    z, y = get(file, case, "logits"), get(file, case, "labels")
    method = method_of(file, case, z.shape[1])
    loss, gradient = loss_and_gradient(method, z, y)
    close(loss, get(file, case, "loss"))
    close(gradient, get(file, case, "grad_logits"))
    if has(file, case, "loss_f32"):  # absent if the official code's log(softmax) underflows
        loss, gradient = loss_and_gradient(method, z.float(), y)
        close_float32(loss, get(file, case, "loss_f32"))
        close_float32(gradient, get(file, case, "grad_logits_f32"))


@pytest.mark.parametrize(("file", "case"), cases("fl3", "flsd53"))
def test_focal_losses_with_the_official_sum(file, case):
    z, y = get(file, case, "logits"), get(file, case, "labels")
    loss, gradient = loss_and_gradient(method_of(file, case, z.shape[1], reduction="sum"), z, y)
    close(loss, get(file, case, "loss_sum"))
    close(gradient, get(file, case, "grad_logits_sum"))


def with_q(file, case, **keys):
    q = get(file, case, "q_logits")
    method = LLS(len(q), alpha=INDEX[file]["cases"][case]["alpha"], **keys).double()
    with torch.no_grad():
        method.q.copy_(q)
    return method


@pytest.mark.parametrize(("file", "case"), cases("lls"))
def test_lls(file, case):
    z, y = get(file, case, "logits").requires_grad_(), get(file, case, "labels")
    method = with_q(file, case)
    loss = method(z, y)
    loss.backward()
    close(loss, get(file, case, "loss"))
    close(z.grad, get(file, case, "grad_logits"))
    close(method.q.grad, get(file, case, "grad_q"))
    for row, name in (("forward_kl", "forward_kl"), ("reverse_kl", "reverse_kl"), ("lls", "loss_sum")):
        close(with_q(file, case, scale=1.0, terms=row)(z, y), get(file, case, name))


@pytest.mark.parametrize(("file", "case"), cases("lls_ablation"))
def test_rows_of_table_4(file, case):
    y = get(file, case, "labels")
    for i, row in enumerate(ROWS):
        z, method = get(file, case, "logits").requires_grad_(), with_q(file, case, scale=1.0, terms=row)
        loss = method(z, y)
        loss.backward()
        close(loss, get(file, case, f"row{i}_loss"))
        close(z.grad, get(file, case, f"row{i}_grad_logits"))
        to_q = torch.zeros_like(method.q) if method.q.grad is None else method.q.grad
        close(to_q, get(file, case, f"row{i}_grad_q"))


@pytest.mark.parametrize(("file", "case"), cases("lls_st"))
def test_lls_st(file, case):
    z, y, alpha = get(file, case, "logits"), get(file, case, "labels"), INDEX[file]["cases"][case]["alpha"]
    if has(file, case, "q_logits_full"):
        full = get(file, case, "q_logits_full")
        names = [str(i) for i in range(len(full))]
        q = QMatrix(full, names, {}).restrict([names[i] for i in get(file, case, "classes")]).logits
    else:
        q = get(file, case, "q_logits")
    loss, gradient = loss_and_gradient(LLSST(len(q), q, alpha), z, y)
    close(loss, get(file, case, "loss"))
    close(gradient, get(file, case, "grad_logits"))
    if has(file, case, "loss_symkl"):
        loss, gradient = loss_and_gradient(LLSST(len(q), q, alpha, objective="symmetric_kl"), z, y)
        close(loss, get(file, case, "loss_symkl"))
        close(gradient, get(file, case, "grad_logits_symkl"))


@pytest.mark.parametrize(("file", "case"), cases("lspp_bmvc"))
def test_lspp(file, case):
    z, y, c = get(file, case, "logits"), get(file, case, "labels"), get(file, case, "c_logits")
    method = LSPP(len(c), alpha=INDEX[file]["cases"][case]["alpha"]).double()
    with torch.no_grad():
        method.c.copy_(c)
    z.requires_grad_()
    loss = method(z, y)
    loss.backward()
    close(loss, get(file, case, "loss"))
    close(z.grad, get(file, case, "grad_logits"))
    close(method.c.grad, get(file, case, "grad_c"))


@pytest.mark.parametrize(("file", "case"), [c for c in cases("zipf") if not c[1].startswith("featmap")])
def test_zipf(file, case):
    about, y = INDEX[file]["cases"][case], get(file, case, "labels")
    z = get(file, case, "logits")
    for dtype, suffix, compare in ((torch.float64, "", close), (torch.float32, "_f32", close_float32)):
        single = z.to(dtype).requires_grad_()
        scores = votes(get(file, case, "votes"), single.detach()) if about["dense"] else single.detach()
        method = Zipf(z.shape[1], lam=about.get("lambda_total", 1.0), mask=about.get("loss_mask", False))
        term = method.terms(single, y, scores).mean()
        compare(term, get(file, case, f"loss{suffix}"))
        compare(torch.autograd.grad(term, single)[0], get(file, case, f"grad_logits{suffix}"))
    if not about["dense"]:
        loss, gradient = loss_and_gradient(method, z, y)
        close(loss, get(file, case, "loss_total"))
        close(gradient, get(file, case, "grad_logits_total"))


class Pooled(nn.Module):
    """A network's end: the classifier on the average of a feature map."""

    pooled = 1

    def __init__(self, weight, bias):
        super().__init__()
        self.classifier = nn.Linear(weight.shape[1], weight.shape[0]).double()
        self.classifier.load_state_dict({"weight": weight, "bias": bias})


@pytest.mark.parametrize(("file", "case"), [c for c in cases("zipf") if c[1].startswith("featmap")])
def test_zipf_votes_over_the_feature_map(file, case):
    about, y, z = INDEX[file]["cases"][case], get(file, case, "labels"), get(file, case, "logits").double()
    features, weight, bias = (get(file, case, name).double() for name in ("featmap4", "weight4", "bias4"))
    net = Pooled(weight, bias)
    method = Zipf(len(weight), lam=about["loss_lambda"], upsample=about["upsample"] or "none")
    scores = method.scores(Batch(z, y, features=features, net=net))
    assert torch.equal(scores, votes(get(file, case, "votes"), z))
    loss, gradient = loss_and_gradient(method, z, y, features=features, net=net)
    close(loss, get(file, case, "loss_total"))
    close(gradient, get(file, case, "grad_logits_total"))


@pytest.mark.parametrize(("file", "case"), cases("ols_cifar", "ols_fine"))
def test_ols_over_three_epochs(file, case):
    about, fine = INDEX[file]["cases"][case], file == "ols_fine"
    keys = {"init": "uniform", "weights": [1.0, 1.0], "cap": 0.88} if fine else {}
    double, single = OLS(about["K"], **keys).double(), OLS(about["K"], **keys)
    for epoch in range(about["epochs"]):
        close(double.targets, get(file, case, f"S_before_e{epoch}"))
        for batch in range(len(about["batch_sizes"])):
            name = f"e{epoch}_b{batch}"
            z, y = get(file, case, f"logits_{name}"), get(file, case, f"labels_{name}")
            loss, gradient = loss_and_gradient(double, z, y)
            close(loss, get(file, case, f"loss_{name}"))
            close(gradient, get(file, case, f"grad_logits_{name}"))
            close_float32(loss_and_gradient(single, z.float(), y)[0], get(file, case, f"loss_{name}_f32"))
        close(double.counts, get(file, case, f"count_e{epoch}").double())
        double.end_epoch(), single.end_epoch()
        close(double.targets, get(file, case, f"S_after_e{epoch}"))
        close_float32(single.targets, get(file, case, f"S_after_e{epoch}_f32"))


def test_all_golden_files_are_used():
    assert {*FIXED, "lls", "lls_ablation", "lls_st", "lspp_bmvc", "zipf", "ols_cifar", "ols_fine"} == set(INDEX)
