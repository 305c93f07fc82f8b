"""LLS with K·(N+1) parameters in place of K², for many classes. The paper names K² as a limitation (Section 6).

- Each class has N candidates with a logit each. The class itself is one of them.
- The other K-N classes share one logit. Their probability is spread evenly over them. Without this shared logit the
  reverse KL would be infinite, because the network always gives the other classes some probability.
- The softmax covers N+1 entries, so that the soft label is a distribution. At N = K this method is LLS.
- A class's candidates are the classes that the network confuses it with. The probability of each wrong class is summed
  over the first `gather` epochs, and the N-1 largest sums win. Until then the target is label smoothing's. LLS starts
  from the same target (Q = 0) and changes it little in its first epochs.
- The sums need no K x K matrix. The N largest probabilities of each sample are added as (class, candidate) pairs to a
  buffer of 2·K·N. When the buffer is full, equal pairs are merged, and each class keeps its N largest.
"""

import math
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.losses.divergences import symmetric_kl_of
from lls.losses.inputs import check_alpha
from lls.losses.pytorch_internals import inside_functorch
from lls.losses.sparse_kl import log_shares, log_target, sparse_symmetric_kl
from lls.methods.base import Batch, LossOptions, Method
from lls.methods.lls import TERM_WEIGHTS, four_terms, term_weights, weighted_sum


class LLSTopN(Method):
    """LLS loss (Eqs. 4-5) whose soft label has `n` candidates and one logit for all other classes.

    n: candidates of a class, 1 or more. From K on this is LLS.
    gather: number of epochs whose confusions choose the candidates, 1 or more.
    alpha, scale, terms, q_weight_decay, options: as in LLS.

    Parameter `q`: `[K, n+1]` logits (`[K, K]` if n = K), zero at the start, which is uniform over all K classes.
    """

    candidates: Tensor
    epochs_to_gather: Tensor

    def __init__(
        self,
        num_classes: int,
        n: int = 32,
        gather: int = 1,
        alpha: float = 0.1,
        *,
        scale: float = 0.5,
        terms: str | list[float] = "lls",
        q_weight_decay: bool = True,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        if n < 1:
            raise ValueError(f"n={n}: must be 1 or more")
        if gather < 1:
            raise ValueError(f"gather={gather}: must be 1 epoch or more")
        check_alpha(alpha)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0")
        k = num_classes
        self.k, self.n, self.num_others = k, min(n, k), max(k - n, 0)
        self.alpha, self.scale, self.q_weight_decay = alpha, scale, q_weight_decay
        self.weights = term_weights(terms)
        self.q = nn.Parameter(torch.zeros(k, self.n + (self.num_others > 0)))
        # Candidate 0 of a class is the class itself. The others are placeholders until they are chosen.
        self.register_buffer("candidates", ((torch.arange(k)[:, None] + torch.arange(self.n)) % k).int())
        self.register_buffer("epochs_to_gather", torch.tensor(gather if self.num_others else 0))
        self.pairs = _Pairs(k, self.n)  # stays empty if n = K
        self.gathering = bool(self.num_others)  # epochs_to_gather > 0, without a device synchronisation at every step

    @property
    def cuda_graph_safe(self) -> bool:  # type: ignore[override]  # other methods have a constant here
        return not self.gathering

    def losses(self, batch: Batch) -> Tensor:
        if self._closed_form:
            q, candidates = self.q.to(batch.logits.dtype), self.candidates[batch.y].long()
            return sparse_symmetric_kl(batch.logits, q, candidates, batch.y, self.alpha, self.scale)
        if self.gathering and self.training:
            self._gather(batch)
        log_t, log_p = self._log_distributions(batch)
        if self.weights == TERM_WEIGHTS["lls"]:
            return self.scale * symmetric_kl_of(log_t, log_p)
        return self.scale * weighted_sum(self.weights, four_terms(log_t, log_p))

    def terms(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four terms of Eq. 5, `[B]` each: H(t, p̂), H(p̂, t), -H(p̂), -H(t)."""
        return four_terms(*self._log_distributions(batch))

    def _log_distributions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return log t and log p̂, `[B, K]` both."""
        log_p = F.log_softmax(batch.logits, -1)
        # While it gathers, Q gets no gradient, so that SGD skips it.
        q = torch.zeros_like(self.q) if self.gathering else self.q
        rows = F.embedding(batch.y, q)
        candidates = self.candidates[batch.y].long()
        return log_target(rows.to(log_p.dtype), candidates, self.k, self.alpha), log_p

    @property
    def _closed_form(self) -> bool:
        return bool(self.num_others) and not self.gathering and self.weights == TERM_WEIGHTS["lls"]

    def _gather(self, batch: Batch) -> None:
        if inside_functorch():
            raise RuntimeError("lls_topn gathers predictions in train mode, which torch.func cannot do: call eval()")
        p, y = batch.logits.detach().softmax(-1), batch.y
        if batch.valid is not None:
            p, y = p[batch.valid], y[batch.valid]
        self.pairs.add(p, y)

    def end_epoch(self) -> None:
        """Choose the candidates after the last of the `gather` epochs."""
        if not self.gathering:
            return
        self.epochs_to_gather -= 1
        self.gathering = bool(self.epochs_to_gather > 0)
        if not self.gathering:
            self.candidates.copy_(self.pairs.best(self.candidates))
            self.pairs.clear()

    def q_logits(self) -> Tensor | None:
        """Return dense `[K, K]` logits (log-probabilities if N < K), or None above K = 4,096."""
        if self.k > 4096:
            return None
        if not self.num_others:
            return self.q.detach().scatter(1, self.candidates.long(), self.q.detach())
        log_q = log_shares(self.q.detach(), self.num_others)
        shares = (log_q[:, -1:] - math.log(self.num_others)).expand(self.k, self.k)
        return shares.scatter(1, self.candidates.long(), log_q[:, :-1])

    def param_groups(self, weight_decay: float) -> list[dict]:
        return super().param_groups(weight_decay if self.q_weight_decay else 0.0)

    def get_extra_state(self) -> dict[str, Tensor]:
        return self.pairs.state()

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        self.pairs.load({name: value.to(self.q.device) for name, value in state.items()})
        self.gathering = bool(self.epochs_to_gather > 0)


class _Pairs:
    """Sums over (class, wrong class) pairs. Equal pairs are merged when there are more than 2·K·N."""

    keys: list[Tensor]
    sums: list[Tensor]

    def __init__(self, k: int, n: int):
        self.k, self.n = k, n
        self.clear()

    def clear(self) -> None:
        self.keys, self.sums, self.num_pairs = [], [], 0

    def add(self, p: Tensor, y: Tensor) -> None:
        """Add predictions p `[B, K]` for samples of classes y `[B]`. The true class does not count."""
        mass, wrong = p.scatter(1, y.unsqueeze(-1), 0).topk(min(self.n, self.k - 1), -1)
        self.keys.append((y.unsqueeze(-1) * self.k + wrong).flatten())
        self.sums.append(mass.flatten().float())
        self.num_pairs += self.keys[-1].numel()
        if self.num_pairs > 2 * self.k * self.n:
            self.compact()

    def compact(self) -> None:
        """Merge equal pairs and keep the N largest sums of each class."""
        if not self.keys:
            return
        keys, inverse = torch.cat(self.keys).unique(return_inverse=True)
        sums = torch.zeros(len(keys), device=keys.device).index_add_(0, inverse, torch.cat(self.sums))
        order = sums.argsort(descending=True, stable=True)
        order = order[(keys[order] // self.k).argsort(stable=True)]  # by class, and within it by falling sum
        keys, sums = keys[order], sums[order]
        classes = keys // self.k
        first = torch.searchsorted(classes, torch.arange(self.k, device=keys.device))
        largest = torch.arange(len(keys), device=keys.device) - first[classes] < self.n
        self.keys, self.sums = [keys[largest]], [sums[largest]]
        self.num_pairs = int(self.keys[0].numel())

    def best(self, candidates: Tensor) -> Tensor:
        """Return `[K, N]`: each class itself, then the wrong classes with the largest sums.

        If there are fewer than N, the next classes by index fill the row.
        """
        self.compact()
        chosen = candidates.cpu().tolist()
        confusions: dict[int, list[int]] = {}  # by class, the wrong classes by falling sum
        for key in torch.cat(self.keys).tolist() if self.keys else []:
            confusions.setdefault(key // self.k, []).append(key % self.k)
        for y, wrong in confusions.items():
            row = dict.fromkeys([y, *wrong[: self.n - 1]])
            unused = (c % self.k for c in range(y + 1, y + self.k) if c % self.k not in row)
            chosen[y] = [*row, *(next(unused) for _ in range(self.n - len(row)))]
        return torch.tensor(chosen, dtype=candidates.dtype, device=candidates.device)

    def state(self) -> dict[str, Tensor]:
        self.compact()
        return {"keys": self.keys[0], "sums": self.sums[0]} if self.keys else {}

    def load(self, state: dict[str, Tensor]) -> None:
        self.keys, self.sums = ([state["keys"]], [state["sums"]]) if state else ([], [])
        self.num_pairs = sum(keys.numel() for keys in self.keys)
