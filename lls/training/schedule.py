"""The paper's schedule (Appendix I) as pure functions of the epoch, and the one dial that shrinks it."""

from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from omegaconf import DictConfig


def scale_epochs(epochs: int, budget: float) -> int:
    """`epochs` at a budget in (0, 1]: rounded half up, at least 1. Decimal, so that 0.35 of 150 is 53 and not 52."""
    return max(1, int((epochs * Decimal(repr(float(budget)))).quantize(Decimal(1), ROUND_HALF_UP)))


class Schedule(NamedTuple):
    """Epochs are counted from 0 in `lr(epoch)`, from 1 in `milestones`: at milestone 150 the 150th epoch is the first
    at the lower rate."""

    epochs: int
    base_lr: float
    warmup: int
    milestones: tuple[int, ...]
    decay: float

    def lr(self, epoch: int) -> float:
        """base·(e+1)/W in the first W epochs, then base·decay^(milestones reached)."""
        warm = min(1.0, (epoch + 1) / self.warmup)
        return self.base_lr * warm * self.decay ** sum(epoch + 1 >= m for m in self.milestones)


def make_schedule(train: DictConfig, budget: float) -> Schedule:
    """The schedule of a configuration's `train` at its `budget`. However small that is, the first epoch is one at the
    full rate, unless it was not before."""
    return Schedule(
        epochs=scale_epochs(train.epochs, budget),
        base_lr=train.lr,
        warmup=scale_epochs(train.warmup, budget),
        milestones=tuple(max(scale_epochs(m, budget), min(m, 2)) for m in train.milestones),
        decay=train.lr_decay,
    )
