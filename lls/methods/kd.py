"""Knowledge distillation: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, as the paper's Eq. 6."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from lls.losses.divergences import cross_entropy
from lls.methods.base import Batch, LossOptions, Method
from lls.methods.teacher import Teacher, no_teacher, teacher_logits


class KD(Method):
    """Knowledge distillation (Eq. 6): β H(e_y, p̂) + (1-β) H(softmax(z_T/T), softmax(z/T)).

    z_T are the teacher's logits. There is no factor T². The paper uses β = 0 and T = 1.

    teacher: a function from images `[B, C, H, W]` to logits `[B, K]`, without gradient.
    beta: β, in [0, 1].
    temperature: T, above 0.
    options: weight, ignore_index and reduction, as for every Method.
    """

    cuda_graph_safe = True

    def __init__(
        self,
        num_classes: int,
        teacher: Teacher = no_teacher,
        beta: float = 0.0,
        temperature: float = 1.0,
        **options: Unpack[LossOptions],
    ):
        super().__init__(num_classes, **options)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta={beta}: must be at least 0 and at most 1")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature={temperature}: must be above 0")
        self.teacher, self.beta, self.temperature = teacher, beta, temperature

    def set_teacher(self, teacher: Teacher) -> None:
        self.teacher = teacher

    def losses(self, batch: Batch) -> Tensor:
        log_target = F.log_softmax(teacher_logits(self.teacher, batch) / self.temperature, -1)
        soft = cross_entropy(log_target, F.log_softmax(batch.logits / self.temperature, -1))
        return self.beta * F.cross_entropy(batch.logits, batch.y, reduction="none") + (1 - self.beta) * soft
