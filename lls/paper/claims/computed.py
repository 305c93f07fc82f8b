"""Claims that need no finished run: gradients of the loss (Appendix B), parameters and time (Table 9)."""

from pathlib import Path

from lls.paper.claims.verdict import Comparison, Evidence

TRIALS = 256  # random logits for each number of classes


def gradient_ratio(
    confidence: float | None, classes: list[int], output: Path, at_least: float | None = None, at_most=None
) -> Evidence:
    """mean |∂KL(t‖p̂)/∂z| over mean |∂KL(t‖p̂)/∂Q_y|, at Q = 0, is at least, or at most, so much for each K."""
    return _ratios("forward KL", confidence, classes, at_least, at_most)


def reverse_ratio(
    confidence: float | None, classes: list[int], output: Path, at_least: float | None = None, at_most=None
) -> Evidence:
    """The same with the reverse KL's gradient to Q_y below the line."""
    return _ratios("reverse KL", confidence, classes, at_least, at_most)


def _ratios(term: str, confidence, classes, at_least, at_most) -> Evidence:
    ratios = {k: ratio(term, k, confidence) for k in classes}
    comparisons = []
    for k, value in ratios.items():
        if at_least is not None:
            comparisons.append(Comparison(f"ratio at least {at_least:g} at K={k}", [value - at_least], 0.0))
        if at_most is not None:
            comparisons.append(Comparison(f"ratio at most {at_most:g} at K={k}", [at_most - value], 0.0))
    return Evidence(comparisons, ", ".join(f"K={k}: {value:.1f}" for k, value in ratios.items()))


def ratio(term: str, k: int, confidence: float | None, alpha: float = 0.1) -> float:
    """mean |∂KL(t‖p̂)/∂z| / mean |∂term/∂Q_y| over random standard normal logits of K classes, with Q = 0 and every p̂_y
    set to `confidence` (None: as the logits fall). In float64, seeded."""
    import torch
    import torch.nn.functional as F

    from lls.losses.divergences import kl, log_mixture

    g = torch.Generator().manual_seed(0)
    z = torch.randn(TRIALS, k, generator=g, dtype=torch.float64)
    y = torch.randint(k, (TRIALS,), generator=g)
    if confidence is not None:
        others = z.scatter(1, y[:, None], -torch.inf).logsumexp(1, keepdim=True)
        odds = torch.tensor(confidence / (1 - confidence), dtype=torch.float64)
        z = z.scatter(1, y[:, None], others + odds.log())
    z.requires_grad_()
    q = torch.zeros(TRIALS, k, dtype=torch.float64, requires_grad=True)
    log_p, log_t = F.log_softmax(z, -1), log_mixture(F.log_softmax(q, -1), y, alpha)
    (to_z,) = torch.autograd.grad(kl(log_t, log_p).sum(), z, retain_graph=True)
    divergence = kl(log_t, log_p) if term == "forward KL" else kl(log_p, log_t)
    (to_q,) = torch.autograd.grad(divergence.sum(), q)
    return (to_z.abs().mean() / to_q.abs().mean()).item()


def parameters(networks: list[str], dataset: str, below: float, output: Path) -> Evidence:
    """K² is less than `below` per cent of each network's parameters."""
    import torch

    from lls.config.compose import compose
    from lls.training.build import build_network

    comparisons, words = [], []
    for name in networks:
        cfg = compose([f"dataset={dataset}", f"network={name}"])
        k = cfg.dataset.num_classes
        with torch.device("meta"):
            net = build_network(cfg.network, k, cfg.dataset.channels, cfg.dataset.size)
        more = 100 * k * k / sum(p.numel() for p in net.parameters())
        comparisons.append(Comparison(f"less than {below:g} % with {name}", [below - more], 0.0))
        words.append(f"{name} +{more:.3f} %")
    return Evidence(comparisons, ", ".join(words))


def minutes(networks: list[str], dataset: str, below: float, output: Path) -> Evidence:
    """A training step of LLS takes less than `below` per cent more time than 1-hot's, over the rounds of the paired
    measurement of `python scripts/tables.py time`."""
    from statistics import mean

    from lls.paper.tables.timing import minutes as of_rounds
    from lls.runs.planned import run_of

    comparisons, words = [], []
    for name in networks:
        words_of = [f"dataset={dataset}", f"network={name}", f"machine.output={output}"]
        onehot, lls = (of_rounds(run_of([*words_of, f"method={method}"])) for method in ("onehot", "lls"))
        more = [100 * (ours / theirs - 1) for ours, theirs in zip(lls, onehot, strict=True)]
        comparisons.append(Comparison(f"less than {below:g} % with {name}", [below - value for value in more], below))
        if more:
            words.append(f"{name} {mean(more):+.2f} % over {len(more)} rounds")
    return Evidence(comparisons, ", ".join(words))
