"""Code of a user, right and wrong, for mypy. No test runs it.

`make lint` fails if mypy reports an error in a line without `type: ignore`, or none in a line with one.
"""

from typing import assert_type

import torch
from torch import Tensor

from lls import KD, LLS, LLSST, LS, OLS, Focal, Method, QMatrix, check_q, load_q, save_q

logits, labels = torch.randn(8, 10), torch.randint(10, (8,))


def right(net: torch.nn.Module) -> None:
    loss = LLS(10, alpha=0.2, scale=1, terms=[1, 1, 0, 1], weight=torch.ones(10), ignore_index=-1, reduction="sum")
    optimizer = torch.optim.SGD([*net.parameters(), *loss.parameters()], lr=0.1)
    assert_type(loss(logits, labels), Tensor)
    assert_type(loss(logits, labels, x=logits, net=net), Tensor)
    assert_type(check_q(loss, optimizer), bool)
    assert_type(loss.q_logits(), Tensor)
    assert_type(OLS(10).sums, Tensor)

    save_q("q.safetensors", QMatrix(loss.q_logits(), [str(c) for c in range(10)], {}))
    q = load_q("q.safetensors")
    assert_type(q.restrict(["0", "1"]), QMatrix)
    methods: list[Method] = [KD(10, lambda images: images, beta=0.5), LLSST(10, q.logits), Focal(10, gamma=1)]
    methods[0](logits, labels, x=logits).backward()


def wrong(loss: LLS, path: str) -> None:
    LLS(10, wrong=1)  # type: ignore[call-arg]
    LLS()  # type: ignore[call-arg]
    LLS("10")  # type: ignore[arg-type]
    LS(10, reduction=3)  # type: ignore[arg-type]
    KD(10, torch.zeros(10, 10))  # type: ignore[arg-type]
    loss(logits)  # type: ignore[call-arg]
    loss(logits, 3)  # type: ignore[arg-type]
    check_q(loss)  # type: ignore[call-arg]
    load_q(path).rows  # type: ignore[attr-defined]  # noqa: B018
    from lls import NoSuchLoss  # type: ignore[attr-defined]  # noqa: F401
