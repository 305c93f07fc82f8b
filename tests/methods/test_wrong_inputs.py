"""Inputs that do not fit a loss: each ends in one line, the same in all methods."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loss_cases import METHODS, make_method

from lls import LLS

K = 7
Z, Y = torch.randn(4, K, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 6, 2])
PIXELS, LABELS = torch.zeros(2, K, 3, 5), torch.zeros(2, 3, 5, dtype=torch.int64)


def freed(tensor):
    """As FSDP frees the memory of parameters between forward passes."""
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


class Sharded(torch.Tensor):
    """Stands for a DTensor, which needs a process group."""

    full_tensor = None


def nan(*shape):
    return torch.full(shape, torch.nan)


SHAPE, TYPE, NUMBER = "must have shape", "must be", "must be from 0 to 6"
# name: (logits, labels, exception, a part of its line)
WRONG = {
    "label K": (Z, torch.tensor([0, 7, 1, 2]), ValueError, f"label 7: {NUMBER}"),
    "label K as uint8": (Z, torch.tensor([0, 7, 1, 2], dtype=torch.uint8), ValueError, f"label 7: {NUMBER}"),
    "label -1": (Z, torch.tensor([0, -1, 1, 2]), ValueError, f"label -1: {NUMBER}"),
    "label -1 as int8": (Z, torch.tensor([0, -1, 1, 2], dtype=torch.int8), ValueError, f"label -1: {NUMBER}"),
    "label -101 beside ignored ones": (Z, torch.tensor([0, -100, -101, 2]), ValueError, f"label -101: {NUMBER}"),
    "label 255": (Z, torch.tensor([0, 255, 1, 2]), ValueError, f"label 255: {NUMBER}"),
    "label of 10^12": (Z, torch.tensor([0, 10**12, 1, 2]), ValueError, f"label {10**12}: {NUMBER}"),
    "labels from 1 to K": (Z, torch.tensor([1, 7, 2, 3]), ValueError, f"label 7: {NUMBER}"),
    "a pixel's label": (PIXELS, LABELS + 7, ValueError, f"label 7: {NUMBER}"),
    "fewer labels": (Z, Y[:3], ValueError, f"labels of shape [3] for logits of shape [4, 7]: {SHAPE} [4]"),
    "more labels": (Z, Y.repeat(2), ValueError, f"labels of shape [8] for logits of shape [4, 7]: {SHAPE} [4]"),
    "no labels": (Z, Y[:0], ValueError, f"labels of shape [0] for logits of shape [4, 7]: {SHAPE} [4]"),
    "one label for all": (Z, Y[0], ValueError, f"labels of shape [] for logits of shape [4, 7]: {SHAPE} [4]"),
    "a column of labels": (
        Z,
        Y[:, None],
        ValueError,
        f"labels of shape [4, 1] for logits of shape [4, 7]: {SHAPE} [4]",
    ),
    "a row of labels": (Z, Y[None], ValueError, f"labels of shape [1, 4] for logits of shape [4, 7]: {SHAPE} [4]"),
    "labels of pixels": (Z, LABELS, ValueError, f"labels of shape [2, 3, 5] for logits of shape [4, 7]: {SHAPE} [4]"),
    "one label per image": (PIXELS, LABELS[:, 0, 0], ValueError, f"{SHAPE} [2, 3, 5]"),
    "pixels in another order": (PIXELS, LABELS.mT, ValueError, "labels of shape [2, 5, 3] for logits of shape"),
    "pixels with a channel": (PIXELS, LABELS[:, None], ValueError, f"{SHAPE} [2, 3, 5]"),
    "classes last": (PIXELS.movedim(1, -1), LABELS, ValueError, "have 3 classes: [B, K, ...] must"),
    "one-hot integers": (Z, torch.eye(K).long()[Y], ValueError, "one-hot labels must be floating point"),
    "one-hot booleans": (Z, torch.eye(K).bool()[Y], TypeError, "labels of torch.bool: must be integers"),
    "booleans": (Z, Y > 2, TypeError, "labels of torch.bool: must be integers"),
    "complex labels": (Z, Y.cfloat(), TypeError, "labels of torch.complex64: must be integers"),
    "floating-point indices": (Z, Y.float(), ValueError, "soft labels of shape [4] for logits of shape [4, 7]"),
    "indices in a column": (Z, Y.float()[:, None], ValueError, "must have the same shape (class indices are integers)"),
    "soft labels of other classes": (Z, torch.ones(4, K + 1), ValueError, "soft labels of shape [4, 8] for logits"),
    "soft labels of fewer samples": (Z, torch.ones(1, K), ValueError, "soft labels of shape [1, 7] for logits"),
    "negative soft labels": (Z, -torch.eye(K)[Y], ValueError, "soft labels must be 0 or more, and finite"),
    "soft labels of nan": (Z, nan(4, K), ValueError, "soft labels must be 0 or more, and finite"),
    "labels in a list": (Z, [0, 3, 6, 2], TypeError, f"labels of type list: {TYPE} a tensor"),
    "labels of NumPy": (Z, np.array([0, 3, 6, 2]), TypeError, f"labels of type ndarray: {TYPE} a tensor"),
    "no label": (Z, None, TypeError, f"labels of type NoneType: {TYPE} a tensor"),
    "labels and shares of mixup": (Z, (Y, Y, 0.3), TypeError, f"labels of type tuple: {TYPE} a tensor"),
    "labels elsewhere": (Z, Y.to("meta"), ValueError, "labels on meta and logits on cpu"),
    "fewer classes": (Z[:, :5], Y, ValueError, "logits of shape [4, 5] have 5 classes: [B, K, ...] must"),
    "more classes": (
        torch.zeros(4, 8),
        Y,
        ValueError,
        "logits of shape [4, 8] have 8 classes: [B, K, ...] must",
    ),
    "no classes": (Z[:, :0], Y, ValueError, "logits of shape [4, 0] have 0 classes: [B, K, ...] must"),
    "logits of one class each": (Z[:, 0], Y, ValueError, "logits of shape [4] have 4 classes: [B, K, ...] must"),
    "a number": (Z[0, 0], Y[0], ValueError, f"logits without dimensions: {TYPE} [B, K]"),
    "integer logits": (Z.long(), Y, TypeError, "logits of torch.int64: must be floating point"),
    "complex logits": (Z.cfloat(), Y, TypeError, "logits of torch.complex64: must be floating point"),
    "logits with features": ((Z, Z), Y, TypeError, f"logits of type tuple: {TYPE} a tensor"),
    "the output of a model": (SimpleNamespace(logits=Z), Y, TypeError, "must be a tensor, such as output.logits"),
    "sparse logits": (Z.to_sparse(), Y, TypeError, "logits of layout torch.sparse_coo: must be a dense tensor"),
    "logits of a DTensor": (Z.as_subclass(Sharded), Y, TypeError, "such as x.full_tensor()"),
    "labels of a DTensor": (Z, Y.as_subclass(Sharded), TypeError, "such as x.full_tensor()"),
    "freed logits": (freed(Z), Y, ValueError, "logits: the memory of this tensor was freed"),
    "freed labels": (Z, freed(Y), ValueError, "labels: the memory of this tensor was freed"),
    "labels and logits exchanged": (Y, Z, TypeError, "logits of torch.int64: must be floating point"),
}


@pytest.mark.parametrize("name", WRONG)
def test_all_methods_refuse_an_input_in_one_line(name):
    logits, y, exception, line = WRONG[name]
    for option in METHODS:
        for reduction in ("mean", "none"):
            method = make_method(option, K, reduction=reduction).float()
            with pytest.raises(exception, match=re.escape(line)) as caught:
                method(logits, y, x=logits)
            assert "\n" not in str(caught.value)
            assert type(caught.value) is exception


def test_q_of_another_shape_or_without_its_memory_is_refused():
    method = make_method("lls", K).float()
    method.q.data = torch.zeros(K, K + 1)
    with pytest.raises(ValueError, match=r"^q of shape \[7, 8\] for 7 classes: must be 7 x 7"):
        method(Z, Y)
    method.q.data = torch.zeros(K, K)
    method.q.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match=r"^q: the memory of this tensor was freed"):
        method(Z, Y)


@pytest.mark.parametrize("name", ["kd", "tfkd_self"])
def test_a_teacher_with_other_classes_is_refused(name):
    method = make_method(name, K)
    with pytest.raises(ValueError, match=r"teacher and student have shapes \[4, 5\] and \[4, 7\]"):
        method(Z, Y, x=Z[:, :5])


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"reduction": "batchmean"}, "reduction=batchmean: must be one of mean, sum, none"),
        ({"ignore_index": 1.5}, "ignore_index=1.5: must be a whole number"),
        ({"weight": [1.0] * K}, "weight of type list: must be a tensor"),
        ({"weight": torch.ones(K - 1)}, "must be floating point, of shape [7]"),
        ({"weight": torch.ones(K, 1)}, "must be floating point, of shape [7]"),
        ({"weight": torch.ones(K, dtype=torch.int64)}, "must be floating point, of shape [7]"),
    ],
)
def test_all_methods_refuse_wrong_arguments(keys, line):
    for option in METHODS:
        with pytest.raises((TypeError, ValueError), match=re.escape(line)) as caught:
            make_method(option, K, **keys)
        assert "\n" not in str(caught.value)
        with pytest.raises(TypeError):
            make_method(option, K, no_such_argument=1)


@pytest.mark.parametrize("num_classes", [0, -1, 10.0, "10", Z])
def test_a_wrong_number_of_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match=r"^num_classes of type \w+.*: must be a whole number above 0"):
        LLS(num_classes, Y)


@pytest.mark.parametrize("alpha", [0, 1.5, "0.1", Z])
def test_an_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"^alpha.*: must be above 0 and at most 1"):
        LLS(K, alpha)
