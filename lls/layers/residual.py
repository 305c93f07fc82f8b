"""torchvision's residual blocks, with normalisation, addition and ReLU at once."""

from torch import Tensor, nn
from torchvision.models import resnet

from lls.layers import norm
from lls.layers.norm import norm_relu


class BasicBlock(resnet.BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(norm_relu(self.bn1, self.conv1(x)))
        return norm_relu(self.bn2, out, x if self.downsample is None else self.downsample(x))


class Bottleneck(resnet.Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        out = norm_relu(self.bn1, self.conv1(x))
        out = self.conv3(norm_relu(self.bn2, self.conv2(out)))
        return norm_relu(self.bn3, out, x if self.downsample is None else self.downsample(x))


FASTER = {resnet.BasicBlock: BasicBlock, resnet.Bottleneck: Bottleneck}


def usual(module: nn.Module) -> bool:
    """One of torchvision's blocks, with PyTorch's own normalisations and ReLU in it."""
    if type(module) not in FASTER:
        return False
    norms = [layer for name, layer in module.named_children() if name.startswith("bn")]
    return type(module.relu) is nn.ReLU and all(map(norm.usual, norms))
