"""What a finished run leaves beside its weights: result.json's content, the learned matrix, the confusion matrix."""

import csv
from datetime import UTC, datetime

import torch

from lls import machine
from lls.data.batches import TestBatches
from lls.data.superclasses import superclasses
from lls.evaluate import predict
from lls.files import write_whole
from lls.measures import confusion_matrix, group_accuracy, matrix_measures, measures
from lls.method import Method
from lls.networks import Network
from lls.qmatrix import QMatrix, draw_q, save_q
from lls.recorder import Recorder
from lls.runs import Run


def outcome(
    run: Run,
    recorder: Recorder,
    net: Network,
    method: Method,
    classes: list[str],
    test: TestBatches,
    commits: list,
    how: machine.Ways,
) -> dict:
    """Measure the network after its last epoch; save and draw what was learned beside it. Returns the result, of which
    nothing is written yet."""
    cfg, rows = run.cfg, recorder.rows
    logits, y = predict(net, test, how.precision)
    measured = measures(logits, y)
    if (groups := superclasses(cfg.dataset.name, classes)) is not None:
        measured["top1_superclass"] = group_accuracy(logits, y, groups)
    confusion = confusion_matrix(logits, y)
    write_whole(run.folder / "confusion.csv", lambda temporary: _write_csv(temporary, classes, confusion))
    if (q_logits := method.q_logits()) is not None:
        about = {key: str(value) for key, value in cfg.method.items() if isinstance(value, int | float | str)}
        about["method"] = about.pop("name")
        about |= {"dataset": cfg.dataset.name, "network": cfg.network.name, "run": run.id}
        q = QMatrix(q_logits.cpu(), classes, about)
        save_q(run.folder / "q.safetensors", q)
        draw_q(run.folder / "q.png", q)
        recorder.image("q", run.folder / "q.png")
        measured |= matrix_measures(q_logits, confusion)
    seconds = sum(row["seconds"] for row in rows)
    result = {
        "id": run.id,
        "dataset": cfg.dataset.name,
        "network": cfg.network.name,
        "method": cfg.method.name,
        "seed": cfg.seed,
        "budget": cfg.budget,
        "epochs": len(rows),
        "top1": rows[-1]["top1"],
        "top1_best": max(row["top1"] for row in rows),
        "nll": rows[-1]["nll"],
        "loss": rows[-1]["loss"],
        **{name: value for name, value in measured.items() if name not in ("top1", "nll")},
        "parameters": sum(p.numel() for module in (net, method) for p in module.parameters() if p.requires_grad),
        "seconds": seconds + sum(row["eval_seconds"] for row in rows),
        "images_per_second": sum(row["seconds"] * row["images_per_second"] for row in rows) / seconds,
        **machine.record(how, test.device),
        "commit": ", ".join(commit or "none" for commit in commits),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    recorder.summary(result)
    return result


def _write_csv(path, classes: list[str], confusion: torch.Tensor) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *classes])
        writer.writerows([name, *counts] for name, counts in zip(classes, confusion.tolist(), strict=True))
