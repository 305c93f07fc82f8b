"""Learnable Label Smoothing (the paper's Eqs. 4-5, Appendix A) and the ablations of its Table 4."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.losses.divergences import cross_entropy, entropy, log_mixture
from lls.losses.symmetric_kl import loss_kernel, symmetric_kl
from lls.methods.base import Batch, Method

# Table 4: which terms each row keeps, in the order H(t, p), H(p, t), -H(p), -H(t).
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
    """scale · [H(t, p̂) + H(p̂, t) - H(p̂) - H(t)] with t = (1-α) e_y + α softmax(Q_y), mean over the batch.

    With all four terms this is the symmetric KL of Eq. 5; scale ½ is the pseudo-code's (Appendix A), 1 the equation's.
    Q is a `[K, K]` parameter of logits, zero at the start (so that the first target is label smoothing's), and gets
    gradient from every term, as the predictions do: nothing is detached. Row y of Q belongs to true class y.

    Each row of Q is trained on the samples of its class alone: rows of absent classes get exactly no gradient. The loss
    is zero wherever t = p̂, so a network more confident than 1-α pulls Q_yy up again: the paper's "Q_yy → 0" holds on
    the way there only.

    alpha: in (0, 1]. terms: a row of Table 4 by name (see ROWS), or four weights. q_weight_decay: whether Q decays like
    the network's weights. Raises ValueError for any other value.
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.1,
        scale: float = 0.5,
        terms: str | Sequence[float] = "lls",
        q_weight_decay: bool = True,
    ):
        super().__init__()
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha={alpha}: must be above 0 and at most 1 (0 leaves nothing to learn: use onehot)")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0")
        self.alpha, self.scale, self.q_weight_decay = alpha, scale, q_weight_decay
        self.weights = term_weights(terms)
        self.q = nn.Parameter(torch.zeros(num_classes, num_classes))

    def loss(self, batch: Batch) -> Tensor:
        if self.weights == TERM_WEIGHTS["lls"]:
            logits = batch.logits
            return symmetric_kl(logits, self.q.to(logits.dtype), batch.y, self.alpha, self.scale)
        return self.scale * sum(w * term.mean() for w, term in zip(self.weights, self.terms(batch), strict=True) if w)

    def loss_kernel(self, batch: Batch) -> str:
        return loss_kernel(batch.logits) if self.weights == TERM_WEIGHTS["lls"] else "torch"

    def terms(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four terms of Eq. 5, `[B]` each: H(t, p̂), H(p̂, t), -H(p̂), -H(t)."""
        log_p = F.log_softmax(batch.logits, -1)
        # An embedding is Q[y] whose backward adds up each row in a fixed order: equal runs stay equal to the bit.
        rows = F.embedding(batch.y, self.q.to(log_p.dtype))
        log_t = log_mixture(F.log_softmax(rows, -1), batch.y, self.alpha)
        return cross_entropy(log_t, log_p), cross_entropy(log_p, log_t), -entropy(log_p), -entropy(log_t)

    def q_logits(self) -> Tensor:
        return self.q.detach()

    def param_groups(self, weight_decay: float) -> list[dict]:
        return super().param_groups(weight_decay if self.q_weight_decay else 0.0)


def term_weights(terms: str | Sequence[float]) -> tuple[float, ...]:
    """The weights of H(t, p̂), H(p̂, t), -H(p̂), -H(t): a row of ROWS by name, or themselves. ValueError for others."""
    if isinstance(terms, str):
        if terms not in TERM_WEIGHTS:
            raise ValueError(f"terms={terms}: must be a row of Table 4 ({', '.join(TERM_WEIGHTS)}) or four weights")
        return TERM_WEIGHTS[terms]
    if not isinstance(terms, Sequence):
        raise ValueError(f"terms={terms}: must be a row of Table 4 ({', '.join(TERM_WEIGHTS)}) or four weights")
    weights = tuple(terms)
    if len(weights) != 4 or not all(type(w) in (int, float) and math.isfinite(w) for w in weights) or not any(weights):
        raise ValueError(f"terms={list(weights)}: must be four numbers, not all zero: H(t,p), H(p,t), -H(p), -H(t)")
    return weights
