"""The LLS loss on a GPU. Without one, its Triton kernels run in Triton's interpreter and are compiled for an H100."""

import copy
import math
import os
import re
import subprocess
import sys

import pytest
import torch
from paths import ROOT

from lls.methods.lls import LLS

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def case(k, b):
    g = torch.Generator().manual_seed(0)
    method = LLS(k).double()
    method.q.data = 2 * torch.randn(k, k, generator=g, dtype=torch.float64)
    z = 2 * torch.randn(b, k, generator=g, dtype=torch.float64)
    return method, z.requires_grad_(), torch.randint(k, (b,), generator=g)


def gradients(loss, *of):
    return torch.autograd.grad(loss, of)


def test_triton_kernels_equal_pytorch_in_the_interpreter():
    """Triton's own interpreter runs them, in a process of its own, since it decides at import what its kernels are."""
    pytest.importorskip("triton")
    code = """
import torch
from lls.losses import symmetric_kl_triton as triton_kl
from lls.losses.symmetric_kl import value_and_gradients

torch.manual_seed(0)
for k, alpha, spread in ((7, 1e-4, 1), (7, 0.1, 1000), (7, 1.0, 50), (40, 0.1, 1), (33, 1.0, 1000)):
    z, q, y = spread * torch.randn(6, k), spread * torch.randn(k, k), torch.randint(k, (6,))
    exact = value_and_gradients(z.double(), q.double(), y, alpha, per_sample=True)
    for actual, expected in zip(triton_kl.value_and_gradients(z, q, y, alpha), exact, strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=2e-6, atol=2e-6 * spread)
    rows = torch.randn(6, k)
    for factor in (torch.tensor(0.3), torch.rand(6)):
        expected = torch.zeros(k, k).index_add_(0, y, factor.expand(6)[:, None] * rows)
        torch.testing.assert_close(-triton_kl.minus_scaled_row_sums(rows, y, k, factor), expected)
    y = torch.tensor([0, k, 1, -1, -100, k - 1])
    losses, *_ = triton_kl.value_and_gradients(z, q, y, alpha)
    assert losses.isnan().tolist() == [False, True, False, True, True, False]
    known = torch.tensor([0, 2, 5])
    exact, *_ = value_and_gradients(z[known].double(), q.double(), y[known], alpha, per_sample=True)
    torch.testing.assert_close(losses[known].double(), exact, rtol=2e-6, atol=2e-6 * spread)
"""
    environment = {**ENVIRONMENT, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("k", [7, 200, 1000])
def test_triton_kernels_equal_float64_on_a_gpu(k):
    method, z, y = case(k, b=64)
    loss = method(z, y)
    expected = (loss, *gradients(loss, z, method.q))
    method.float().cuda()
    z = z.detach().float().cuda().requires_grad_()
    loss = method(z, y.cuda())
    assert loss.grad_fn.triton
    for actual, exact in zip((loss, *gradients(loss, z, method.q)), expected, strict=True):
        torch.testing.assert_close(actual.cpu().double(), exact, rtol=1e-5, atol=1e-8)


@pytest.mark.gpu
def test_calls_on_a_gpu_equal_those_on_a_cpu():
    """Ignored labels, weights and losses per sample, without waiting; also of more samples than a kernel takes."""
    for k, b in ((7, 64), (100, 5000)):
        method, z, y = case(k, b=b)
        y[::5] = -100
        for keys in ({}, {"reduction": "none"}, {"weight": torch.rand(k)}):
            on_cpu = LLS(k, **keys)
            on_cpu.q.data = method.q.detach().float()
            on_gpu = copy.deepcopy(on_cpu).cuda()
            logits = [z.detach().float().to(device).requires_grad_() for device in ("cpu", "cuda")]
            expected = on_cpu(logits[0], y)
            labels = y.cuda()
            torch.cuda.set_sync_debug_mode("error")
            actual = on_gpu(logits[1], labels)
            torch.cuda.set_sync_debug_mode("default")
            torch.testing.assert_close(actual.cpu(), expected, rtol=1e-5, atol=1e-7)
            gradients_on_cpu = gradients(expected.sum(), logits[0], on_cpu.q)
            for a, e in zip(gradients(actual.sum(), logits[1], on_gpu.q), gradients_on_cpu, strict=True):
                torch.testing.assert_close(a.cpu(), e, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_logits_of_nan_give_nan_on_a_gpu():
    losses = LLS(7, reduction="none").cuda()(torch.full((2, 7), math.nan).cuda(), torch.tensor([0, 1]).cuda())
    assert losses.isnan().all()


@pytest.mark.gpu
def test_a_wrong_label_fails_an_assertion_of_the_gpu():
    """In a process of its own, because it ends the work on the device."""
    code = """
import torch
from lls import LLS
LLS(7).cuda()(torch.zeros(2, 7).cuda(), torch.tensor([0, 7]).cuda())
torch.cuda.synchronize()
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
    assert done.returncode != 0
    assert b"labels must be from 0 to 6" in done.stderr + done.stdout


def test_triton_kernels_compile_for_an_h100():
    """To machine code, for which Triton needs no GPU."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lls.losses import symmetric_kl_triton as triton_kl

    kinds = {"y_at": "*i64", "k": "i32", "factor_stride": "i32"}
    kinds |= dict.fromkeys(("alpha", "hard_share", "log_alpha"), "fp32")
    for kernel, constants in (
        (triton_kl.sample_kernel, {"BLOCK": 256}),
        (triton_kl.class_kernel, {"B": 128, "BLOCK": 256}),
    ):
        signature = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
        source = ASTSource(
            fn=kernel,
            signature=signature,
            constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        )
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        assert compiled.asm["cubin"]
        assert not re.search(r"max\.f32.*0f00000000", compiled.asm["ptx"])  # it would make 0 of a loss of nan
