"""What a finished run leaves beside its weights: result.json, predictions, reliability, confusion matrix and Q."""

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
from lls.data.superclasses import superclass_names, superclasses
from lls.device import package_versions
from lls.files import write_atomic
from lls.methods.base import Method
from lls.networks.models import Network
from lls.qmatrix import QMatrix, draw_q, save_q
from lls.runs.provenance import method_code
from lls.runs.run import Run
from lls.runs.schema import VERSION, Result
from lls.training.confusion import CONFUSION, save_confusion
from lls.training.evaluate import evaluate, predict
from lls.training.logger import RunLogger
from lls.training.metrics import confusion_matrix, group_accuracy, matrix_measures, measures
from lls.training.reliability import RELIABILITY, reliability, save_reliability

GEOMETRIES = ("matched", "paper")  # values of dataset.geometry, which only FashionMNIST has


def final_result(
    run: Run,
    logger: RunLogger,
    net: Network,
    method: Method,
    classes: list[str],
    test: TestBatches,
    precision: str,
    provenance: dict,
) -> Result:
    """Measure the network after its last epoch, and save predictions, reliability diagram, confusion matrix and Q.

    provenance: `commit`, `images` (the fingerprint of the images) and `compute` (a list of lls.runs.schema.Compute).
    Returns the result. The caller writes result.json."""
    logits, y = predict(net, test, precision)
    measured = measure_logits(run.cfg, net, logits, y, classes, precision, test.device)
    save_predictions(run.folder / "predictions.npz", logits, y, classes)
    save_reliability(run.folder / RELIABILITY, reliability(logits, y))
    confusion = confusion_matrix(logits, y)
    save_confusion(run.folder / CONFUSION, classes, confusion.tolist())
    if (q_logits := method.q_logits()) is not None:
        _save_q(run, q_logits, classes)
        measured |= matrix_measures(q_logits, confusion)
    parameters = sum(p.numel() for module in (net, method) for p in module.parameters() if p.requires_grad)
    result = _compose_result(run.cfg, run.id, logger.rows, measured, parameters, provenance)
    logger.files()
    logger.summary(result)
    return result


def _compose_result(
    cfg: DictConfig, run_id: str, rows: list[dict], measured: dict[str, float], parameters: int, provenance: dict
) -> Result:
    """Compose the content of result.json from a run's rows and the measures of its network."""
    last, seconds = rows[-1], sum(row["seconds"] for row in rows)
    *earlier, compute = provenance["compute"] or [{}]
    return {
        "version": VERSION,
        "id": run_id,
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
        "parameters": parameters,
        "seconds": seconds + sum(row["eval_seconds"] for row in rows),
        "images_per_second": sum(row["seconds"] * row["images_per_second"] for row in rows) / seconds,
        **{key: value for key, value in compute.items() if key != "epochs"},
        **({"earlier": earlier} if earlier else {}),
        "versions": package_versions(),
        "commit": provenance["commit"],
        "method_code": method_code(cfg.method.name),
        "images": provenance["images"],
        "finished": timestamp(),
    }


def _save_q(run: Run, q_logits: Tensor, classes: list[str]) -> None:
    """Write q.safetensors and q.png. The former also has the method's keys, the data set, the network and the run."""
    cfg = run.cfg
    about = {key: str(value) for key, value in cfg.method.items() if isinstance(value, int | float | str)}
    about["method"] = about.pop("name")
    about |= {"dataset": cfg.dataset.name, "network": cfg.network.name, "run": run.id}
    about |= {"budget": f"{cfg.budget:g}"} if cfg.budget < 1 else {}
    q = QMatrix(q_logits.cpu(), classes, about)
    save_q(run.folder / "q.safetensors", q)
    draw_q(run.folder / "q.png", q, superclass_names(cfg.dataset.name, classes))


def measure_logits(
    cfg: DictConfig,
    net: Network,
    logits: Tensor,
    y: Tensor,
    classes: list[str],
    precision: str,
    device: torch.device,
) -> dict[str, float]:
    """Compute the measures of result.json from the logits `[N, K]` of the test images and their labels `[N]`.

    CIFAR-100 also gets the accuracy of superclasses. FashionMNIST also gets top1, nll and ece of the test images in the
    other geometry, for which `net` predicts them."""
    measured = measures(logits, y)
    if (groups := superclasses(cfg.dataset.name, classes)) is not None:
        measured["top1_superclass"] = group_accuracy(logits, y, groups)
    for geometry in GEOMETRIES:
        if cfg.dataset.get("geometry") not in (None, geometry):
            other = with_overrides(cfg, [f"dataset.geometry={geometry}"])
            with make_loaders(other, find_source(other.dataset, Path(cfg.machine.data)), device) as images:
                in_geometry = evaluate(net, images.eval_batches("test"), precision)
            measured |= {f"{name}_{geometry}_geometry": in_geometry[name] for name in ("top1", "nll", "ece")}
    return measured


def save_predictions(path: Path, logits: Tensor, y: Tensor, classes: list[str]) -> None:
    """Write logits `[N, K]` as float16, labels `[N]` as uint16 and class names to a file for np.load.

    Logits beyond the range of float16 become its largest finite number."""
    largest = torch.finfo(torch.float16).max
    float16 = logits.clamp(-largest, largest).half().cpu().numpy()

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # Given a path, np.savez would append .npz to it.
            np.savez(file, logits=float16, labels=y.cpu().numpy().astype(np.uint16), classes=np.array(classes))

    write_atomic(path, write)


def timestamp() -> str:
    """Return the current time in UTC, in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
