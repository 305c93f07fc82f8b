"""Claims about Q, confusions and distances of classes: what each compares."""

import json
import math

import numpy as np
import pytest
import torch
from claims import MATRIX, Q_RUN

from lls.paper.claims import clusters, matrices
from lls.paper.rules import decide
from lls.training.metrics import matrix_measures


def test_order_of_the_classes_in_a_row_of_q(finish, results):
    for seed, q in ((0, MATRIX), (1, [[0.1, 0.58, 0.32], *MATRIX[1:]])):
        finish(Q_RUN | {"seed": seed}, q)
    evidence = matrices.order(results, Q_RUN, {"a": [["b"], ["c"]], "c": [["a"], ["others"]]})
    assert [c.mean for c in evidence.comparisons] == pytest.approx([0.28, -0.05])  # c gives b more than a
    assert evidence.comparisons[0].standard_error == pytest.approx(0.02)
    assert evidence.comparisons[1].standard_error is None  # two equal values are no spread
    assert [run.cfg.seed for run in results.needed.values()] == [0, 1, 2]
    assert "a: b 0.59, c 0.31" in evidence.measured


def test_a_matrix_with_other_classes_gives_no_evidence(finish, results):
    finish(Q_RUN, MATRIX)
    evidence = matrices.order(results, Q_RUN, {"a": [["another"], ["others"]]})
    assert (evidence.measured, [c.mean for c in evidence.comparisons]) == ("", [None])


def test_order_of_confusions(finish, results):
    """Of 10 images of a, 5 are taken for b and 2 for c."""
    run = finish(Q_RUN)
    (run.folder / "confusion.csv").write_text("true,a,b,c\na,3,5,2\nb,0,10,0\nc,0,0,10\n")
    evidence = matrices.confusion_order(results, Q_RUN, {"a": [["b"], ["c"]]})
    assert [c.mean for c in evidence.comparisons] == pytest.approx([0.3])
    assert evidence.measured == "a: b 0.50, c 0.20"


def test_pairs_compare_the_rows_of_both_classes(finish, results):
    finish(Q_RUN, MATRIX)
    evidence = matrices.pairs(results, Q_RUN, [["b", "c"]])
    assert [c.mean for c in evidence.comparisons] == pytest.approx([0.7 - 0.2, 0.5 - 0.45])


def test_diagonal_of_q(finish, results):
    """One seed: the limits of the mean Q_yy are over the three classes, 0.1, 0.1 and 0.05."""
    finish(Q_RUN, MATRIX)
    evidence = matrices.diagonal(results, [Q_RUN], 0.1)
    mean, smallest = evidence.comparisons
    assert mean.mean - mean.margin == pytest.approx(0.1 - 0.25 / 3)
    assert (mean.unit, mean.dof) == ("classes", 2)
    assert mean.standard_error == pytest.approx((0.05**2 / 3 / 3) ** 0.5)
    assert (smallest.mean, smallest.standard_error) == (pytest.approx(0.1), None)
    assert "100 % of the rows" in evidence.measured


def test_entropy_is_paired_by_seed(finish, results):
    uniform = [[1 / 3] * 3] * 3
    for seed, terms, q in (
        (0, "forward_kl", uniform),
        (1, "forward_kl", uniform),
        (0, "lls", MATRIX),
        (1, "lls", MATRIX),
    ):
        finish(Q_RUN | {"method.terms": terms, "seed": seed}, q)
    evidence = matrices.entropy(results, Q_RUN, "method.terms", ["forward_kl"], "lls")
    nats = -sum(p * math.log(p) for row in MATRIX for p in row) / 3
    assert evidence.comparisons[0].mean == pytest.approx(math.log(3) - nats, abs=1e-6)
    assert evidence.comparisons[0].unit == "seeds"


def test_rank_correlation_is_the_q_confusion_of_the_run(finish, results):
    """Row a: Q and the confusions agree; row b: they are opposite; row c: all confusions are equal, so it has none."""
    run = finish(Q_RUN, MATRIX)
    (run.folder / "confusion.csv").write_text("true,a,b,c\na,3,5,2\nb,5,4,1\nc,1,1,8\n")
    counts = torch.tensor([[3, 5, 2], [5, 4, 1], [1, 1, 8]])
    expected = matrix_measures(torch.tensor(MATRIX).log(), counts)["q_confusion"]
    comparison = matrices.follows_confusions(results, Q_RUN, 0.5).comparisons[0]
    assert comparison.mean == pytest.approx(expected) == 0.0
    assert (comparison.margin, comparison.unit, comparison.dof) == (0.5, "classes", 1)


@pytest.mark.parametrize("confusion", ["", "true,a,b,d\na,1,0,0\nb,0,1,0\nd,0,0,1\n"])
def test_a_confusion_matrix_without_the_classes_of_q_gives_no_evidence(confusion, finish, results):
    run = finish(Q_RUN, MATRIX)
    (run.folder / "confusion.csv").write_text(confusion)
    assert matrices.follows_confusions(results, Q_RUN, 0.5).comparisons[0].mean is None
    evidence = matrices.confusion_order(results, Q_RUN, {"a": [["b"], ["c"]]})
    assert evidence.comparisons[0].mean is None
    assert results.lacking == set(results.needed)


@pytest.mark.parametrize("finished", ["then", "before it was trained again"])
def test_distances_of_classes_count_until_the_run_is_trained_again(finished, finish, results):
    distances = {"onehot": [0.1, 1.0, 1.1], "ls": [1.0, 1.0, 1.0], "lls": [0.2, 1.0, 1.0]}
    for method, (ab, ac, bc) in distances.items():
        for seed in (0, 1):
            run = finish({"dataset": "digits", "network": "lenet", "method": method, "seed": seed})
            content = {"finished": finished, "classes": list("abc"), "spread": [0.1] * 3}
            ab, ac = ab + 0.001 * seed, ac - 0.002 * seed * (method == "lls")
            content["distances"] = [[0, ab, ac], [ab, 0, bc], [ac, bc, 0]]
            (run.folder / "clusters.json").write_text(json.dumps(content))
    runs = [{"dataset": "digits", "network": "lenet"}]
    label = "reproduced" if finished == "then" else "not yet run"
    assert decide(clusters.equidistant(results, runs, 0.1).comparisons).label == label
    trio = clusters.trio(results, runs, [["a", "b", "c"]]).comparisons
    assert decide(trio).label == label
    assert trio[1].mean in (None, pytest.approx(0.8, abs=0.001))  # LS 1, LLS 0.2
    assert decide(clusters.trio(results, runs, [["a", "b", "another"]]).comparisons).label == "not yet run"


def test_a_class_without_images_has_no_distances(finish, results):
    for method in ("onehot", "ls", "lls"):
        run = finish({"dataset": "digits", "network": "lenet", "method": method})
        content = {"finished": "then", "classes": ["a", "b"], "spread": [0.1, math.nan]}
        (run.folder / "clusters.json").write_text(json.dumps(content | {"distances": [[0, math.nan], [math.nan, 0]]}))
    evidence = clusters.compact(results, [{"dataset": "digits", "network": "lenet"}])
    assert [c.mean for c in evidence.comparisons] == [None, None]


def test_spread_of_classes_over_their_distance(finish, results):
    """One seed: the limits are over the classes."""
    for method, spread in (("onehot", [0.4, 0.6, 0.5]), ("ls", [0.1, 0.1, 0.1]), ("lls", [0.2, 0.1, 0.3])):
        run = finish({"dataset": "digits", "network": "lenet", "method": method, "seed": 0})
        content = {"finished": "then", "classes": list("abc"), "spread": spread}
        (run.folder / "clusters.json").write_text(json.dumps(content | {"distances": (2 - 2 * np.eye(3)).tolist()}))
    ls, lls = clusters.compact(results, [{"dataset": "digits", "network": "lenet"}]).comparisons
    assert (ls.mean, lls.mean) == (pytest.approx(0.2), pytest.approx(0.15))
    assert (ls.unit, ls.standard_error) == ("classes", pytest.approx(0.05 / 3**0.5))
