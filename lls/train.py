"""The only training loop. What differs between methods, networks and data sets is behind their interfaces."""

import math
import time
from pathlib import Path
from typing import NamedTuple

import torch

from lls import machine
from lls.augment import Augmentation
from lls.build import build_augmentation, build_method, build_network
from lls.checkpoint import resume, state_of
from lls.data import Source, feed, find, kept_classes
from lls.errors import Diverged, UserError
from lls.evaluate import evaluate
from lls.method import Method
from lls.networks import Network
from lls.outcome import outcome
from lls.pretrained import start_from
from lls.progress import Progress
from lls.recorder import Recorder
from lls.runs import Run
from lls.saver import Saver
from lls.schedule import schedule
from lls.step import epoch, step_of
from lls.teacher import lesson, stand_in


class Prepared(NamedTuple):
    """What a run needs, as far as it can be had without reading an image."""

    device: torch.device
    source: Source
    net: Network
    method: Method
    augmentation: Augmentation


def prepare(run: Run) -> Prepared:
    """Build everything a run's configuration names. UserError for a device, data set, network or method that can't be
    had. A method that is taught gets a stand-in for its lesson."""
    cfg = run.cfg
    device = machine.device(cfg.machine.device)
    machine.set_precision(cfg.machine.precision, device)
    source = find(cfg.dataset, Path(cfg.machine.data))
    num_classes = kept_classes(source.num_classes, cfg.dataset.subset)
    torch.manual_seed(cfg.seed)
    net = build_network(cfg.network, num_classes, cfg.dataset.channels, cfg.dataset.size)
    start_from(net, cfg.network, cfg.dataset.channels, Path(cfg.machine.data))
    method = build_method(cfg.method, num_classes, **stand_in(cfg.method, num_classes))
    try:
        method.prepare(net)
    except ValueError as error:
        raise UserError(f"method.{error}") from None
    return Prepared(device, source, net, method, build_augmentation(cfg.augment))


def train(run: Run, prepared: Prepared) -> dict:
    """Train a prepared run to its end, from its checkpoint if it has one, and leave its result. Returns the result.

    Its teacher, if it has one, is finished."""
    cfg, plan = run.cfg, schedule(run.cfg.train, run.cfg.budget)
    device, source, net, method, augmentation = prepared
    images = feed(cfg, source, device)
    if taught := lesson(run, images.classes, device):
        method = build_method(cfg.method, len(images.classes), **taught)
    batches, test = images.train(augmentation.pixels), images.plain("test")
    how = machine.ways(cfg.machine, device, plan.epochs * len(batches))
    step = step_of(cfg, net, method, how, device)

    torch.manual_seed(cfg.seed)  # whatever the teacher drew
    machine.keep_memory(device)  # now: what reading the data took for a while has been given back
    run.write_config()
    rows, commits = resume(run, net, method, step.optimizer)
    commits = list(dict.fromkeys([*commits, machine.commit()]))
    first, per_epoch = len(rows), len(batches) * cfg.train.batch_size
    print(f"{run.id}: {plan.epochs} epochs on {device}{f', {first} of them done' if first else ''}", flush=True)
    with (
        images,
        Recorder(run, rows) as recorder,
        Progress(plan.epochs, len(batches), cfg.train.batch_size, first) as progress,
        Saver(run, device) as saver,
    ):
        for number in range(first, plan.epochs):
            started = time.perf_counter()
            step.set_lr(plan.lr(number))
            net.train()
            epoch(step, batches.epoch(number), augmentation.mix, progress.step)
            method.end_epoch()
            mean_loss, trained = step.mean_loss(len(batches)), time.perf_counter()
            measured = evaluate(net, test, how.precision)
            row = {
                "epoch": number + 1,
                "lr": plan.lr(number),
                "loss": mean_loss,
                **measured,
                "seconds": trained - started,
                "eval_seconds": time.perf_counter() - trained,
                "images_per_second": per_epoch / (trained - started),
            }
            for name in ("loss", "nll"):
                if not math.isfinite(row[name]):
                    raise Diverged(f"{run.id}: {name} is {row[name]} in epoch {number + 1}; a lower train.lr may help")
            saver.save(state_of(net, method, step.optimizer, [*recorder.rows, row], images.classes, commits))
            recorder.log(row)
            progress.epoch(row)
        saver.wait()
        result = outcome(run, recorder, net, method, images.classes, test, commits, how)
        # a finished run needs its weights, not its momentum
        run.save(state_of(net, method, None, recorder.rows, images.classes, commits))
        run.finish(result)
    return result
