"""Compare losses under torch.compile with eager mode: python scripts/compare_compiled.py [METHOD ...]

For each method, number of classes K and batch size B, the loss and its gradients to the logits and to the method's
parameters are computed in eager mode, compiled, and in float64. Differences are the largest of all entries, relative to
the largest entry if that is above 1. The exit status is 1 if a compiled loss differs from eager mode by more than 1e-6.
All methods take about 20 minutes on two CPU cores.
"""

import argparse
import logging
import time

import torch
from torch import Tensor

from lls.config.assemble import options
from lls.config.compose import compose
from lls.errors import UserError, run_script
from lls.methods.base import Method
from lls.training.build import build_method

TOLERANCE = 1e-6
VARIANTS = {"lls": "terms=no_rce", "lls_st": "objective=symmetric_kl", "tfkd_reg": "form=paper", "zipf": "mask=true"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="options of configs/method (default: all)")
    parser.add_argument("--classes", type=int, nargs="+", default=[7, 10, 16, 100, 200, 1000], metavar="K")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64, 127], metavar="B")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.methods if name not in options("method")]:
        raise UserError(f"{unknown[0]}: no such method; python train.py --help lists them")
    logging.getLogger("torch").setLevel(logging.ERROR)
    names = arguments.methods or options("method")
    lines = [line for name in names for line in [name, *_variant(name)]]
    failed = 0
    print(f"{'method':<36} {'K':>5} {'B':>4}  compiled - eager  eager - float64")
    for line in lines:
        for k in arguments.classes:
            torch.compiler.reset()
            for b in arguments.batch_sizes:
                start = time.perf_counter()
                eager, compiled, exact = (values(line, k, b, mode) for mode in ("eager", "compiled", "float64"))
                difference, rounding = largest_difference(compiled, eager), largest_difference(eager, exact)
                wrong = not difference <= TOLERANCE  # also if it is nan
                failed += wrong
                seconds = time.perf_counter() - start
                note = "  WRONG" if wrong else ""
                print(
                    f"{line:<36} {k:>5} {b:>4}  {difference:16.1e} {rounding:16.1e}  {seconds:.0f} s{note}", flush=True
                )
    print(f"{failed} differ")
    return int(failed > 0)


def values(line: str, k: int, b: int, mode: str) -> list[Tensor]:
    """Return the loss of random logits `[b, k]` and its gradients. mode: eager, compiled or float64."""
    dtype = torch.float64 if mode == "float64" else torch.float32
    method = make_method(line, k).to(dtype)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(b, k, generator=generator).to(dtype).requires_grad_()
    y = torch.randint(k, (b,), generator=generator)
    teacher_logits = torch.randn(b, k, generator=generator).to(dtype)
    loss = (torch.compile(method) if mode == "compiled" else method)(logits, y, x=teacher_logits)
    inputs = [logits, *method.parameters()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [loss.detach(), *(gradient for gradient in gradients if gradient is not None)]


def make_method(line: str, k: int) -> Method:
    """Build a method in eval mode, with random parameters. Its teacher is a random Q, or returns the images."""
    cfg = compose(f"method={line}".split()).method
    method = build_method(cfg, k)
    generator = torch.Generator().manual_seed(1)
    if "teacher" in cfg:
        method.set_teacher(torch.randn(k, k, generator=generator) if "q" in cfg else lambda x: x)
    method.end_epoch()  # lls_topn chooses its candidates
    for parameter in method.parameters():
        parameter.data.normal_(generator=generator)
    return method.eval()


def largest_difference(actual: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference of two lists of tensors, relative to the largest entry if that is above 1."""
    pairs = [(a.double(), b.double()) for a, b in zip(actual, expected, strict=True)]
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1)).item() for a, b in pairs)


def _variant(name: str) -> list[str]:
    return [f"{name} method.{VARIANTS[name]}"] if name in VARIANTS else []


if __name__ == "__main__":
    run_script(main)
