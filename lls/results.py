"""Finished runs as a table: those that differ by their seed alone are one row."""

from collections.abc import Iterable
from functools import cache
from statistics import mean, stdev

from omegaconf import DictConfig, OmegaConf

from lls.composition import GROUPS
from lls.config import compose, flattened
from lls.errors import UserError
from lls.runs import Run


def markdown(runs: Iterable[Run]) -> str:
    """A Markdown table of those of `runs` that are finished: mean ± sample standard deviation over their seeds."""
    rows: dict[tuple[str, ...], list[dict]] = {}
    for run in runs:
        if (result := run.result) is not None:
            rows.setdefault(_label(run), []).append(result)
    columns = ["data set", "network", "method", "budget", "epochs", "top-1, last epoch (%)", "top-1, best epoch (%)"]
    columns += ["NLL", "ECE (%)", "images/s", "s a run", "device"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for label, results in sorted(rows.items()):
        measures = [
            _over_seeds([r[name] for r in results], digits)
            for name, digits in (("top1", 2), ("top1_best", 2), ("nll", 4))
        ]
        measures.append(_over_seeds([100 * r["ece"] for r in results], 2))
        measures.append(f"{mean(r['images_per_second'] for r in results):,.0f}")
        seconds = f"{mean(r['seconds'] for r in results):,.0f}"
        device = ", ".join(sorted({r["device"] for r in results}))
        measures[0] += f" (n={len(results)})"
        lines.append(f"| {' | '.join((*label, *measures, seconds, device))} |")
    return "\n".join(lines)


def differences(cfg: DictConfig) -> list[str]:
    """The science keys of a configuration that are not what its groups' options say: `key=value`, sorted. None where an
    option is not there any more."""
    choices = (*(f"{group}={cfg[group].name}" for group in GROUPS), f"seed={cfg.seed}", f"budget={cfg.budget}")
    try:
        own, default = flattened(OmegaConf.to_container(cfg, resolve=True)), _of_options(choices)
    except UserError:
        return []  # of an option that is no more
    apart = ("seed", "budget", "machine")
    return sorted(
        f"{key}={value}"
        for key, value in own.items()
        if not isinstance(value, dict) and key.split(".")[0] not in apart and value != default.get(key)
    )


@cache
def _of_options(choices: tuple[str, ...]) -> dict[str, object]:
    return flattened(OmegaConf.to_container(compose(choices), resolve=True))


def _label(run: Run) -> tuple[str, ...]:
    cfg = run.cfg
    method = " ".join([cfg.method.name, *differences(cfg)])
    return cfg.dataset.name, cfg.network.name, method, f"{cfg.budget:g}", str(run.result["epochs"])


def _over_seeds(values: list[float], digits: int) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
