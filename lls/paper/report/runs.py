"""The ended runs as the report shows them: groups of runs that differ in their seed, curves, and learned matrices."""

import base64
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from omegaconf import DictConfig

from lls.errors import UserError
from lls.paper.results import differences
from lls.paper.tables.plan import run_overrides
from lls.runs.run import Run
from lls.runs.schema import NOT_RECORDED

CURVES = ("top1", "nll", "loss", "lr")


class ReportedRun(NamedTuple):
    id: str
    seed: int
    epochs: str
    top1: str
    commit: str
    command: str
    curves: dict[str, list[float]]  # by key of metrics.jsonl; those that all rows have


class RunGroup(NamedTuple):
    """Ended runs that differ only in their seed.

    facts: what distinguishes the group, as texts by key. The legend of the curves shows those that differ."""

    name: str
    facts: dict[str, str]
    runs: list[ReportedRun]


def anchor(run_id: str) -> str:
    """Return the link to a run on the page."""
    return f"#run-{quote(run_id)}"


def run_groups(runs: Iterable[Run]) -> list[RunGroup]:
    """Group runs that differ only in their seed, in the order of data set, network, budget (full first) and method."""
    groups: dict[tuple[str, ...], RunGroup] = {}
    order = {}
    for run in runs:
        overrides = _overrides(run)
        key = tuple(text for text in overrides or [run.id] if not text.startswith("seed="))
        group = groups.setdefault(key, RunGroup(_name(run.cfg), _facts(run.cfg), []))
        group.runs.append(_reported(run, overrides))
        order[key] = run.cfg.dataset.name, run.cfg.network.name, -run.cfg.budget, run.cfg.method.name, key
    for group in groups.values():
        group.runs.sort(key=lambda run: run.seed)
    return [groups[key] for key in sorted(groups, key=order.get)]


def run_data(groups: Iterable[RunGroup]) -> dict[str, list]:
    """Return what the page needs to draw the curves."""
    groups = list(groups)
    return {
        "groups": [{"name": group.name, "facts": group.facts} for group in groups],
        "runs": [
            {"id": run.id, "group": index, "seed": run.seed, "curves": run.curves}
            for index, group in enumerate(groups)
            for run in group.runs
        ],
    }


def matrix_data(run: Run) -> dict[str, object]:
    """Encode softmax(Q) row by row: steps of 1/65535 as little-endian uint16, in base64."""
    import numpy as np

    from lls.qmatrix import load_q

    q = load_q(run.folder / "q.safetensors")
    steps = np.rint(q.logits.double().softmax(-1).numpy() * 65535).astype("<u2")
    return {"id": run.id, "classes": q.classes, "values": base64.b64encode(steps.tobytes()).decode()}


def _overrides(run: Run) -> list[str] | None:
    """Return the overrides that train a run, without `machine.`; None if one of its options does not exist any more."""
    try:
        return [text for text in run_overrides(run) if not text.startswith("machine.")]
    except UserError:
        return None


def _facts(cfg: DictConfig) -> dict[str, str]:
    facts = {"method": cfg.method.name}
    if cfg.augment.name != "none":
        facts["augment"] = f"augment={cfg.augment.name}"
    for text in differences(cfg):
        key, _, value = text.removeprefix("method.").partition("=")
        facts[key] = f"{key}={'/'.join(Path(value).parts[-2:]) if '/' in value else value}"
    return facts | {"dataset": cfg.dataset.name, "network": cfg.network.name, "budget": f"budget {cfg.budget:g}"}


def _name(cfg: DictConfig) -> str:
    facts = _facts(cfg)
    subject = f"{facts.pop('dataset')} / {facts.pop('network')}"
    budget = facts.pop("budget") + (", a short run" if cfg.budget < 1 else "")
    return f"{subject}: {' '.join(facts.values())}, {budget}"


def _reported(run: Run, overrides: list[str] | None) -> ReportedRun:
    command = "not known: one of its options was removed"
    if overrides is not None:
        command = shlex.join(["python", "train.py", *overrides])
    if failed := run.failed:
        epochs, top1, commit = failed["epoch"], "diverged", failed["commit"]
    else:
        result = run.result
        epochs, commit = (result.get(key, NOT_RECORDED) for key in ("epochs", "commit"))
        top1 = f"{result['top1']:.2f}" if "top1" in result else NOT_RECORDED
    return ReportedRun(run.id, run.cfg.seed, str(epochs), top1, commit, command, _curves(run))


def _curves(run: Run) -> dict[str, list[float]]:
    if not run.has("metrics.jsonl"):
        return {}
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return {name: [_round(row[name]) for row in rows] for name in CURVES if rows and all(name in row for row in rows)}


def _round(value: float) -> float:
    return float(f"{value:.5g}")
