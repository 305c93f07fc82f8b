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
    - ece: expected calibration error, a fraction; 15 bins of equal width (Naeini et al., 2015; Guo et al., 2017)
    - adaptive_ece: the same with 15 bins of equal numbers of images (Nguyen & O'Connor, 2015)
    - brier: Σ_j (p̂_j - e_yj)², mean over images
    - temperature: fitted on one half of the images; `seed` splits the images into halves
    - ece_tempered, ece_untempered: ECE of the other half with its logits divided by the temperature, and without

    An image with a NaN logit counts as wrong in top1 and top5. The other measures are nan if they include one."""
    logits, y = logits.detach().double().cpu(), y.cpu()
    k = logits.shape[1]
    p, predicted = logits.softmax(-1), predict_classes(logits)
    in_top5 = (logits.topk(min(5, k), -1).indices == y[:, None]).any(-1) & (predicted >= 0)
    half = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)) < len(y) // 2
    temperature = fit_temperature(logits[half], y[half])
    other_logits, other_y = logits[~half], y[~half]
    return {
        "top1": 100 * (predicted == y).double().mean().item(),
        "top5": 100 * in_top5.double().mean().item(),
        "nll": F.cross_entropy(logits, y).item(),
        "confidence": p.amax(-1).mean().item(),
        "ece": ece(p, y),
        "adaptive_ece": adaptive_ece(p, y),
        "brier": (p - F.one_hot(y, k)).square().sum(-1).mean().item(),
        "temperature": temperature,
        "ece_untempered": ece(other_logits.softmax(-1), other_y),
        "ece_tempered": ece((other_logits / temperature).softmax(-1), other_y),
    }


def predict_classes(logits: Tensor) -> Tensor:
    """Return the class of the largest logit of each row of `[N, K]`, int64 `[N]`; -1 for a row with a NaN.

    -1 is no class: such a row is predicted wrongly whatever its label. Of equal logits, the first class counts."""
    return logits.argmax(-1).masked_fill(logits.isnan().any(-1), -1)


def ece(p: Tensor, y: Tensor) -> float:
    """Compute the expected calibration error Σ_b (share of images in bin b) · |accuracy_b - mean confidence_b|.

    p: probabilities `[N, K]` of any float type; y: labels `[N]`. The confidence of an image is max_j p̂_j. Returns a
    fraction; nan if there are no images or if p has a NaN.

    The 15 bins of equal width are those of Guo et al. (2017): bin m is ((m-1)/15, m/15], so a confidence of exactly
    m/15 belongs to the lower of the two bins. Confidences and edges are float64. float32 confidences are converted, not
    rounded: 0.2 as float32 is above 3/15.

    This is our own code because torchmetrics computes the bins in float32, and puts a confidence of exactly 1.0 into a
    sixteenth bin. Its bins also include their lower edge instead of their upper edge."""
    confidence, correct = top_predictions(p, y)
    bins = equal_width_bins(confidence)
    gaps = torch.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return (gaps.abs().sum() / len(y)).item()


def adaptive_ece(p: Tensor, y: Tensor) -> float:
    """Compute the calibration error as `ece` does, with 15 bins of equal numbers of images, sorted by confidence.

    If 15 does not divide N, the numbers differ by at most one image, and the first bins have the larger number. If N is
    below 15, some bins are empty and count nothing.

    Images of equal confidence have no order, but a border between bins can divide them. So each counts with the mean
    accuracy of all images of its confidence. This shares their correct predictions out evenly between the bins, and
    the result does not depend on the order of the images."""
    confidence, correct = top_predictions(p, y)
    _, group, sizes = confidence.unique(return_inverse=True, return_counts=True)
    accuracy = torch.bincount(group, weights=correct) / sizes
    gap = (accuracy[group] - confidence)[confidence.argsort()]
    return (sum(part.sum().abs() for part in gap.tensor_split(CALIBRATION_BINS)) / len(y)).item()


def equal_width_bins(confidence: Tensor) -> Tensor:
    """Return the bin of each confidence, int64 `[N]`: m for a confidence in (m/15, (m+1)/15]. confidence: float64."""
    inner_edges = [m / CALIBRATION_BINS for m in range(1, CALIBRATION_BINS)]
    return torch.bucketize(confidence, torch.tensor(inner_edges, dtype=torch.float64))


def top_predictions(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence of each image, and 1 or 0 for a correct or a wrong prediction, both float64 `[N]`.

    They are on the CPU, because MPS has no float64. NaN in a row of p makes its confidence NaN."""
    confidence, predicted = p.detach().max(-1)
    return confidence.cpu().double(), (predicted == y).cpu().double()


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """Return the temperature T in [0.01, 100] that minimises the nll of softmax(logits / T) (Guo et al., 2017).

    logits: `[N, K]`; y: labels `[N]`. Returns nan if a logit is NaN."""
    from scipy.optimize import minimize_scalar

    if logits.isnan().any():
        return math.nan  # The search would end at an arbitrary temperature.

    def nll(log_t: float) -> float:
        return F.cross_entropy(logits / math.exp(log_t), y).item()

    return math.exp(minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded").x)


def confusion_matrix(logits: Tensor, y: Tensor) -> Tensor:
    """Return counts, int64 `[K, K]`: one row per true class, one column per predicted class.

    logits: `[N, K]`; y: labels `[N]`. An image with a NaN logit is in no column, so a row can sum to fewer than the
    images of its class."""
    k, y, predicted = logits.shape[1], y.cpu(), predict_classes(logits).cpu()
    return torch.bincount((y * k + predicted)[predicted >= 0], minlength=k * k).reshape(k, k)


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

    logits: `[N, K]`; y: labels `[N]`; group: `[K]`, the group of each class. An image with a NaN logit counts as
    wrong."""
    group, predicted = group.to(logits.device), predict_classes(logits)
    same = (group[predicted] == group[y]) & (predicted >= 0)  # Index -1 would be the last class.
    return 100 * same.float().mean().item()
