"""The only training loop. What differs between methods, networks and data sets is behind their interfaces."""

import math
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from lls import machine
from lls.build import build_method, build_mix, build_network
from lls.data import TestBatches, TrainBatches, find, load
from lls.evaluate import evaluate
from lls.method import Batch, Method
from lls.networks import Network
from lls.progress import Progress
from lls.qmatrix import QMatrix, draw_q, save_q
from lls.recorder import Recorder
from lls.runs import Run
from lls.schedule import schedule


def train(run: Run) -> dict:
    """Train a run to its end, from its checkpoint if it has one, and leave its result. Returns the result.

    Raises UserError, before any image is read, for a device, data set, network or method that can't be had."""
    cfg, plan = run.cfg, schedule(run.cfg.train, run.cfg.budget)
    device = machine.device(cfg.machine.device)
    machine.set_precision(cfg.machine.precision)
    source = find(cfg.dataset, Path(cfg.machine.data))
    num_classes = len(source.classes) if source.classes else cfg.dataset.num_classes
    torch.manual_seed(cfg.seed)
    net = build_network(cfg.network, num_classes, cfg.dataset.channels, cfg.dataset.size)
    method, mix = build_method(cfg.method, num_classes), build_mix(cfg.augment)
    net.to(device, memory_format=torch.channels_last)
    method.to(device)
    forward = torch.compile(net) if cfg.machine.compile else net
    optimizer = torch.optim.SGD(
        [{"params": list(net.parameters())}, *method.param_groups(cfg.train.weight_decay)],
        lr=plan.base_lr,
        momentum=cfg.train.momentum,
        weight_decay=cfg.train.weight_decay,
        nesterov=cfg.train.nesterov,
        fused=True,
    )

    images = load(cfg.dataset, Path(cfg.machine.data), source)
    look = {"mean": list(cfg.dataset.mean), "std": list(cfg.dataset.std), "device": device}
    batches = TrainBatches(
        images.train_x,
        images.train_y,
        batch_size=cfg.train.batch_size,
        seed=cfg.seed,
        crop_padding=cfg.dataset.crop_padding,
        padding_mode=cfg.dataset.padding_mode,
        flip=cfg.dataset.flip,
        **look,
    )
    test = TestBatches(images.test_x, images.test_y, **look)

    run.write_config()
    rows = _resume(run, net, method, optimizer)
    first, per_epoch = len(rows), len(batches) * cfg.train.batch_size
    print(
        f"{run.id}: epochs {first + 1} to {plan.epochs} on {device}"
        if first
        else f"{run.id}: {plan.epochs} epochs on {device}",
        flush=True,
    )
    with Recorder(run, rows) as recorder, Progress(plan.epochs, len(batches), cfg.train.batch_size, first) as progress:
        for epoch in range(first, plan.epochs):
            for group in optimizer.param_groups:
                group["lr"] = plan.lr(epoch)
            started, total = time.perf_counter(), torch.zeros((), device=device)
            net.train()
            for x, y in batches.epoch(epoch):
                x, labels = mix(x, y)
                with machine.autocast(device, cfg.machine.precision):
                    logits, features = forward(x)
                seen = Batch(logits.float(), y, x, features, net)
                loss = sum(weight * method.loss(seen._replace(y=label)) for label, weight in labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()  # stays on the device: nothing waits for it before the epoch ends
                progress.step()
            method.end_epoch()
            mean_loss, trained = float(total) / len(batches), time.perf_counter()
            if not math.isfinite(mean_loss):
                raise FloatingPointError(
                    f"{run.id}: the loss is {mean_loss} in epoch {epoch + 1}; a lower train.lr may help"
                )
            measured = evaluate(net, test, cfg.machine.precision)
            row = {
                "epoch": epoch + 1,
                "lr": plan.lr(epoch),
                "loss": mean_loss,
                **measured,
                "seconds": trained - started,
                "eval_seconds": time.perf_counter() - trained,
                "images_per_second": per_epoch / (trained - started),
            }
            run.save(_state(net, method, optimizer, [*recorder.rows, row]))
            recorder.log(row)
            progress.epoch(row)
        result = _finish(run, recorder, net, method, images.classes, device)
        run.save(_state(net, method, None, recorder.rows))  # a finished run needs its weights, not its momentum
        run.finish(result)
    return result


def _state(net: Network, method: Method, optimizer: torch.optim.Optimizer | None, rows: list[dict]) -> dict:
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    state = {"network": net.state_dict(), "method": method.state_dict(), "random": random, "rows": rows}
    return state | ({"optimizer": optimizer.state_dict()} if optimizer else {})


def _resume(run: Run, net: nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Put everything back as it was after the last finished epoch. Returns the rows until then."""
    state = run.restore()
    if state is None:
        return []
    net.load_state_dict(state["network"])
    method.load_state_dict(state["method"])
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random"]["cuda"])
    return state["rows"]


def _finish(
    run: Run, recorder: Recorder, net: Network, method: Method, classes: list[str], device: torch.device
) -> dict:
    """Save and draw what was learned beside the network; the result, of which nothing is written yet."""
    cfg, rows = run.cfg, recorder.rows
    if (logits := method.q_logits()) is not None:
        about = {key: cfg[key].name for key in ("dataset", "network", "method")}
        q = QMatrix(logits.cpu(), classes, about | {"alpha": str(cfg.method.alpha), "run": run.id})
        save_q(run.folder / "q.safetensors", q)
        draw_q(run.folder / "q.png", q)
        recorder.image("q", run.folder / "q.png")
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
        "parameters": sum(p.numel() for module in (net, method) for p in module.parameters() if p.requires_grad),
        "seconds": seconds + sum(row["eval_seconds"] for row in rows),
        "images_per_second": sum(row["seconds"] * row["images_per_second"] for row in rows) / seconds,
        **machine.record(cfg, device),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    recorder.summary(result)
    return result
