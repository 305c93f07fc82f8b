"""Learnable Label Smoothing (the paper's Eqs. 4-5, Appendix A) and the ablations of its Table 4."""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.losses.divergences import cross_entropy, entropy, log_mixture
from lls.losses.inputs import check_alpha
from lls.losses.reduction import reduce
from lls.losses.symmetric_kl import loss_kernel, symmetric_kl
from lls.methods.base import Batch, LossOptions, Method

# Table 4: the weights of H(t, p), H(p, t), -H(p) and -H(t) in each row.
TERM_WEIGHTS = {
    "no_fce": (0, 1, 1, 1),
    "no_rce": (1, 0, 1, 1),
    "no_pred_em": (1, 1, 0, 1),
    "no_target_em": (1, 1, 1, 0),
    "fce_only": (1, 0, 0, 0),
    "symmetric_ce": (1, 1, 0, 0),
    "forward_kl": (1, 0, 0, 1),
    "reverse_kl": (0, 1, 1, 0),
    "lls": (1, 1, 1, 1),
}


class LLS(Method):
    """LLS loss (Eq. 5): symmetric KL divergence of a learned target t and the prediction p̂.

        t = (1-α) e_y + α softmax(Q_y)                                  (Eq. 4)
        loss = scale · [H(t, p̂) + H(p̂, t) - H(p̂) - H(t)]

    Q is a `[K, K]` parameter of logits; row y belongs to true class y. It starts at zero, which gives label smoothing's
    target. Both Q and the logits get gradient from every term: nothing is detached. A row of Q is trained by the
    samples of its class only; rows of classes that a batch lacks get a gradient of exactly zero.

    The loss is zero where t = p̂. A network more confident than 1-α therefore raises Q_yy again: the paper's "Q_yy → 0"
    holds only before that point.

    alpha: α, in (0, 1].
    scale: 0.5 as in the pseudo-code (Appendix A), or 1 as in Eq. 5.
    terms: a row of Table 4 by name (see TERM_WEIGHTS), or four weights.
    q_weight_decay: whether Q has the network's weight decay.
    options: weight, ignore_index and reduction, as for every Method.
    Raises ValueError for any other value.
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.1,
        *,
        scale: float = 0.5,
        terms: str | Sequence[float] = "lls",
        q_weight_decay: bool = True,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        check_alpha(alpha)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0")
        self.alpha, self.scale, self.q_weight_decay = alpha, scale, q_weight_decay
        self.weights = term_weights(terms)
        self.q = nn.Parameter(torch.zeros(num_classes, num_classes))

    def losses(self, batch: Batch) -> Tensor:
        return self._loss(batch, "none")

    def loss(self, batch: Batch) -> Tensor:
        return self._loss(batch, self.reduction)  # cheaper than the mean of `losses` in an operation of its own

    def _loss(self, batch: Batch, reduction: str) -> Tensor:
        if self.weights == TERM_WEIGHTS["lls"]:
            q = self.q.to(batch.logits.dtype)
            return symmetric_kl(batch.logits, q, batch.y, self.alpha, self.scale, reduction)
        return reduce(self.scale * weighted_sum(self.weights, self.terms(batch)), reduction)

    def loss_kernel(self, batch: Batch) -> str:
        return loss_kernel(batch.logits) if self.weights == TERM_WEIGHTS["lls"] else "torch"

    def terms(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four terms of Eq. 5, `[B]` each: H(t, p̂), H(p̂, t), -H(p̂), -H(t)."""
        log_p = F.log_softmax(batch.logits, -1)
        # The backward of an embedding adds up rows in a fixed order, so that repeated runs are bit-exact.
        rows = F.embedding(batch.y, self.q.to(log_p.dtype))
        return four_terms(log_mixture(F.log_softmax(rows, -1), batch.y, self.alpha), log_p)

    def q_logits(self) -> Tensor:
        return self.q.detach().clone()

    def param_groups(self, weight_decay: float) -> list[dict]:
        return super().param_groups(weight_decay if self.q_weight_decay else 0.0)


def four_terms(log_t: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return H(t, p̂), H(p̂, t), -H(p̂), -H(t), `[B]` each. log_t and log_p: log-probabilities `[B, K]`."""
    return cross_entropy(log_t, log_p), cross_entropy(log_p, log_t), -entropy(log_p), -entropy(log_t)


def weighted_sum(weights: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of weight · term, `[B]`. A term with weight 0 is left out, so that it cannot make the sum nan."""
    chosen = [weight * term for weight, term in zip(weights, terms, strict=True) if weight]
    return torch.stack(chosen).sum(0)


def term_weights(terms: str | Sequence[float]) -> tuple[float, ...]:
    """Return the weights of H(t, p̂), H(p̂, t), -H(p̂), -H(t).

    terms: a row of TERM_WEIGHTS by name, or four weights. Raises ValueError for anything else.
    """
    if not isinstance(terms, Sequence):
        raise ValueError(f"terms={terms}: must be a row of Table 4 ({', '.join(TERM_WEIGHTS)}) or four weights")
    if isinstance(terms, str):
        if terms not in TERM_WEIGHTS:
            raise ValueError(f"terms={terms}: must be a row of Table 4 ({', '.join(TERM_WEIGHTS)}) or four weights")
        return TERM_WEIGHTS[terms]
    weights: tuple[float, ...] = tuple(terms)
    if len(weights) != 4 or not all(type(w) in (int, float) and math.isfinite(w) for w in weights) or not any(weights):
        raise ValueError(f"terms={list(weights)}: must be four numbers, not all zero: H(t,p), H(p,t), -H(p), -H(t)")
    return weights
