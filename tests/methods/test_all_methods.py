"""What every method promises: a finite scalar loss, training, and safety in a CUDA graph."""

import math

import pytest
import torch
from torch.overrides import TorchFunctionMode
from training_runs import stop_after

from lls.config.assemble import options
from lls.config.compose import compose
from lls.methods.base import Batch
from lls.runs.run import Run
from lls.training.build import build_method
from lls.training.execute import execute


def with_teacher(method, cfg):
    """Give a method its teacher, if its yaml has one: a Q of zeros, or a network that returns the images themselves."""
    if "teacher" in cfg:
        method.set_teacher(torch.zeros(10, 10) if "q" in cfg else lambda x: x)
    return method


@pytest.mark.parametrize("option", options("method"))
def test_any_training_loop_can_call_each_method(option):
    """method(logits, y) is a scalar with finite gradients to logits and parameters, also at logit gaps of 10^4."""
    cfg = compose([f"method={option}"]).method
    method = with_teacher(build_method(cfg, 10), cfg)
    y = torch.arange(20) % 10
    for spread in (1.0, 1e4):
        z = (spread * torch.randn(20, 10, generator=torch.Generator().manual_seed(0))).requires_grad_()
        loss = method(z, y, x=z.detach().flip(0))  # the teacher returns the images themselves
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(z.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
        method.end_epoch()
    assert torch.equal(method(z.bfloat16(), y, x=z.bfloat16()).isfinite(), torch.tensor(True))


@pytest.mark.parametrize("augment", ["mixup", "cutmix"])
@pytest.mark.parametrize("option", [o for o in options("method") if o.count("_") < 2])
def test_each_method_trains_with_mixed_images_in_bf16_and_resumes(option, augment, overrides):
    """Two epochs on digits, interrupted after the first. Teachers are trained first."""
    line = [f"method={option}", f"augment={augment}", "train.epochs=2", "train.batch_size=256", *overrides]
    line += ["dataset.subset=samples", *(["machine.precision=bf16"] if augment == "cutmix" else [])]
    run = Run(compose(line))

    stop_after(run, 1)
    result = execute(run)
    assert result["epochs"] == 2
    assert math.isfinite(result["loss"])


@pytest.mark.parametrize("option", ["kd", "lls_st", "tfkd_self"])
def test_a_method_without_its_teacher_raises(option):
    method = build_method(compose([f"method={option}"]).method, 10)
    with pytest.raises(RuntimeError, match="no teacher"):
        method(torch.zeros(2, 10), torch.tensor([0, 1]), x=torch.zeros(2, 1, 32, 32))


CUDA_GRAPH_SAFE = [
    "flsd",
    "focal",
    "kd",
    "lls",
    "lls_st",
    "lls_topn",
    "ls",
    "lspp",
    "ols",
    "onehot",
    "tfkd_reg",
    "tfkd_self",
    "zipf",
]


class CaptureCheck(TorchFunctionMode):
    """Fail where Python numbers are copied to the device, which a CUDA graph cannot capture."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function not in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor), "copied from the CPU"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "option",
    [
        *(*options("method"), "lls method.terms=no_rce", "lls_st method.objective=symmetric_kl"),
        *("lls_topn method.n=4", "lls_topn method.n=4 method.terms=no_rce", "lls_topn method.n=10"),
        *("zipf method.mask=true", "tfkd_reg method.form=paper", "focal method.reduction=sum"),
    ],
)
def test_cuda_graph_safe_methods_neither_synchronise_nor_copy_to_the_device(option):
    """On the meta device, where reading a value raises."""
    cfg = compose(f"method={option}".split()).method
    method = with_teacher(build_method(cfg, 10), cfg).to("meta")
    method.gathering = False  # lls_topn is not safe in its first epochs, which gather confusions
    if cfg.name not in CUDA_GRAPH_SAFE and not method.cuda_graph_safe:
        pytest.skip("a new method need not be safe")
    assert method.cuda_graph_safe
    z, y = torch.empty(8, 10, device="meta", requires_grad=True), torch.empty(8, dtype=torch.int64, device="meta")
    with CaptureCheck():
        method.loss(Batch(z, y, z.detach())).backward()
    assert z.grad.is_meta
