"""The only training loop. What differs between methods, networks and data sets is behind their interfaces."""

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
from lls.runs.summary import failure_summary
from lls.runs.validation import check_written
from lls.training.build import build_augmentation, build_method, build_network, build_step
from lls.training.checkpoint import Saver, collect_state, resume, save
from lls.training.evaluate import evaluate
from lls.training.logger import RunLogger
from lls.training.metrics import q_measures
from lls.training.progress import Progress
from lls.training.result import final_result, timestamp
from lls.training.schedule import make_schedule
from lls.training.step import Divergence, Step, train_epoch
from lls.training.teacher import give_teacher


class Prepared(NamedTuple):
    """What a run needs, as far as it can be had without reading an image."""

    device: torch.device
    source: Source
    net: Network
    method: Method
    augmentation: Augmentation


def prepare(run: Run) -> Prepared:
    """Build everything a run's configuration names. UserError for a device, data set, network or method that can't be
    had."""
    cfg = run.cfg
    device = select_device(cfg.machine.device)
    set_precision(cfg.machine.precision, device)
    source = find_source(cfg.dataset, Path(cfg.machine.data))
    num_classes = num_classes_of_subset(source.num_classes, cfg.dataset.subset)
    torch.manual_seed(cfg.seed)
    net = build_network(cfg.network, num_classes, cfg.dataset.channels, cfg.dataset.size)
    load_pretrained(net, cfg.network, cfg.dataset.channels, Path(cfg.machine.data))
    method = build_method(cfg.method, num_classes)
    try:
        method.prepare(net)
    except ValueError as error:
        raise UserError(f"method.{error}") from None
    return Prepared(device, source, net, method, build_augmentation(cfg.augment))


def train(run: Run, prepared: Prepared) -> dict:
    """Train a prepared run to its end, from its checkpoint if it has one, and leave its result. Returns the result.

    Its teacher, if it has one, is finished."""
    cfg, plan = run.cfg, make_schedule(run.cfg.train, run.cfg.budget)
    device, source, net, method, augmentation = prepared
    images = make_loaders(cfg, source, device)
    give_teacher(run, method, images.classes, device)
    batches, test = images.train(augmentation.pixels), images.eval_batches("test")
    settings = resolve_compute(cfg.machine, device, plan.epochs * len(batches))
    step = build_step(cfg, net, method, settings, device)

    torch.manual_seed(cfg.seed)  # whatever the teacher drew
    keep_memory(device)  # now: what reading the data took for a while has been given back
    if cfg.machine.get("again", False) and run.ended:
        run.remove_outputs()  # not before: now all that training needs is there
    run.write_config()
    rows, commits, compute = resume(run, net, method, step.optimizer)
    commits = list(dict.fromkeys([*commits, commit()]))
    first, per_epoch = len(rows), len(batches) * cfg.train.batch_size
    print(f"{run.id}: {plan.epochs} epochs on {device}{f', {first} of them done' if first else ''}", flush=True)
    with (
        images,
        RunLogger(run, rows) as logger,
        Progress(plan.epochs, len(batches), cfg.train.batch_size, first) as progress,
        Saver(partial(save, run), device) as saver,
    ):
        for number in range(first, plan.epochs):
            started = time.perf_counter()
            step.set_lr(plan.lr(number))
            net.train()
            train_epoch(step, batches.epoch(number), augmentation.mix, progress.step)
            method.end_epoch()
            of_training, trained = step.measures(), time.perf_counter()
            if of_training.divergence is not None:
                raise _diverged(run, number + 1, "loss", of_training.divergence, plan.lr(number), commits)
            row = {
                "epoch": number + 1,
                "lr": plan.lr(number),
                "loss": of_training.loss,
                "train_cross_entropy": of_training.cross_entropy,
                "train_top1": of_training.top1,
                **evaluate(net, test, settings.precision),
                **q_measures(method.q_logits()),
                "seconds": trained - started,
                "eval_seconds": time.perf_counter() - trained,
                "images_per_second": per_epoch / (trained - started),
            }
            if (measure := next((key for key, value in row.items() if not math.isfinite(value)), None)) is not None:
                last = Divergence(len(batches), of_training.loss, of_training.largest_logit)
                raise _diverged(run, number + 1, measure, last, plan.lr(number), commits)
            check_written(row, Row)
            compute = _extended(compute, _computed(step, settings, device))
            saver.save(
                collect_state(net, method, step.optimizer, [*logger.rows, row], images.classes, commits, compute)
            )
            logger.log(row)
            progress.epoch(row)
        saver.wait()
        about = {"commit": _joined(commits), "compute": compute, "images": images.fingerprint}
        result = final_result(run, logger, net, method, images.classes, test, settings.precision, about)
        # a finished run needs its weights, not its momentum
        save(run, collect_state(net, method, None, logger.rows, images.classes, commits, compute))
        run.finish(result)
    return result


def _joined(commits: list[str | None]) -> str:
    """`none` for code outside git."""
    return ", ".join(name or "none" for name in commits)


def _extended(compute: list[dict], now: dict) -> list[dict]:
    """The stretches of epochs (lls.runs.schema.Compute) with one more epoch."""
    *earlier, last = compute or [{"epochs": 0} | now]
    if last != now | {"epochs": last["epochs"]}:
        earlier, last = compute, now | {"epochs": 0}
    return [*earlier, last | {"epochs": last["epochs"] + 1}]


def _computed(step: Step, settings: ComputeSettings, device: torch.device) -> dict:
    """How the last epoch was computed."""
    used = settings._replace(compile=step.compiled, graph=step.captured)
    about = environment_info(used, device) | {"loss_kernel": step.loss_kernel}
    return {key: value for key, value in about.items() if key != "versions"}


def _diverged(
    run: Run, epoch: int, measure: str, divergence: Divergence, lr: float, commits: list[str | None]
) -> Diverged:
    """Write failed.json. Returns the error to be raised."""
    loss, largest = (x if math.isfinite(x) else str(x) for x in (divergence.loss, divergence.largest_logit))
    failed = {"id": run.id, "epoch": epoch, "step": divergence.step, "measure": measure, "loss": loss}
    failed |= {"largest_logit": largest, "lr": lr, "commit": _joined(commits)}
    run.fail(failed | {"finished": timestamp()})
    return Diverged(f"{run.id}: {failure_summary(failed)}; a lower train.lr may help")
