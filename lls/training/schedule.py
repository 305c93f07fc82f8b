"""The learning-rate schedule of the paper (Appendix I), and how a budget scales it."""

from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from omegaconf import DictConfig


def scale_epochs(epochs: int, budget: float) -> int:
    """Return `epochs * budget`, rounded half up, at least 1. budget: in (0, 1].

    The budget is taken as the decimal number that was written: 0.35 of 150 epochs is 52.5 and rounds to 53."""
    return max(1, int((epochs * Decimal(repr(float(budget)))).quantize(Decimal(1), ROUND_HALF_UP)))


class Schedule(NamedTuple):
    """Linear warm-up, then a step decay at each milestone.

    Milestones count epochs from 1: with milestone 150, the 150th epoch is the first at the lower learning rate.
    `lr(epoch)` counts epochs from 0."""

    epochs: int
    base_lr: float
    warmup: int
    milestones: tuple[int, ...]
    decay: float

    def lr(self, epoch: int) -> float:
        """Return base_lr · min(1, (epoch + 1) / warmup) · decay^(number of milestones reached). epoch: from 0."""
        warm = min(1.0, (epoch + 1) / self.warmup)
        return self.base_lr * warm * self.decay ** sum(epoch + 1 >= m for m in self.milestones)


def make_schedule(train: DictConfig, budget: float) -> Schedule:
    """Build the schedule of a configuration's `train` section, with epochs, warm-up and milestones scaled by `budget`.

    A milestone of 2 or more stays at 2 or more, so that no budget decays the rate of the first epoch."""
    return Schedule(
        epochs=scale_epochs(train.epochs, budget),
        base_lr=train.lr,
        warmup=scale_epochs(train.warmup, budget),
        milestones=tuple(max(scale_epochs(m, budget), min(m, 2)) for m in train.milestones),
        decay=train.lr_decay,
    )
