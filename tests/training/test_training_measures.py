"""What a row says of the training batches."""

import pytest
import torch
import torch.nn.functional as F

from lls.config.compose import compose
from lls.training.build import build_method
from lls.training.step import Step


def test_measures_are_those_of_the_batches_that_were_trained_on():
    """Means over two batches at learning rate 0. Mixup weights them as it weights the labels."""
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    net.forward = lambda x, forward=net.forward: (forward(x), x)
    step = Step(net, build_method(compose(["method=ls"]).method, 3), torch.optim.SGD(net.parameters(), lr=0.0))
    batches = [(torch.randn(8, 4), torch.randint(3, (8,)), torch.randint(3, (8,))) for _ in range(2)]
    for x, y, other in batches:
        step(x, [(y, 0.7), (other, 0.3)])
    measured = step.measures()
    logits = [net(x)[0] for x, *_ in batches]
    cross_entropies = [
        0.7 * F.cross_entropy(z, y) + 0.3 * F.cross_entropy(z, other)
        for z, (_, y, other) in zip(logits, batches, strict=True)
    ]
    correct = [
        0.7 * (z.argmax(1) == y).float().mean() + 0.3 * (z.argmax(1) == other).float().mean()
        for z, (_, y, other) in zip(logits, batches, strict=True)
    ]
    assert measured.cross_entropy == pytest.approx(sum(cross_entropies).item() / 2)
    assert measured.top1 == pytest.approx(50 * sum(correct).item())
    assert measured.loss != pytest.approx(measured.cross_entropy)  # label smoothing's own loss
    assert measured.largest_logit == pytest.approx(max(z.abs().max().item() for z in logits))
    step(batches[0][0], [(batches[0][1], 1.0)])
    correct = (logits[0].argmax(1) == batches[0][1]).float().mean().item()
    assert step.measures().top1 == pytest.approx(100 * correct)  # of this batch alone
