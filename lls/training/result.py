"""What a finished run leaves beside its weights: result.json's content, predictions, the confusion matrix, Q."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lls.config.compose import with_overrides
from lls.data.in_memory import TestBatches
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.data.superclasses import superclasses
from lls.device import package_versions
from lls.files import write_atomic
from lls.methods.base import Method
from lls.networks.models import Network
from lls.qmatrix import QMatrix, draw_q, save_q
from lls.runs.provenance import method_code
from lls.runs.run import Run
from lls.runs.schema import VERSION, Result
from lls.training.evaluate import evaluate, predict
from lls.training.logger import RunLogger
from lls.training.metrics import confusion_matrix, group_accuracy, matrix_measures, measures

GEOMETRIES = ("matched", "paper")  # of FashionMNIST


def final_result(
    run: Run,
    logger: RunLogger,
    net: Network,
    method: Method,
    classes: list[str],
    test: TestBatches,
    precision: str,
    about: dict,
) -> Result:
    """Measure the network after its last epoch; save predictions, confusion matrix and Q. Returns the result, which is
    not written yet. about: `commit`, `images` (their fingerprint), and `compute`, how the epochs were computed."""
    cfg, rows = run.cfg, logger.rows
    logits, y = predict(net, test, precision)
    measured = measure_logits(cfg, net, logits, y, classes, precision, test.device)
    save_predictions(run.folder / "predictions.npz", logits, y, classes)
    confusion = confusion_matrix(logits, y)
    write_atomic(run.folder / "confusion.csv", lambda temporary: _write_csv(temporary, classes, confusion))
    if (q_logits := method.q_logits()) is not None:
        _save_q(run, q_logits, classes)
        logger.image("q", run.folder / "q.png")
        measured |= matrix_measures(q_logits, confusion)
    seconds, last = sum(row["seconds"] for row in rows), rows[-1]
    *earlier, compute = about["compute"] or [{}]
    result = {
        "version": VERSION,
        "id": run.id,
        "dataset": cfg.dataset.name,
        "network": cfg.network.name,
        "method": cfg.method.name,
        "seed": cfg.seed,
        "budget": cfg.budget,
        "epochs": len(rows),
        "top1": last["top1"],
        "top1_best": max(row["top1"] for row in rows),
        "nll": last["nll"],
        "loss": last["loss"],
        **{name: last[name] for name in ("train_cross_entropy", "train_top1") if name in last},
        **{name: value for name, value in measured.items() if name not in ("top1", "nll")},
        "parameters": sum(p.numel() for module in (net, method) for p in module.parameters() if p.requires_grad),
        "seconds": seconds + sum(row["eval_seconds"] for row in rows),
        "images_per_second": sum(row["seconds"] * row["images_per_second"] for row in rows) / seconds,
        **{key: value for key, value in compute.items() if key != "epochs"},
        **({"earlier": earlier} if earlier else {}),
        "versions": package_versions(),
        "commit": about["commit"],
        "method_code": method_code(cfg.method.name),
        "images": about["images"],
        "finished": timestamp(),
    }
    logger.summary(result)
    return result


def _save_q(run: Run, q_logits: Tensor, classes: list[str]) -> None:
    cfg = run.cfg
    keys = {key: str(value) for key, value in cfg.method.items() if isinstance(value, int | float | str)}
    keys["method"] = keys.pop("name")
    keys |= {"dataset": cfg.dataset.name, "network": cfg.network.name, "run": run.id}
    q = QMatrix(q_logits.cpu(), classes, keys)
    save_q(run.folder / "q.safetensors", q)
    draw_q(run.folder / "q.png", q)


def measure_logits(
    cfg: DictConfig,
    net: Network,
    logits: Tensor,
    y: Tensor,
    classes: list[str],
    precision: str,
    device: torch.device,
) -> dict[str, float]:
    """All that result.json says of a network's logits of the test images, and for FashionMNIST the top1, nll and ece of
    the test images in the other geometry."""
    measured = measures(logits, y)
    if (groups := superclasses(cfg.dataset.name, classes)) is not None:
        measured["top1_superclass"] = group_accuracy(logits, y, groups)
    for geometry in GEOMETRIES:
        if cfg.dataset.get("geometry") not in (None, geometry):
            other = with_overrides(cfg, [f"dataset.geometry={geometry}"])
            with make_loaders(other, find_source(other.dataset, Path(cfg.machine.data)), device) as images:
                there = evaluate(net, images.eval_batches("test"), precision)
            measured |= {f"{name}_{geometry}_geometry": there[name] for name in ("top1", "nll", "ece")}
    return measured


def save_predictions(path: Path, logits: Tensor, y: Tensor, classes: list[str]) -> None:
    """Write logits `[N, K]` as float16, the largest finite one in place of those beyond it, labels `[N]` as uint16 and
    class names; np.load reads it."""
    largest = torch.finfo(torch.float16).max
    halves = logits.clamp(-largest, largest).half().cpu().numpy()

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a name, NumPy adds .npz to it
            np.savez(file, logits=halves, labels=y.cpu().numpy().astype(np.uint16), classes=np.array(classes))

    write_atomic(path, write)


def timestamp() -> str:
    """The time as result.json has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_csv(path, classes: list[str], confusion: torch.Tensor) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *classes])
        writer.writerows([name, *counts] for name, counts in zip(classes, confusion.tolist(), strict=True))
