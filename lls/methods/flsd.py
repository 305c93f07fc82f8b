"""Sample-dependent focal loss, FLSD-53: Mukhoti et al., Calibrating Deep Neural Networks using Focal Loss, 2020."""

import torch
from torch import Tensor

from lls.methods.focal import Focal


class FLSD(Focal):
    """Focal loss with a γ for each sample: 5 where p̂_y < 0.2 and `gamma` elsewhere. γ carries no gradient.

    gamma: 3 in the paper and in the official code.
    """

    def exponent(self, log_p: Tensor) -> Tensor:
        return torch.where(log_p.exp() < 0.2, 5.0, self.gamma)
