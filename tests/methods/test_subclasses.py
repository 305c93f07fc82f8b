"""Methods that a user writes: what `losses` and `loss` have to give, and what is called when."""

import pytest
import torch
import torch.nn.functional as F
from loss_cases import case

from lls import LLS, LS, Method, OneHot, check_q
from lls.methods.base import Batch

K = 7


class Brier(Method):
    """A loss of the batch alone."""

    def loss(self, batch: Batch):
        return (batch.logits.softmax(-1) - F.one_hot(batch.y, K)).square().sum(-1).mean()


class Shifted(LLS):
    """A change of the whole loss, written before LLS had a loss per sample."""

    def loss(self, batch: Batch):
        return super().loss(batch) + 100


def test_a_loss_of_the_batch_is_enough_for_a_mean_over_hard_labels():
    z, y = case(K)
    expected = (z.softmax(-1) - F.one_hot(y, K)).square().sum(-1).mean()
    torch.testing.assert_close(Brier()(z, y), expected)
    assert Shifted(K).double()(z, y).item() == pytest.approx(100 + LLS(K).double()(z, y).item())


@pytest.mark.parametrize("label", [-100, -1, 7])
def test_labels_out_of_range_are_refused_for_a_loss_of_the_batch(label):
    z, y = case(K)
    for method in (Brier(), Shifted(K)):
        with pytest.raises(ValueError, match=f"^label {label}: must be from 0 to 6"):
            method(z, y.where(y > 2, label))


@pytest.mark.parametrize("cls", [Brier, Shifted])
def test_what_needs_a_loss_per_sample_is_refused_for_a_loss_of_the_batch(cls):
    z, y = case(K)
    weighted = cls(K, weight=torch.ones(K))
    for method, labels in ((cls(K, reduction="sum"), y), (weighted, y), (cls(K), z.detach().softmax(-1))):
        with pytest.raises(TypeError, match=f"{cls.__name__} has no loss per sample"):
            method(z, labels)


@pytest.mark.parametrize("shape", [(16, 1), (), (4, 4), (16, 7)])
def test_losses_of_another_shape_are_refused(shape):
    """They would be broadcast with the weights, to a wrong number."""

    class Wrong(Method):
        def losses(self, batch: Batch):
            return batch.logits.sum() * torch.ones(shape)

    z, y = case(K)
    with pytest.raises(ValueError, match=r"^Wrong.losses returns a tensor of shape \[.*\]: must be \[16\]"):
        Wrong(reduction="none")(z, y)


def test_a_method_without_a_loss_says_so():
    class Empty(Method):
        pass

    with pytest.raises(NotImplementedError, match=r"^Empty defines neither `losses` nor `loss`"):
        Empty()(*case(K))


def test_a_subclass_may_change_the_losses():
    class Doubled(OneHot):
        def losses(self, batch: Batch):
            return 2 * super().losses(batch)

    z, y = case(K)
    y[0] = -100
    torch.testing.assert_close(Doubled(K)(z, y), 2 * F.cross_entropy(z, y))


def test_a_parameter_that_is_not_used_does_no_harm():
    class Biased(OneHot):
        def __init__(self, num_classes):
            super().__init__(num_classes)
            self.register_parameter("bias", None)

    z, y = case(K)
    torch.testing.assert_close(Biased(K)(z, y), F.cross_entropy(z, y))


def test_a_method_computes_shapes_on_the_meta_device():
    z, y = torch.zeros(4, K, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    for method in (LLS(K), LS(K, reduction="none")):
        assert method.to("meta")(z, y).is_meta


def test_check_q():
    loss, net = LLS(K), torch.nn.Linear(3, K)
    assert check_q(loss, torch.optim.SGD([*net.parameters(), *loss.parameters()], lr=0.1))
    assert not check_q(LS(K), torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"^the optimizer does not train q of LLS"):
        check_q(loss, torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"does not train 1\.q of Sequential"):
        check_q(torch.nn.Sequential(net, loss), torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"^check_q\(loss, optimizer\): the first argument is a SGD, not a module"):
        check_q(torch.optim.SGD(net.parameters(), lr=0.1), loss)
    loss.q.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^q of LLS is frozen"):
        check_q(loss, torch.optim.SGD([loss.q], lr=0.1))
