"""The cost of each method's loss: its value, its gradients and, if the method learns parameters, their update."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.rounds import Times, alternate
from lls.config.assemble import options
from lls.config.compose import compose
from lls.device import keep_memory, select_device, synchronizer
from lls.methods.base import Batch, Method
from lls.training.build import build_method

BATCH_SIZE = 128
CLASSES = (10, 100, 200, 1000)
MANY_CLASSES = 21_841  # ImageNet-21k, where the Q of LLS has 1.9 GB
IN_A_STEP = ", in a step"  # suffix of names: timed as a part of a training step
TERMS = ("lls method.terms=forward_kl", "lls method.terms=no_rce")


def compare(num_classes: int, rounds: int, repeats: int | None = None) -> Times:
    """Return the seconds of one loss, its gradients and its update, for each method and the paper's pseudo-code.

    With MANY_CLASSES: for label smoothing and lls_topn only. repeats: losses per turn (default: enough to be timed)."""
    device = select_device("auto")
    keep_memory(device)
    many = num_classes >= MANY_CLASSES
    batch_size = 32 if many else BATCH_SIZE
    logits = torch.randn(batch_size, num_classes, device=device, requires_grad=True)
    y = torch.randint(num_classes, (batch_size,), device=device)
    if many:
        methods = {"ls": _method("method=ls", num_classes, device)}
        methods["lls_topn"] = with_candidates(_method("method=lls_topn", num_classes, device))
        repeats = repeats or 16
    else:
        names = (*methods_without_teacher(), *TERMS)
        methods = {name: _method(f"method={name}", num_classes, device) for name in names}
        methods |= {"lls without update": _method("method=lls", num_classes, device)}
        methods["pseudo-code"] = PseudoCode(num_classes).to(device)
        for name in ("onehot", "lls"):
            methods[name + IN_A_STEP] = _method(f"method={name}", num_classes, device)
        repeats = repeats or max(1, 20_000 // (100 + num_classes))
    work = {name: _turn(method, logits, y, repeats, name) for name, method in methods.items()}
    times = alternate(work, rounds, synchronizer(device))
    return times._replace(seconds={name: [s / repeats for s in turns] for name, turns in times.seconds.items()})


def methods_without_teacher() -> list[str]:
    """Return the methods of configs/method that have no teacher, each with its own yaml, without lls_topn.

    A teacher's forward pass would be most of the cost; lls_topn is for many classes."""
    sections = {name: compose([f"method={name}"]).method for name in options("method") if name != "lls_topn"}
    return [name for name, method in sections.items() if "teacher" not in method and method.name == name]


def memory(num_classes: int = MANY_CLASSES) -> tuple[int, int]:
    """Return the bytes of the learned parameters of LLS and of lls_topn, with gradients and momentum."""
    with torch.device("meta"):
        lls, topn = (build_method(compose([f"method={name}"]).method, num_classes) for name in ("lls", "lls_topn"))
    dense, sparse = (3 * sum(p.nbytes for p in method.parameters()) for method in (lls, topn))
    return dense, sparse + sum(b.nbytes for b in topn.buffers())


def with_candidates(topn: Method) -> Method:
    """Put lls_topn in the state after the epochs in which it gathers its candidates: most epochs are like that."""
    topn.gathering = False
    return topn


def _method(overrides: str, num_classes: int, device: torch.device) -> Method:
    return build_method(compose(overrides.split()).method, num_classes).to(device)


def _turn(method: Method, logits: Tensor, y: Tensor, repeats: int, name: str) -> Callable[[], None]:
    groups = [] if name.endswith("without update") else method.param_groups(5e-4)
    if name.endswith(IN_A_STEP):  # a step updates the network's parameters, so the optimizer has another group
        groups = [{"params": [torch.zeros(1, device=y.device, requires_grad=True)]}, *groups]
        groups[0]["params"][0].grad = torch.zeros(1, device=y.device)
    keys = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "fused": name != "pseudo-code"}
    optimizer = torch.optim.SGD(groups, **keys) if groups else None

    def work() -> None:
        for _ in range(repeats):
            logits.grad = None
            method.zero_grad()
            method.loss(Batch(logits, y)).backward()  # as in the training loop
            if optimizer is not None:
                optimizer.step()

    return as_cuda_graph(work) if name.endswith(IN_A_STEP) and y.is_cuda else work


def as_cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Capture `work` as a CUDA graph, as a training step on a GPU is. Returns a function that replays the graph."""
    side_stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        work()
    torch.cuda.current_stream().wait_stream(side_stream)
    with torch.cuda.graph(graph):
        work()

    def replay(captured: Callable[[], None] = work) -> None:
        """Replay the graph. `captured` holds the tensors that the graph writes to; the graph itself does not."""
        graph.replay()

    return replay


class PseudoCode(Method):
    """The pseudo-code of the paper's Appendix A, updated by PyTorch's default SGD, which is not fused.

    Two slips are corrected: `self.alpha`, and KL, which the pseudo-code does not define."""

    def __init__(self, num_classes: int, alpha: float = 0.1):
        super().__init__()
        self.num_classes, self.alpha = num_classes, alpha
        self.qmatrix = nn.Parameter(torch.zeros(num_classes, num_classes))

    def loss(self, batch: Batch) -> Tensor:
        logits, y = batch.logits, batch.y
        pred = F.softmax(logits, 1)
        y_tgt = (1 - self.alpha) * F.one_hot(y, num_classes=self.num_classes)
        y_tgt = y_tgt + self.alpha * F.softmax(self.qmatrix[y], 1)
        forward_kl = (y_tgt * (y_tgt.log() - pred.log())).sum(1).mean()
        backward_kl = (pred * (pred.log() - y_tgt.log())).sum(1).mean()
        return (forward_kl + backward_kl) / 2
