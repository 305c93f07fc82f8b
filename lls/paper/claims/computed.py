"""Claims that need no finished run: gradients of the loss (Appendix B), parameters and training time (Table 9)."""

from pathlib import Path
from statistics import mean

from lls.paper.claims.verdict import Comparison, Evidence

SAMPLES = 256  # random logits for each number of classes


def gradient_ratio(
    confidence: float | None,
    classes: list[int],
    output: Path,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Evidence:
    """Compare the ratio of gradients with `at_least` and `at_most`, for each number of classes.

    The ratio is mean |∂KL(t‖p̂)/∂z| over mean |∂KL(t‖p̂)/∂Q_y|, at Q = 0. confidence: see `ratio`."""
    return _compare_ratios("forward KL", confidence, classes, at_least, at_most)


def reverse_ratio(
    confidence: float | None,
    classes: list[int],
    output: Path,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Evidence:
    """Compare the same ratio with the gradient of the reverse KL, |∂KL(p̂‖t)/∂Q_y|, as its denominator."""
    return _compare_ratios("reverse KL", confidence, classes, at_least, at_most)


def _compare_ratios(
    term: str, confidence: float | None, classes: list[int], at_least: float | None, at_most: float | None
) -> Evidence:
    ratios = {k: ratio(term, k, confidence) for k in classes}
    comparisons = []
    for k, value in ratios.items():
        if at_least is not None:
            comparisons.append(Comparison(f"ratio at least {at_least:g} at K={k}", [value - at_least], 0.0))
        if at_most is not None:
            comparisons.append(Comparison(f"ratio at most {at_most:g} at K={k}", [at_most - value], 0.0))
    return Evidence(comparisons, ", ".join(f"K={k}: {value:.1f}" for k, value in ratios.items()))


def ratio(term: str, k: int, confidence: float | None, alpha: float = 0.1) -> float:
    """Compute mean |∂KL(t‖p̂)/∂z| / mean |∂term/∂Q_y| over random standard normal logits of k classes, at Q = 0.

    term: "forward KL" or "reverse KL".
    confidence: the p̂_y that all samples are given; None leaves the logits as they are.
    The computation is in float64 and seeded."""
    import torch
    import torch.nn.functional as F

    from lls.losses.divergences import kl, log_mixture

    generator = torch.Generator().manual_seed(0)
    z = torch.randn(SAMPLES, k, generator=generator, dtype=torch.float64)
    y = torch.randint(k, (SAMPLES,), generator=generator)
    if confidence is not None:
        others = z.scatter(1, y[:, None], -torch.inf).logsumexp(1, keepdim=True)
        odds = torch.tensor(confidence / (1 - confidence), dtype=torch.float64)
        z = z.scatter(1, y[:, None], others + odds.log())
    z.requires_grad_()
    q = torch.zeros(SAMPLES, k, dtype=torch.float64, requires_grad=True)
    log_p, log_t = F.log_softmax(z, -1), log_mixture(F.log_softmax(q, -1), y, alpha)
    (to_z,) = torch.autograd.grad(kl(log_t, log_p).sum(), z, retain_graph=True)
    divergence = kl(log_t, log_p) if term == "forward KL" else kl(log_p, log_t)
    (to_q,) = torch.autograd.grad(divergence.sum(), q)
    return (to_z.abs().mean() / to_q.abs().mean()).item()


def parameters(networks: list[str], dataset: str, below: float, output: Path) -> Evidence:
    """Compare the K² parameters of Q with those of each network: they are less than `below` per cent."""
    import torch

    from lls.config.compose import compose
    from lls.training.build import build_network

    comparisons, summaries = [], []
    for name in networks:
        cfg = compose([f"dataset={dataset}", f"network={name}"])
        k = cfg.dataset.num_classes
        with torch.device("meta"):
            net = build_network(cfg.network, k, cfg.dataset.channels, cfg.dataset.size)
        percent = 100 * k * k / sum(p.numel() for p in net.parameters())
        comparisons.append(Comparison(f"less than {below:g} % with {name}", [below - percent], 0.0))
        summaries.append(f"{name} +{percent:.3f} %")
    return Evidence(comparisons, ", ".join(summaries))


def minutes(networks: list[str], dataset: str, below: float, output: Path) -> Evidence:
    """Compare the time of a training step: LLS takes less than `below` per cent more time than 1-hot.

    The times are the paired rounds that `python scripts/tables.py time` measures."""
    from lls.paper.tables.timing import minutes as minutes_by_round
    from lls.runs.planned import run_of

    comparisons, summaries = [], []
    for name in networks:
        overrides = [f"dataset={dataset}", f"network={name}", f"machine.output={output}"]
        onehot, lls = (minutes_by_round(run_of([*overrides, f"method={method}"])) for method in ("onehot", "lls"))
        percents = [100 * (lls_time / onehot_time - 1) for lls_time, onehot_time in zip(lls, onehot, strict=True)]
        differences = [below - percent for percent in percents]
        comparisons.append(Comparison(f"less than {below:g} % with {name}", differences, below))
        if percents:
            summaries.append(f"{name} {mean(percents):+.2f} % over {len(percents)} rounds")
    return Evidence(comparisons, ", ".join(summaries))
