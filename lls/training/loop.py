"""The training loop. It is the same for all methods, networks, augmentations and data sets."""

import math
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from lls.data.augment import Augmentation
from lls.data.loaders import make_loaders
from lls.data.sources import Source, find_source
from lls.data.subset import num_classes_of_subset
from lls.device import ComputeSettings, environment_info, keep_memory, resolve_compute, select_device, set_precision
from lls.errors import Diverged, UserError
from lls.methods.base import Method
from lls.networks.models import Network
from lls.networks.pretrained import load_pretrained
from lls.runs.provenance import commit
from lls.runs.run import Run
from lls.runs.schema import Row
from lls.runs.summary import failure_summary, format_count
from lls.runs.validation import check_written
from lls.training.build import build_augmentation, build_method_for, build_network, build_step
from lls.training.checkpoint import Saver, collect_state, resume, save
from lls.training.evaluate import evaluate
from lls.training.logger import RunLogger
from lls.training.metrics import q_measures
from lls.training.progress import Progress
from lls.training.q_epochs import Q_EPOCHS, QRecorder
from lls.training.result import final_result, timestamp
from lls.training.schedule import make_schedule
from lls.training.step import Divergence, Step, TrainMeasures, train_epoch
from lls.training.teacher import give_teacher


class Prepared(NamedTuple):
    """What a run needs and can have before an image is read."""

    device: torch.device
    source: Source
    net: Network
    method: Method
    augmentation: Augmentation


def prepare(run: Run) -> Prepared:
    """Build what a run's configuration names, without reading an image.

    Raises UserError if the device, data set, network, method or augmentation is not available."""
    cfg = run.cfg
    device = select_device(cfg.machine.device)
    set_precision(cfg.machine.precision, device)
    source = find_source(cfg.dataset, Path(cfg.machine.data))
    num_classes = num_classes_of_subset(source.num_classes, cfg.dataset.subset)
    torch.manual_seed(cfg.seed)
    net = build_network(cfg.network, num_classes, cfg.dataset.channels, cfg.dataset.size)
    load_pretrained(net, cfg.network, cfg.dataset.channels, Path(cfg.machine.data))
    method = build_method_for(net, cfg.method, num_classes)
    return Prepared(device, source, net, method, build_augmentation(cfg.augment))


def train(run: Run, prepared: Prepared, artifact: str | None = None) -> dict:
    """Train a run to its last epoch, from its checkpoint if it has one. Write its files and return its result.

    artifact: a file for which a finished run is trained again. Its checkpoint gives all files but Q_EPOCHS, for which
    the run starts from its first epoch.
    If the run has a teacher, the teacher must be finished. Raises Diverged if a loss or a measure is not finite, and
    UserError if the method learns no Q for Q_EPOCHS."""
    cfg, schedule = run.cfg, make_schedule(run.cfg.train, run.cfg.budget)
    device, source, net, method, augmentation = prepared
    if artifact == Q_EPOCHS and method.q_logits() is None:
        raise UserError(f"{run.id} has no {Q_EPOCHS}: {cfg.method.name} learns no Q; choose a method that does")
    from_start = artifact == Q_EPOCHS and run.ended and not run.has(Q_EPOCHS)
    data = make_loaders(cfg, source, device)
    give_teacher(run, method, data.classes, device)
    batches, test = data.train(augmentation.pixels), data.eval_batches("test")
    settings = resolve_compute(cfg.machine, device, schedule.epochs * len(batches))
    step = build_step(cfg, net, method, settings, device)

    torch.manual_seed(cfg.seed)  # Again, because building the teacher drew random numbers.
    keep_memory(device)  # Only now, so that memory needed for reading the data has gone back to the system.
    if cfg.machine.get("again", False) and run.ended:
        run.remove_outputs()  # Only now, when everything that training needs is there.
    run.write_config()
    rows, commits, compute = ([], [], []) if from_start else resume(run, net, method, step.optimizer)
    commits = list(dict.fromkeys([*commits, commit()]))
    epochs_done, images_per_epoch = len(rows), len(batches) * cfg.train.batch_size
    q_recorder = QRecorder(run.folder / Q_EPOCHS, data.classes, schedule.epochs, epochs_done)
    resumed = f", {epochs_done} of them done" if epochs_done else ""
    print(f"{run.id}: {format_count(schedule.epochs, 'epoch')} on {device}{resumed}", flush=True)
    with (
        data,
        RunLogger(run, rows) as logger,
        Progress(schedule.epochs, len(batches), cfg.train.batch_size, epochs_done) as progress,
        Saver(partial(save, run), device) as saver,
    ):
        for epoch in range(epochs_done, schedule.epochs):
            lr, started = schedule.lr(epoch), time.perf_counter()
            step.set_lr(lr)
            net.train()
            train_epoch(step, batches.epoch(epoch), augmentation.mix, progress.step)
            method.end_epoch()
            measured, trained = step.measures(), time.perf_counter()
            if measured.divergence is not None:
                raise _diverged(run, epoch + 1, "loss", measured.divergence, lr, commits)
            tested = evaluate(net, test, settings.precision) | q_measures(method.q_logits())
            row = _epoch_row(epoch + 1, lr, measured, tested, trained - started, time.perf_counter() - trained)
            row["images_per_second"] = images_per_epoch / row["seconds"]
            if (not_finite := next((key for key, value in row.items() if not math.isfinite(value)), None)) is not None:
                last_step = Divergence(len(batches), measured.loss, measured.largest_logit)
                raise _diverged(run, epoch + 1, not_finite, last_step, lr, commits)
            check_written(row, Row)
            compute = _append_epoch(compute, _compute_record(step, settings, device))
            q_recorder.record(epoch + 1, method.q_logits())  # before the checkpoint, as QRecorder requires
            saver.save(collect_state(net, method, step.optimizer, [*logger.rows, row], data.classes, commits, compute))
            logger.log(row)
            progress.epoch(row)
        saver.wait()
        provenance = {"commit": _join_commits(commits), "compute": compute, "images": data.fingerprint}
        result = final_result(run, logger, net, method, data.classes, test, settings.precision, provenance)
        # The last checkpoint has no optimizer: a finished run needs its weights, not their momentum.
        save(run, collect_state(net, method, None, logger.rows, data.classes, commits, compute))
        run.finish(result)
    return result


def _epoch_row(
    epoch: int, lr: float, trained: TrainMeasures, tested: dict, seconds: float, eval_seconds: float
) -> dict[str, float]:
    """Return the row of an epoch, without images per second. tested: the measures of the test images and of Q."""
    return {
        "epoch": epoch,
        "lr": lr,
        "loss": trained.loss,
        "train_cross_entropy": trained.cross_entropy,
        "train_top1": trained.top1,
        **tested,
        "seconds": seconds,
        "eval_seconds": eval_seconds,
    }


def _join_commits(commits: list[str | None]) -> str:
    """Join commits for a file. None, which stands for code outside git, becomes `none`."""
    return ", ".join(name or "none" for name in commits)


def _append_epoch(compute: list[dict], record: dict) -> list[dict]:
    """Add one epoch to a run's list of lls.runs.schema.Compute: to its last entry, or to a new one if they differ."""
    *earlier, last = compute or [{"epochs": 0} | record]
    if last != record | {"epochs": last["epochs"]}:
        earlier, last = compute, record | {"epochs": 0}
    return [*earlier, last | {"epochs": last["epochs"] + 1}]


def _compute_record(step: Step, settings: ComputeSettings, device: torch.device) -> dict:
    """Return how the last epoch was computed."""
    used = settings._replace(compile=step.compiled, graph=step.captured)
    record = environment_info(used, device) | {"loss_kernel": step.loss_kernel}
    return {key: value for key, value in record.items() if key != "versions"}


def _diverged(
    run: Run, epoch: int, measure: str, divergence: Divergence, lr: float, commits: list[str | None]
) -> Diverged:
    """Write failed.json, and return the error to raise. epoch: counted from 1."""
    loss, largest = (x if math.isfinite(x) else str(x) for x in (divergence.loss, divergence.largest_logit))
    failed = {"id": run.id, "epoch": epoch, "step": divergence.step, "measure": measure, "loss": loss}
    failed |= {"largest_logit": largest, "lr": lr, "commit": _join_commits(commits)}
    run.fail(failed | {"finished": timestamp()})
    return Diverged(f"{run.id}: {failure_summary(failed)}; a lower train.lr may help")
