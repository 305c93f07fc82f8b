"""What each method's loss costs: its value, its gradients and, where it learns something, the update of that."""

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

BATCH, IN_A_STEP = 128, ", in a step"
CLASSES = (10, 100, 200, 1000)
MANY = 21_841  # ImageNet-21k, where LLS's Q alone has 1.9 GB
TERMS = ("lls method.terms=forward_kl", "lls method.terms=no_rce")


def compare(num_classes: int, rounds: int) -> Times:
    """Seconds of a loss, its gradients and its update by each method, and by the paper's pseudo-code as printed."""
    device = select_device("auto")
    keep_memory(device)
    batch = BATCH if num_classes < MANY else 32
    logits = torch.randn(batch, num_classes, device=device, requires_grad=True)
    y = torch.randint(num_classes, (batch,), device=device)
    if num_classes < MANY:
        methods = {name: _method(f"method={name}", num_classes, device) for name in (*untaught(), *TERMS)}
        methods |= {"lls without update": _method("method=lls", num_classes, device)}
        methods["pseudo-code"] = PseudoCode(num_classes).to(device)
        for name in ("onehot", "lls"):
            methods[name + IN_A_STEP] = _method(f"method={name}", num_classes, device)
        repeats = max(1, 20_000 // (100 + num_classes))
    else:
        methods = {"ls": _method("method=ls", num_classes, device)}
        methods["lls_topn"] = chosen(_method("method=lls_topn", num_classes, device))
        repeats = 16
    work = {name: _turn(method, logits, y, repeats, name) for name, method in methods.items()}
    times = alternate(work, rounds, synchronizer(device))
    return times._replace(seconds={name: [s / repeats for s in turns] for name, turns in times.seconds.items()})


def untaught() -> list[str]:
    """The methods of configs/method without a teacher, whose forward pass would be their cost; each with the settings
    of its own yaml only, and without lls_topn, which is for many classes."""
    sections = {name: compose([f"method={name}"]).method for name in options("method") if name != "lls_topn"}
    return [name for name, method in sections.items() if "teacher" not in method and method.name == name]


def memory(num_classes: int = MANY) -> tuple[int, int]:
    """Bytes of what LLS and lls_topn learn, with gradient and momentum."""
    with torch.device("meta"):
        kinds = [build_method(compose([f"method={name}"]).method, num_classes) for name in ("lls", "lls_topn")]
    dense, sparse = (3 * sum(p.nbytes for p in kind.parameters()) for kind in kinds)
    return dense, sparse + sum(b.nbytes for b in kinds[1].buffers())


def chosen(topn: Method) -> Method:
    """As it is after the epochs in which it gathers its candidates, which is nearly always."""
    topn.gathering = False
    return topn


def _method(overrides: str, num_classes: int, device: torch.device) -> Method:
    return build_method(compose(overrides.split()).method, num_classes).to(device)


def _turn(method: Method, logits: Tensor, y: Tensor, repeats: int, name: str) -> Callable[[], None]:
    learned = [] if name.endswith("without update") else method.param_groups(5e-4)
    if name.endswith(IN_A_STEP):  # a group of the network's, which is updated anyhow, is there first
        learned = [{"params": [torch.zeros(1, device=y.device, requires_grad=True)]}, *learned]
        learned[0]["params"][0].grad = torch.zeros(1, device=y.device)
    keys = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "fused": name != "pseudo-code"}
    optimizer = torch.optim.SGD(learned, **keys) if learned else None

    def work() -> None:
        for _ in range(repeats):
            logits.grad = None
            method.zero_grad()
            method.loss(Batch(logits, y)).backward()  # as the training loop asks for it
            if optimizer is not None:
                optimizer.step()

    return recorded(work) if name.endswith(IN_A_STEP) and y.is_cuda else work


def recorded(work: Callable[[], None]) -> Callable[[], None]:
    """`work` as a CUDA graph, which a step is on a GPU: launched one by one, its operations would seem to cost more."""
    aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()
    torch.cuda.current_stream().wait_stream(aside)
    with torch.cuda.graph(graph):
        work()

    def replay(of: Callable[[], None] = work) -> None:
        """`of` holds the tensors that the graph writes to; the graph does not."""
        graph.replay()

    return replay


class PseudoCode(Method):
    """The paper's Appendix A, its slips put right (`self.alpha`, and KL, which it does not define), and PyTorch's SGD
    as it is by default."""

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
