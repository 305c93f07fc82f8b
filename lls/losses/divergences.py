"""Cross-entropy, entropy and Kullback-Leibler divergence in log space.

Distributions are given as log-probabilities `[..., K]`, so that a probability that underflows stays finite: with p = 0
and log p = -10,000 every term and its gradient are finite, where log(softmax(z)) is -inf. All functions return `[...]`
in the precision of their arguments. Symbols are the paper's: t is the target p^lls (Eq. 4), p the prediction p̂, q the
softmax of the learned row Q_y.
"""

import math

import torch
from torch import Tensor


def cross_entropy(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Return H(a, b) = -Σ_i a_i log b_i (Eq. 1), differentiable in both arguments."""
    return -(log_a.exp() * log_b).sum(-1)


def entropy(log_a: Tensor) -> Tensor:
    """Return H(a) = -Σ_i a_i log a_i."""
    return cross_entropy(log_a, log_a)


def kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Return KL(a ‖ b) = Σ_i a_i (log a_i - log b_i) - a_i + b_i. Both a and b sum to 1.

    -a + b adds nothing to the sum, but takes away most of its rounding error where a is close to b. The value is never
    below 0."""
    a = log_a.exp()
    return _not_negative((a * (log_a - log_b) - a + log_b.exp()).sum(-1))


def symmetric_kl_of(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Return KL(a ‖ b) + KL(b ‖ a) = Σ_i (a_i - b_i) (log a_i - log b_i).

    No term is negative, so that the sum keeps its digits where a is close to b. Its value is never below 0."""
    return _not_negative(((log_a.exp() - log_b.exp()) * (log_a - log_b)).sum(-1))


def _not_negative(loss: Tensor) -> Tensor:
    """Set what rounding made negative to 0, and leave the derivatives as they are, unlike a clamp."""
    return loss - loss.detach().clamp_max(0)


def log_mixture(log_q: Tensor, y: Tensor, alpha: float) -> Tensor:
    """Return log t of t = (1-α) e_y + α q (Eq. 4), `[B, K]`.

    log_q: `[B, K]` log-probabilities. y: `[B]` class indices. alpha: α, in (0, 1].
    """
    log_t = log_q + math.log(alpha)
    if alpha == 1:
        return log_t
    at_y = y.unsqueeze(-1)
    # new_full, because new_tensor would synchronise with the GPU
    mixed = torch.logaddexp(log_t.gather(-1, at_y), log_t.new_full((), math.log1p(-alpha)))
    return log_t.scatter(-1, at_y, mixed)
