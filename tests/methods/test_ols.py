"""Online label smoothing."""

import torch
import torch.nn.functional as F
from loss_cases import case

from lls.methods.ols import OLS


def test_ols_first_epoch_is_half_the_cross_entropy_on_cifar_and_uniform_otherwise():
    z, y = case()
    torch.testing.assert_close(OLS(7)(z, y), 0.5 * F.cross_entropy(z, y))
    fine = OLS(7, init="uniform", weights=[1.0, 1.0], cap=0.88).double()
    uniform = -z.log_softmax(-1).mean()
    torch.testing.assert_close(fine(z, y), F.cross_entropy(z, y) + uniform)


def test_ols_rows_are_the_mean_prediction_of_correct_samples():
    method = OLS(7).double()
    for epoch in range(3):
        z, y = case(b=64, seed=epoch)
        y[y == 3] = 4  # class 3 is absent
        for part in (slice(0, 40), slice(40, 64)):
            method(z[part], y[part])
        method.end_epoch()
        p = z.detach().softmax(-1)
        for c in range(7):
            correct = (y == c) & (p.argmax(-1) == c)
            expected = p[correct].mean(0) if correct.any() else torch.full((7,), 1 / 7, dtype=torch.float64)
            torch.testing.assert_close(method.targets[c], expected)
        torch.testing.assert_close(method.targets.sum(-1), torch.ones(7, dtype=torch.float64))
        assert not method.sums.any()
        assert not method.counts.any()


def test_ols_accumulates_in_train_mode_only():
    method = OLS(7).eval()
    method(*case())
    assert not method.counts.any()


def test_ols_cap_freezes_a_row_with_a_large_entry():
    z = torch.tensor([[9.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    method = OLS(3, init="uniform", cap=0.88).double()
    method(z, torch.tensor([0, 1]))
    method.end_epoch()
    sure, unsure = method.targets[0].clone(), method.targets[1].clone()
    assert sure.max() > 0.88 > unsure.max()
    method(z * torch.tensor([[0.5], [2.0]], dtype=torch.float64), torch.tensor([0, 1]))
    method.end_epoch()
    assert torch.equal(method.targets[0], sure)
    assert not torch.equal(method.targets[1], unsure)
    method.end_epoch()  # an epoch without a correct sample
    torch.testing.assert_close(method.targets, torch.full((3, 3), 1 / 3, dtype=torch.float64))
