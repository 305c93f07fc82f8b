"""LLS with K·(N+1) parameters instead of K²: the answer to the limitation that the paper names (Section 6).

What was chosen, and why:

- Each class keeps N candidates, itself among them, with a logit each; the other K-N classes share one more logit, whose
  probability is spread evenly over them. A cut without that bucket would make the reverse KL infinite, because the
  network always leaves some probability outside the candidates. The softmax is over N+1 entries, so the vector stays a
  distribution. At N = K there is no bucket, and this is LLS.
- Candidates are the classes that the network itself confuses a class with: the probability it gives to each wrong class
  is summed over the first `gather` epochs, and the N-1 largest stay. Until then the target is label smoothing's, which
  is where LLS starts from (Q = 0) and moves little in its first epochs, while the learning rate warms up.
- The sums never take K×K: only the N largest of a sample are counted, as (class, candidate) pairs in a buffer of
  2·K·N, and when it is over-full equal pairs are merged and each class keeps its N best.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lls.losses.divergences import entropy
from lls.losses.sparse_kl import sparse_symmetric_kl
from lls.methods.base import Batch, Method
from lls.methods.lls import TERM_WEIGHTS, term_weights


class LLSTopN(Method):
    """The LLS loss (Eqs. 4-5) with q_y restricted to `n` candidates and one shared rest.

    alpha, scale, terms, q_weight_decay: as in LLS. n: candidates a class, 1 or more; from K on this is LLS. gather:
    epochs whose confusions choose them. Parameters: `q`, `[K, n+1]` logits (`[K, K]` at n = K), zero at the start,
    which is uniform over all K.
    """

    def __init__(
        self,
        num_classes: int,
        n: int = 32,
        gather: int = 1,
        alpha: float = 0.1,
        scale: float = 0.5,
        terms: str | list[float] = "lls",
        q_weight_decay: bool = True,
    ):
        super().__init__()
        if n < 1:
            raise ValueError(f"n={n}: must be 1 or more")
        if gather < 1:
            raise ValueError(f"gather={gather}: must be 1 epoch or more")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha={alpha}: must be above 0 and at most 1")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0")
        k = num_classes
        self.k, self.n, self.rest = k, min(n, k), max(k - n, 0)
        self.alpha, self.scale, self.q_weight_decay = alpha, scale, q_weight_decay
        self.weights = term_weights(terms)
        self.q = nn.Parameter(torch.zeros(k, self.n + (self.rest > 0)))
        # candidate 0 of a class is the class itself; the others are placeholders until they are chosen
        self.register_buffer("candidates", ((torch.arange(k)[:, None] + torch.arange(self.n)) % k).int())
        self.register_buffer("epochs_to_gather", torch.tensor(gather if self.rest else 0))
        self.pairs = _Pairs(k, self.n) if self.rest else None
        self.gathering = bool(self.rest)  # what epochs_to_gather says, without asking the device at every step

    @property
    def cuda_graph_safe(self) -> bool:
        return not self.gathering

    def loss(self, batch: Batch) -> Tensor:
        if self._closed_form:
            q, candidates = self.q.to(batch.logits.dtype), self.candidates[batch.y].long()
            return sparse_symmetric_kl(batch.logits, q, candidates, batch.y, self.alpha, self.scale)
        log_p = F.log_softmax(batch.logits, -1)
        if self.gathering:
            if self.training:
                self.pairs.add(log_p.detach().exp(), batch.y)
            q = self.q.new_zeros(len(batch.y), self.q.shape[1])  # Q is left alone: without a gradient, SGD skips it
        else:
            q = F.embedding(batch.y, self.q)
        terms = self.terms(log_p, q.to(log_p.dtype), self.candidates[batch.y].long())
        return self.scale * sum(w * term.mean() for w, term in zip(self.weights, terms, strict=True) if w)

    @property
    def _closed_form(self) -> bool:
        return bool(self.rest) and not self.gathering and self.weights == TERM_WEIGHTS["lls"]

    def terms(self, log_p: Tensor, q: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """H(t, p̂), H(p̂, t), -H(p̂), -H(t), `[B]` each. log_p: `[B, K]`; q: rows of Q; candidates: `[B, n]`."""
        if self.rest:  # the bucket's logit starts at the weight of its K-N classes, and decays to it
            q = torch.cat([q[:, :-1], q[:, -1:] + math.log(self.rest)], -1)
        log_t = F.log_softmax(q, -1) + math.log(self.alpha)
        if self.alpha < 1:
            at_y = torch.logaddexp(log_t[:, :1], log_t.new_full((), math.log1p(-self.alpha)))
            log_t = torch.cat([at_y, log_t[:, 1:]], -1)
        log_p_at = log_p.gather(-1, candidates)
        t, p_at = log_t.exp(), log_p_at.exp()
        forward = -(t[:, : self.n] * log_p_at).sum(-1)
        reverse = -(p_at * log_t[:, : self.n]).sum(-1)
        targets = -(t * log_t).sum(-1)
        if self.rest:
            # each of the K-N classes has 1/(K-N) of the bucket
            log_share = log_t[:, -1] - math.log(self.rest)
            forward = forward - log_share.exp() * (log_p.sum(-1) - log_p_at.sum(-1))
            reverse = reverse - log_share * (1 - p_at.sum(-1))
            targets = targets + t[:, -1] * math.log(self.rest)
        return forward, reverse, -entropy(log_p), -targets

    def end_epoch(self) -> None:
        """After the last of the epochs to gather, choose the candidates."""
        if not self.gathering:
            return
        self.epochs_to_gather -= 1
        self.gathering = bool(self.epochs_to_gather > 0)
        if not self.gathering:
            self.candidates.copy_(self.pairs.best(self.candidates))
            self.pairs.clear()

    def q_logits(self) -> Tensor | None:
        """Dense `[K, K]` log-probabilities, up to K = 4,096."""
        if self.k > 4096:
            return None
        log_q = self.q.detach().clone()
        if not self.rest:
            return log_q.new_zeros(self.k, self.k).scatter(1, self.candidates.long(), log_q)
        log_q[:, -1] += math.log(self.rest)
        log_q = F.log_softmax(log_q, -1)
        shares = (log_q[:, -1:] - math.log(self.rest)).expand(self.k, self.k)
        return shares.scatter(1, self.candidates.long(), log_q[:, :-1])

    def param_groups(self, weight_decay: float) -> list[dict]:
        return super().param_groups(weight_decay if self.q_weight_decay else 0.0)

    def get_extra_state(self) -> dict[str, Tensor]:
        return {} if self.pairs is None else self.pairs.state()

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        if self.pairs is not None:
            self.pairs.load({name: value.to(self.q.device) for name, value in state.items()})
            self.gathering = bool(self.epochs_to_gather > 0)


class _Pairs:
    """Sums over (class, wrong class) pairs, in a buffer that is merged as soon as it holds more than 2·K·N."""

    def __init__(self, k: int, n: int):
        self.k, self.n = k, n
        self.clear()

    def clear(self) -> None:
        self.keys, self.sums, self.held = [], [], 0

    def add(self, p: Tensor, y: Tensor) -> None:
        """p: `[B, K]` predictions for samples of classes y, `[B]`. The true class does not count."""
        mass, wrong = p.scatter(1, y.unsqueeze(-1), 0).topk(min(self.n, self.k - 1), -1)
        self.keys.append((y.unsqueeze(-1) * self.k + wrong).flatten())
        self.sums.append(mass.flatten().float())
        self.held += self.keys[-1].numel()
        if self.held > 2 * self.k * self.n:
            self.compact()

    def compact(self) -> None:
        """Merge equal pairs; keep each class's N heaviest."""
        if not self.keys:
            return
        keys, where = torch.cat(self.keys).unique(return_inverse=True)
        sums = torch.zeros(len(keys), device=keys.device).index_add_(0, where, torch.cat(self.sums))
        order = sums.argsort(descending=True, stable=True)
        order = order[(keys[order] // self.k).argsort(stable=True)]  # by class, and within it by falling sum
        keys, sums = keys[order], sums[order]
        classes = keys // self.k
        first = torch.searchsorted(classes, torch.arange(self.k, device=keys.device))
        kept = torch.arange(len(keys), device=keys.device) - first[classes] < self.n
        self.keys, self.sums = [keys[kept]], [sums[kept]]
        self.held = int(self.keys[0].numel())

    def best(self, candidates: Tensor) -> Tensor:
        """`[K, N]`: each class itself, then its heaviest wrong ones; where fewer were seen, the next by index."""
        self.compact()
        chosen = candidates.cpu().tolist()
        pairs = torch.cat(self.keys).tolist() if self.keys else []
        seen: dict[int, list[int]] = {}
        for key in pairs:
            seen.setdefault(key // self.k, []).append(key % self.k)
        for y, wrong in seen.items():
            kept = dict.fromkeys([y, *wrong[: self.n - 1]])
            spare = (c % self.k for c in range(y + 1, y + self.k) if c % self.k not in kept)
            chosen[y] = [*kept, *(next(spare) for _ in range(self.n - len(kept)))]
        return torch.tensor(chosen, dtype=candidates.dtype, device=candidates.device)

    def state(self) -> dict[str, Tensor]:
        self.compact()
        return {"keys": self.keys[0], "sums": self.sums[0]} if self.keys else {}

    def load(self, state: dict[str, Tensor]) -> None:
        self.keys, self.sums = ([state["keys"]], [state["sums"]]) if state else ([], [])
        self.held = sum(keys.numel() for keys in self.keys)
