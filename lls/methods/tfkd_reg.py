"""TF-KD_reg: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020."""

import math
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import kl
from lls.methods.base import Batch, LossOptions, Method

CORRECT = 0.99  # the hand-made teacher's probability of the true class


class TFKDReg(Method):
    """TF-KD_reg: distillation from a hand-made teacher.

        u = 0.99 on y, the remaining 0.01 spread evenly;  q = softmax(u/T), a softmax of *probabilities*
        code:   (1-a) H(e_y, p̂) + a · m · mean over classes of q (log q - log p̂)
        paper:  (1-a) H(e_y, p̂) + a · KL(q ‖ softmax(z/T))

    form: `code` is the official code's. It has no temperature on the student, and takes the mean over classes as well
        as samples. `paper` is Eq. 9 of the TF-KD paper.
    temperature: T, above 0.
    a: in [0, 1].
    multiplier: m, in the code's form only. Default: K, which turns the mean over classes into a sum. The official value
        for ResNet-18 on CIFAR-100 is 100.
    options: weight, ignore_index and reduction, as for every Method.

    In the code's form q takes two values, so this is scaled label smoothing: T = 20, a = 0.1, m = K = 100 is
    LS(0.09995).
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        temperature: float = 20.0,
        a: float = 0.1,
        multiplier: float | None = None,
        form: str = "code",
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        check_hyperparameters(temperature, a, multiplier)
        if form not in ("code", "paper"):
            raise ValueError(f"form={form}: must be one of code, paper")
        self.form, self.a, self.temperature = form, a, temperature
        self.multiplier = num_classes if multiplier is None else multiplier
        wrong = (1 - CORRECT) / (num_classes - 1)
        log_sum = math.log(math.exp(CORRECT / temperature) + (num_classes - 1) * math.exp(wrong / temperature))
        self.log_q_right, self.log_q_wrong = CORRECT / temperature - log_sum, wrong / temperature - log_sum

    def losses(self, batch: Batch) -> Tensor:
        log_q = torch.full_like(batch.logits, self.log_q_wrong).scatter(1, batch.y.unsqueeze(-1), self.log_q_right)
        hard = F.cross_entropy(batch.logits, batch.y, reduction="none")
        if self.form == "paper":
            return (1 - self.a) * hard + self.a * kl(log_q, F.log_softmax(batch.logits / self.temperature, -1))
        soft = kl(log_q, F.log_softmax(batch.logits, -1)) / batch.logits.shape[1]
        return (1 - self.a) * hard + self.a * self.multiplier * soft


def check_hyperparameters(temperature: float, a: float, multiplier: float | None) -> None:
    """Raise ValueError if a hyper-parameter of TF-KD_reg or TF-KD_self is out of range."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: must be above 0")
    if not 0 <= a <= 1:
        raise ValueError(f"a={a}: must be at least 0 and at most 1")
    if multiplier is not None and not (isinstance(multiplier, int | float) and 0 <= multiplier < float("inf")):
        raise ValueError(f"multiplier={multiplier}: must be 0 or more, or null for its default")
