"""Claims that need no finished run: gradients (Appendix B), losses, parameters and training time (Table 9)."""

import math
from collections.abc import Sequence
from statistics import fmean

from lls.paper.claims.evidence import Evidence, Results
from lls.paper.rules import computed, over_values

SAMPLES = 256  # random logits for each number of classes
DRAWS = 5  # of such logits


def gradient_ratio(
    results: Results, confidence: float | None, classes: list[int], at_least: float, at_most: float
) -> Evidence:
    """Compare the ratio of gradients with the paper's `at_least` and `at_most`, for each number of classes.

    The ratio is mean |∂KL(t‖p̂)/∂z| over mean |∂KL(t‖p̂)/∂Q_y|, at Q = 0. confidence: see `ratio`."""
    ratios = _ratios("forward KL", classes, confidence)
    comparisons = []
    for k, values in ratios.items():
        above, below = [value - at_least for value in values], [at_most - value for value in values]
        comparisons.append(over_values(f"ratio at least {at_least:g} at K={k}", above, unit="draws"))
        comparisons.append(over_values(f"ratio at most {at_most:g} at K={k}", below, unit="draws"))
    return Evidence(comparisons, _summary(ratios))


def same_magnitude(results: Results, classes: list[int], digits: float) -> Evidence:
    """Compare |log10| of the ratio with the gradient of the reverse KL, |∂KL(p̂‖t)/∂Q_y|, as its denominator.

    It is below `digits`, for each number of classes."""
    ratios = _ratios("reverse KL", classes, None)
    comparisons = [
        over_values(f"|log10 ratio| below {digits:g} at K={k}", [-abs(math.log10(v)) for v in values], -digits, "draws")
        for k, values in ratios.items()
    ]
    return Evidence(comparisons, _summary(ratios))


def _ratios(term: str, classes: Sequence[int], confidence: float | None) -> dict[int, list[float]]:
    """Return the ratios of DRAWS draws of logits, by number of classes."""
    return {k: [ratio(term, k, confidence, seed) for seed in range(DRAWS)] for k in classes}


def _summary(ratios: dict[int, list[float]]) -> str:
    return ", ".join(f"K={k}: {fmean(values):.1f}" for k, values in ratios.items())


def ratio(term: str, k: int, confidence: float | None, seed: int = 0, alpha: float = 0.1) -> float:
    """Compute mean |∂KL(t‖p̂)/∂z| / mean |∂term/∂Q_y| over random standard normal logits of k classes, at Q = 0.

    term: "forward KL" or "reverse KL".
    confidence: the p̂_y that all samples are given; None leaves the logits as they are.
    seed: of the logits. The computation is in float64."""
    import torch
    import torch.nn.functional as F

    from lls.losses.divergences import kl, log_mixture

    generator = torch.Generator().manual_seed(seed)
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


def parameters(results: Results, networks: list[str], dataset: str, below: float) -> Evidence:
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
        comparisons.append(computed(f"less than {below:g} % with {name}", below - percent))
        summaries.append(f"{name} +{percent:.3f} %")
    return Evidence(comparisons, ", ".join(summaries))


def q_parameters(results: Results, classes: int, millions: float, within: float) -> Evidence:
    """Compare the K² parameters of Q with the paper's number: they differ by less than `within` per cent."""
    ours = classes**2 / 1e6
    percent = 100 * abs(ours / millions - 1)
    name = f"within {within:g} % of {millions:g} M"
    return Evidence([computed(name, -percent, -within)], f"K={classes:,}: {ours:.1f} M ({ours - millions:+.1f} M)")


def tfkd_reg_is_ls(results: Results, classes: int, methods: list[str], within: float) -> Evidence:
    """Compare the gradient of TF-KD_reg with that of w · LS(α): the largest difference is below `within`.

    The difference is relative to the largest entry of the gradient. Because TF-KD_reg's target takes two values,

        (1-a) H(e_y, p̂) + m a/K KL(q‖p̂)  has the gradient of  w H(t, p̂),  w = 1 - a + m a/K,  t = LS(α),

    with α = K (m a/K) q_off / w, where q_off is q's value off the label (methods of Yuan et al., CVPR 2020)."""
    import torch

    from lls.config.compose import compose
    from lls.methods.ls import LS
    from lls.training.build import build_method

    generator, comparisons, summaries = torch.Generator().manual_seed(0), [], []
    z = torch.randn(SAMPLES, classes, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(classes, (SAMPLES,), generator=generator)
    for name in methods:
        cfg = compose(["dataset=cifar100", f"method={name}"]).method
        weight = cfg.a * (classes if cfg.multiplier is None else cfg.multiplier) / classes
        u = torch.full((classes,), 0.01 / (classes - 1), dtype=torch.float64)
        u[0] = 0.99
        w, q_off = 1 - cfg.a + weight, torch.softmax(u / cfg.temperature, 0)[1].item()
        alpha = classes * weight * q_off / w
        (ours,) = torch.autograd.grad(build_method(cfg, classes)(z, y), z)
        (smoothed,) = torch.autograd.grad(w * LS(classes, alpha=alpha)(z, y), z)
        difference = ((ours - smoothed).abs().max() / ours.abs().max()).item()
        comparisons.append(computed(f"{name} equals LS", -difference, -within))
        summaries.append(f"{name}: {w:.3g} · LS({alpha:.4f}), largest difference {difference:.0e}")
    return Evidence(comparisons, "; ".join(summaries))


def minutes(
    results: Results,
    networks: list[str],
    dataset: str,
    method: str = "lls",
    below: float | None = None,
    above: float | None = None,
) -> Evidence:
    """Compare the time of a training step with that of 1-hot: `method` takes less than `below` per cent more time, or
    more than `above`.

    The times are the paired rounds that `python scripts/tables.py time` measures."""
    from lls.paper.tables.timing import minutes as minutes_by_round
    from lls.runs.planned import run_of

    comparisons, summaries = [], []
    for name in networks:
        overrides = [f"dataset={dataset}", f"network={name}", f"machine.output={results.output}"]
        onehot, times = (minutes_by_round(run_of([*overrides, f"method={m}"])) for m in ("onehot", method))
        percents = [100 * (ours / base - 1) for ours, base in zip(times, onehot, strict=False)]
        if below is not None:
            label, values, margin = f"less than {below:g} % with {name}", [-percent for percent in percents], -below
        else:
            label, values, margin = f"more than {above:g} % with {name}", percents, above
        comparisons.append(over_values(label, values, margin, "rounds"))
        if percents:
            summaries.append(f"{name} {fmean(percents):+.2f} % over {len(percents)} rounds")
    return Evidence(comparisons, ", ".join(summaries))
