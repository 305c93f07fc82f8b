"""Online label smoothing: Zhang et al., Delving Deep into Label Smoothing, IEEE Trans. on Image Processing, 2021."""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.losses.pytorch_internals import inside_functorch
from lls.methods.base import Batch, LossOptions, Method


class OLS(Method):
    """Online label smoothing w_hard H(e_y, p̂) + w_soft H(S_y, p̂).

    Row c of S is the mean prediction of the previous epoch over the training samples of class c that were classified
    correctly, in train mode and before their step. A class without such samples has a uniform row.

    The two official scripts differ. CIFAR's has init=zeros (no soft term in the first epoch), weights=[0.5, 0.5], no
    cap. The fine-grained one has init=uniform, weights=[1, 1], cap=0.88.

    init: `zeros` or `uniform`, S in the first epoch.
    weights: w_hard and w_soft, each 0 or more.
    cap: a row whose largest entry has reached the cap no longer changes, unless its class had no correct sample; or
        None.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True
    s: Tensor
    uniform: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        num_classes: int,
        init: str = "zeros",
        weights: Sequence[float] = (0.5, 0.5),
        cap: float | None = None,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        if init not in ("zeros", "uniform"):
            raise ValueError(f"init={init}: must be one of zeros, uniform")
        if len(weights) != 2 or not all(isinstance(w, int | float) and 0 <= w < math.inf for w in weights):
            raise ValueError(f"weights={list(weights)}: must be two numbers of 0 or more: hard, soft")
        if cap is not None and not (isinstance(cap, int | float) and 0 < cap <= 1):
            raise ValueError(f"cap={cap}: must be above 0 and at most 1, or null")
        k = num_classes
        self.hard, self.soft = weights
        self.cap = cap
        self.register_buffer("s", torch.zeros(k, k))  # means of the previous epoch; zero for a class without one
        self.register_buffer("uniform", torch.full((k,), init == "uniform"))  # whether a row is 1/K
        self.register_buffer("sums", torch.zeros(k, k))
        self.register_buffer("counts", torch.zeros(k))

    @property
    def targets(self) -> Tensor:
        """S, `[K, K]`: row y is the soft target of class y."""
        return self.s + self.uniform.unsqueeze(-1).to(self.s.dtype) / len(self.s)

    def losses(self, batch: Batch) -> Tensor:
        log_p = F.log_softmax(batch.logits, -1)
        if self.training:
            self._accumulate(log_p.detach().exp(), batch)
        soft = -(F.embedding(batch.y, self.targets.to(log_p.dtype)) * log_p).sum(-1)
        return self.hard * F.nll_loss(log_p, batch.y, reduction="none") + self.soft * soft

    def end_epoch(self) -> None:
        """Compute the next epoch's targets from the sums of this epoch."""
        has_samples = self.counts > 0.5
        means = self.sums / self.counts.clamp_min(1).unsqueeze(-1)
        if self.cap is not None:
            capped = self.targets.amax(-1) >= self.cap
            means = torch.where(capped.unsqueeze(-1), self.targets, means)
        self.s.copy_(torch.where(has_samples.unsqueeze(-1), means, 0))
        self.uniform.copy_(~has_samples)
        self.sums.zero_()
        self.counts.zero_()

    def _accumulate(self, p: Tensor, batch: Batch) -> None:
        if inside_functorch():
            raise RuntimeError("OLS gathers predictions in train mode, which torch.func cannot do: call eval()")
        correct = p.argmax(-1) == batch.y
        if batch.valid is not None:
            correct = correct & batch.valid
        correct = correct.to(self.sums.dtype)
        self.sums.index_add_(0, batch.y, p.to(self.sums.dtype) * correct.unsqueeze(-1))
        self.counts.index_add_(0, batch.y, correct)

    def q_logits(self) -> Tensor:
        return self.targets.log()
