"""Measures of a finished run: accuracy, calibration, and the similarity of the learned Q to the confusion matrix."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CALIBRATION_BINS = 15


def measures(logits: Tensor, y: Tensor, seed: int = 0) -> dict[str, float]:
    """Compute accuracy and calibration of logits `[N, K]` for labels `[N]`.

    - top1, top5: accuracies in per cent
    - nll: mean negative log-likelihood, in nats
    - confidence: mean of max_j p̂_j, a fraction
    - ece: expected calibration error, a fraction; 15 bins of equal width (Naeini et al., 2015)
    - adaptive_ece: the same with 15 bins of equal numbers of images (Nguyen & O'Connor, 2015)
    - brier: Σ_j (p̂_j - e_yj)², mean over images
    - temperature: fitted on one half of the images; `seed` splits the images into halves
    - ece_tempered, ece_untempered: ECE of the other half with its logits divided by the temperature, and without
    """
    logits, y = logits.detach().double().cpu(), y.cpu()
    k = logits.shape[1]
    p = logits.softmax(-1)
    half = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)) < len(y) // 2
    temperature = fit_temperature(logits[half], y[half])
    other_logits, other_y = logits[~half], y[~half]
    return {
        "top1": 100 * (logits.argmax(-1) == y).double().mean().item(),
        "top5": 100 * (logits.topk(min(5, k), -1).indices == y[:, None]).any(-1).double().mean().item(),
        "nll": F.cross_entropy(logits, y).item(),
        "confidence": p.amax(-1).mean().item(),
        "ece": ece(p, y),
        "adaptive_ece": adaptive_ece(p, y),
        "brier": (p - F.one_hot(y, k)).square().sum(-1).mean().item(),
        "temperature": temperature,
        "ece_untempered": ece(other_logits.softmax(-1), other_y),
        "ece_tempered": ece((other_logits / temperature).softmax(-1), other_y),
    }


def ece(p: Tensor, y: Tensor) -> float:
    """Compute the expected calibration error Σ_b (share of images in bin b) · |accuracy_b - mean confidence_b|.

    p: probabilities `[N, K]`; y: labels `[N]`. The 15 bins of equal width are over the confidence max_j p̂_j."""
    from torchmetrics.functional.classification import multiclass_calibration_error  # Its import takes seconds.

    return multiclass_calibration_error(
        p, y, p.shape[1], n_bins=CALIBRATION_BINS, norm="l1", validate_args=False
    ).item()


def adaptive_ece(p: Tensor, y: Tensor) -> float:
    """Compute the calibration error as `ece` does, with 15 bins of equal numbers of images, sorted by confidence.

    If 15 does not divide N, the numbers differ by at most one image."""
    confidence, predicted = p.max(-1)
    order = confidence.argsort(stable=True)
    gap = (predicted == y).to(p.dtype)[order] - confidence[order]
    return (sum(part.sum().abs() for part in gap.tensor_split(CALIBRATION_BINS)) / len(y)).item()


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """Return the temperature T in [0.01, 100] that minimises the nll of softmax(logits / T) (Guo et al., 2017)."""
    from scipy.optimize import minimize_scalar

    def nll(log_t: float) -> float:
        return F.cross_entropy(logits / math.exp(log_t), y).item()

    return math.exp(minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded").x)


def confusion_matrix(logits: Tensor, y: Tensor) -> Tensor:
    """Return counts, int64 `[K, K]`: one row per true class, one column per predicted class."""
    k = logits.shape[1]
    return torch.bincount(y.cpu() * k + logits.argmax(-1).cpu(), minlength=k * k).reshape(k, k)


def q_measures(q_logits: Tensor | None) -> dict[str, float]:
    """Compute measures of Q, the row-wise softmax of `q_logits` `[K, K]`. Returns an empty dict for None.

    - q_diagonal: mean of Q_yy
    - q_entropy: mean entropy of Q's rows, in nats
    """
    if q_logits is None:
        return {}
    q = q_logits.detach().softmax(-1)
    return {
        "q_diagonal": q.diagonal().mean().item(),
        "q_entropy": torch.special.entr(q).sum(-1).mean().item(),
    }


def matrix_measures(q_logits: Tensor, confusion: Tensor) -> dict[str, float]:
    """Compute `q_measures` and q_confusion, the similarity of Q to the confusion matrix; both are `[K, K]`.

    For each class, Spearman's rank correlation compares the off-diagonal entries of its rows in Q and in the confusion
    matrix. q_confusion is the mean over classes. Classes whose off-diagonal entries are all equal have no
    correlation; if all classes are like that, there is no q_confusion."""
    from scipy.stats import spearmanr

    q_logits = q_logits.detach().double().cpu()
    q = q_logits.softmax(-1)
    off_diagonal = ~torch.eye(len(q), dtype=torch.bool)
    pairs = [(q[i][mask], confusion[i][mask]) for i, mask in enumerate(off_diagonal)]
    correlations = [spearmanr(a, b).statistic for a, b in pairs if b.unique().numel() > 1 and a.unique().numel() > 1]
    mean = {"q_confusion": float(sum(correlations) / len(correlations))} if correlations else {}
    return q_measures(q_logits) | mean


def group_accuracy(logits: Tensor, y: Tensor, group: Tensor) -> float:
    """Return the per cent of images whose predicted class and true class have the same group.

    logits: `[N, K]`; y: labels `[N]`; group: `[K]`, the group of each class."""
    group = group.to(logits.device)
    return 100 * (group[logits.argmax(-1)] == group[y]).float().mean().item()
