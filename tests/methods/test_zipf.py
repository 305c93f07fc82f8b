"""Zipf's label smoothing."""

import math

import torch
import torch.nn.functional as F
from loss_cases import case, gradient

from lls.config.compose import compose
from lls.methods.base import Batch
from lls.methods.zipf import Zipf, ranks, votes


def test_zipf_gives_the_true_class_no_gradient():
    z, y = case()
    to_z = gradient(Zipf(7).terms(z, y, z.detach()).mean(), z)
    assert not to_z.gather(1, y[:, None]).any()
    assert to_z.sum(-1).abs().max() < 1e-15


def test_zipf_is_uniform_if_all_votes_are_for_the_true_class():
    z, y = case()
    scores = 16.0 * F.one_hot(y, 7).double()
    log_p = z.masked_fill(F.one_hot(y, 7).bool(), -torch.inf).log_softmax(-1)
    others = log_p.masked_fill(F.one_hot(y, 7).bool(), 0).sum(-1) / 6
    torch.testing.assert_close(Zipf(7).terms(z, y, scores).mean(), (-math.log(6) - others).mean())


def test_equal_scores_share_the_better_rank():
    assert ranks(torch.tensor([[3.0, 5.0, 0.0, 3.0, 0.0]])).tolist() == [[2, 1, 4, 2, 4]]
    assert votes(torch.tensor([[1, 1, 3]]), torch.zeros(1, 4)).tolist() == [[0, 2, 0, 1]]


def test_zipf_ranks_by_location_only_with_global_pooling():
    for network, size, by_location in (("resnet18", 32, True), ("lenet", 32, False), ("alexnet", 32, False)):
        from lls.training.build import build_network

        net = build_network(compose([f"network={network}"]).network, 10, 3, size)
        x, y = torch.randn(2, 3, size, size), torch.tensor([1, 2])
        logits, features = net(x)
        method = Zipf(10)
        method.prepare(net)
        scores = method.scores(Batch(logits, y, x, features, net))
        assert torch.equal(scores, logits) != by_location
        assert not by_location or torch.equal(scores.sum(-1), torch.full((2,), 64.0))  # a 4x4 map, doubled
