"""Runs that have ended as a table: those that differ by their seed alone are one row."""

from collections.abc import Iterable
from functools import cache
from statistics import mean, stdev

from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import GROUPS, flatten
from lls.config.compose import compose
from lls.errors import UserError
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED, Failed, Result, is_failed
from lls.training.schedule import make_schedule

MEASURES = (  # of result.json: key, digits, factor, whether with its standard deviation
    ("top1", 2),
    ("top1_best", 2),
    ("nll", 4),
    ("ece", 2, 100),
    ("images_per_second", 0, 1, False),
    ("seconds", 0, 1, False),
)


def results_markdown(runs: Iterable[Run]) -> str:
    """A Markdown table of those of `runs` that are finished or have diverged: mean ± sample standard deviation over
    their seeds; no mean where one has diverged."""
    rows: dict[tuple[str, ...], list[Result | Failed]] = {}
    for run in runs:
        if (ended := run.failed or run.result) is not None:
            rows.setdefault(_label(run), []).append(ended)
    columns = ["data set", "network", "method", "budget", "epochs", "top-1, last epoch (%)", "top-1, best epoch (%)"]
    columns += ["NLL", "ECE (%)", "images/s", "s a run", "device"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for label, ended in sorted(rows.items()):
        if diverged := sum(map(is_failed, ended)):
            measures = [f"diverged ({diverged}/{len(ended)})", *["·"] * (len(columns) - len(label) - 1)]
        else:
            measures = [_over_seeds(ended, *form) for form in MEASURES]
            measures.append(", ".join(sorted({r.get("device", NOT_RECORDED) for r in ended})))
            measures[0] += f" (n={len(ended)})"
        lines.append(f"| {' | '.join((*label, *measures))} |")
    return "\n".join(lines)


def differences(cfg: DictConfig) -> list[str]:
    """The science keys of a configuration that are not what its groups' options say: `key=value`, sorted. None where an
    option is not there any more."""
    choices = (*(f"{group}={cfg[group].name}" for group in GROUPS), f"seed={cfg.seed}", f"budget={cfg.budget}")
    try:
        own, default = flatten(OmegaConf.to_container(cfg, resolve=True)), _of_options(choices)
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
    return flatten(OmegaConf.to_container(compose(choices), resolve=True))


def _label(run: Run) -> tuple[str, ...]:
    cfg = run.cfg
    method = " ".join([cfg.method.name, *differences(cfg)])
    return (
        cfg.dataset.name,
        cfg.network.name,
        method,
        f"{cfg.budget:g}",
        str(make_schedule(cfg.train, cfg.budget).epochs),
    )


def _over_seeds(results: list[Result], key: str, digits: int, scale: float = 1.0, spread: bool = True) -> str:
    """The mean of a number of `results`, and its standard deviation."""
    values = [scale * r[key] for r in results if key in r]
    if len(values) < len(results):
        return NOT_RECORDED
    return f"{mean(values):,.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if spread and len(values) > 1 else "")
