"""From losses per sample to one number, as in torch.nn.functional.cross_entropy."""

from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of `losses`, or `losses` themselves. reduction: `mean`, `sum` or `none`."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()
