"""The measures of a finished run: accuracy, calibration, and what the learned matrix has to do with the confusions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15


def measures(logits: Tensor, y: Tensor, seed: int = 0) -> dict[str, float]:
    """Accuracy and calibration of logits `[N, K]` for labels `[N]`. Accuracies in per cent, calibration errors and the
    Brier score as fractions, nll in nats, confidence (the mean of max_j p̂_j) as a fraction.

    ece: expected calibration error, 15 bins of equal width (Naeini et al., 2015; torchmetrics). adaptive_ece: 15 bins
    of equal numbers of images (Nguyen & O'Connor, 2015). brier: Σ_j (p̂_j - e_yj)², mean over images. ece_tempered: ECE
    on one half of the *test* images after the logits are divided by `temperature`, which is fitted on the other half, a
    split by `seed`; ece_untempered is the ECE of the same half without it.
    """
    logits, y = logits.detach().double().cpu(), y.cpu()
    k = logits.shape[1]
    p = logits.softmax(-1)
    half = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)) < len(y) // 2
    temperature = fit_temperature(logits[half], y[half])
    rest, truth = logits[~half], y[~half]
    return {
        "top1": 100 * (logits.argmax(-1) == y).double().mean().item(),
        "top5": 100 * (logits.topk(min(5, k), -1).indices == y[:, None]).any(-1).double().mean().item(),
        "nll": F.cross_entropy(logits, y).item(),
        "confidence": p.amax(-1).mean().item(),
        "ece": ece(p, y),
        "adaptive_ece": adaptive_ece(p, y),
        "brier": (p - F.one_hot(y, k)).square().sum(-1).mean().item(),
        "temperature": temperature,
        "ece_untempered": ece(rest.softmax(-1), truth),
        "ece_tempered": ece((rest / temperature).softmax(-1), truth),
    }


def ece(p: Tensor, y: Tensor) -> float:
    """Σ_bins (share of images) |accuracy - mean confidence| over 15 equal-width bins of the confidence max_j p̂_j."""
    from torchmetrics.functional.classification import multiclass_calibration_error  # takes seconds to import

    return multiclass_calibration_error(p, y, p.shape[1], n_bins=BINS, norm="l1", validate_args=False).item()


def adaptive_ece(p: Tensor, y: Tensor) -> float:
    """The same over 15 bins of as equal numbers of images as N allows, in the order of their confidence."""
    confidence, predicted = p.max(-1)
    order = confidence.argsort(stable=True)
    gap = (predicted == y).to(p.dtype)[order] - confidence[order]
    return (sum(part.sum().abs() for part in gap.tensor_split(BINS)) / len(y)).item()


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """The T in [0.01, 100] that minimises the nll of softmax(logits / T) (Guo et al., 2017)."""
    from scipy.optimize import minimize_scalar

    def nll(log_t: float) -> float:
        return F.cross_entropy(logits / math.exp(log_t), y).item()

    return math.exp(minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded").x)


def confusion_matrix(logits: Tensor, y: Tensor) -> Tensor:
    """Counts, int64 `[K, K]`: true class down, predicted class across."""
    k = logits.shape[1]
    return torch.bincount(y.cpu() * k + logits.argmax(-1).cpu(), minlength=k * k).reshape(k, k)


def q_measures(q_logits: Tensor | None) -> dict[str, float]:
    """q_diagonal, the mean Q_yy, and q_entropy, the mean entropy of Q's rows in nats. Empty for None.

    q_logits: `[K, K]`."""
    if q_logits is None:
        return {}
    q = q_logits.detach().softmax(-1)
    return {
        "q_diagonal": q.diagonal().mean().item(),
        "q_entropy": torch.special.entr(q).sum(-1).mean().item(),
    }


def matrix_measures(q_logits: Tensor, confusion: Tensor) -> dict[str, float]:
    """q_measures, and q_confusion: Spearman's rank correlation of a row's off-diagonal entries of Q with the test
    images of that class that were taken for each other class, a mean over the rows that have such images."""
    from scipy.stats import spearmanr

    q_logits = q_logits.detach().double().cpu()
    q = q_logits.softmax(-1)
    off_diagonal = ~torch.eye(len(q), dtype=torch.bool)
    pairs = [(q[i][mask], confusion[i][mask]) for i, mask in enumerate(off_diagonal)]
    ranks = [spearmanr(a, b).statistic for a, b in pairs if b.unique().numel() > 1 and a.unique().numel() > 1]
    return q_measures(q_logits) | ({"q_confusion": float(sum(ranks) / len(ranks))} if ranks else {})


def group_accuracy(logits: Tensor, y: Tensor, group: Tensor) -> float:
    """Per cent of images whose predicted class is in the true class's group; group: `[K]`, the group of each class."""
    group = group.to(logits.device)
    return 100 * (group[logits.argmax(-1)] == group[y]).float().mean().item()
