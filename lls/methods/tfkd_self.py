"""TF-KD_self: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import kl
from lls.methods.base import Batch, LossOptions, Method
from lls.methods.teacher import Teacher, no_teacher, teacher_logits
from lls.methods.tfkd_reg import check_hyperparameters


class TFKDSelf(Method):
    """TF-KD_self: distillation from a teacher of the same architecture.

        (1-a) H(e_y, p̂) + a · T² · m · mean over classes of q (log q - log softmax(z/T)),   q = softmax(z_T/T)

    As in the official code, the divergence is averaged over classes as well as samples. With m = 1 this is its
    `loss_kd`.

    teacher: a function from images `[B, C, H, W]` to logits `[B, K]`, without gradient.
    temperature: T, above 0.
    a: in [0, 1].
    multiplier: m. Default: K/2, which is the official 50 at K = 100 and gives the same weight at any other K.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        teacher: Teacher = no_teacher,
        temperature: float = 6.0,
        a: float = 0.95,
        multiplier: float | None = None,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        check_hyperparameters(temperature, a, multiplier)
        self.teacher, self.temperature, self.a = teacher, temperature, a
        self.multiplier = num_classes / 2 if multiplier is None else multiplier

    def set_teacher(self, teacher: Teacher) -> None:
        self.teacher = teacher

    def losses(self, batch: Batch) -> Tensor:
        log_q = F.log_softmax(teacher_logits(self.teacher, batch) / self.temperature, -1)
        soft = kl(log_q, F.log_softmax(batch.logits / self.temperature, -1)) / batch.logits.shape[1]
        hard = F.cross_entropy(batch.logits, batch.y, reduction="none")
        return (1 - self.a) * hard + self.a * self.temperature**2 * self.multiplier * soft
