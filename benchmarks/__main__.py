"""Measure how fast this is: python -m benchmarks [loops losses startup images runs] [--rounds N]

loops     an epoch beside the network's bare step, and beside torchvision's and timm's loops
losses    each method's loss beside label smoothing's and beside a training step
startup   seconds until --help is there, and until the first training step
images    large JPEGs beside torchvision's ImageFolder, one worker each
runs      the paper's runs in minutes, from 200 steps or three seconds each (on a GPU only); --ways compares eager,
          graph and compiled for those with a goal, and only those

Without a name, all of them. What is compared takes turns; medians and quartiles are of the rounds. Nothing else should
run: a disturbed round is repeated. Ratios are kept in outputs/bench, and compared with those kept there.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.record import Goal, Record
from benchmarks.rounds import Spread, Times
from lls.device import (
    ComputeSettings,
    environment_info,
    has_triton,
    keep_memory,
    select_device,
    set_precision,
    synchronizer,
)
from lls.runs.provenance import commit

ROOT = Path(__file__).resolve().parent.parent


def loops(record: Record, rounds: int) -> None:
    from benchmarks.loops import CASES, compare

    goals = {
        "lenet": (0.93, 3.3, 3.3),
        "alexnet": (0.97, 1.1, 1.1),
        "resnet18": (0.97, 1.3, 1.3),
    }
    for case in CASES:
        times = compare(case, rounds)
        title = f"{case.network} on {case.dataset}"
        print(f"\n{title}: a step of ours {_ms(times, 'ours', case.steps)}  {times.disturbed()}")
        for other, limit in zip(("bare", "torchvision", "timm"), goals[case.network], strict=True):
            record.add(f"{title}: rate over {other}", times.ratio(other, "ours"), Goal(limit, at_least=True))
            print(f"  {other:<12} {_ms(times, other, case.steps)}   ours {times.ratio(other, 'ours')}x its rate")
        record.add(f"{title}: share of the batches", times.ratio("batches", "ours"), Goal(0.05))
        print(
            f"  the batches  {_ms(times, 'batches', case.steps)}   {times.ratio('batches', 'ours')} of ours", flush=True
        )


def losses(record: Record, rounds: int) -> None:
    from benchmarks.losses import CLASSES, MANY, compare, memory

    steps = step_seconds()
    fused = has_triton(select_device("auto"))  # where LLS's loss has no kernels of its own, its goals are lower
    for k in CLASSES:
        times = compare(k, rounds)
        print(f"\nloss, gradients and update, K = {k}, in microseconds:  {times.disturbed()}")
        for name in times.seconds:
            print(f"  {name:<26} {_us(times, name)}   {times.ratio(name, 'ls')} x label smoothing's", flush=True)
        without_update, with_update = (Goal(1.5), Goal(2.5)) if fused and k == 200 else (None, None)
        record.add(f"K={k}: lls without update over ls", times.ratio("lls without update", "ls"), without_update)
        record.add(f"K={k}: lls over ls", times.ratio("lls", "ls"), with_update)
        faster = Goal((2 if k == 10 else 3) if fused else 1, at_least=True)
        record.add(f"K={k}: lls's rate over the pseudo-code's", times.ratio("pseudo-code", "lls"), faster)
        for network, (of_classes, limit) in {"lenet": (10, 0.03 if fused else 0.05), "resnet18": (200, 0.005)}.items():
            if k == of_classes:
                pairs = zip(times.seconds["lls, in a step"], times.seconds["onehot, in a step"], strict=True)
                share = Spread.of([(a - b) / steps[network] for a, b in pairs])
                record.add(f"K={k}: lls over onehot, share of a step of {network}", share, Goal(limit))
    times, (dense, sparse) = compare(MANY, rounds), memory()
    print(f"\nK = {MANY:,}, B = 32: ls {_us(times, 'ls')} us, lls_topn {_us(times, 'lls_topn')} us")
    print(f"  learned, with gradient and momentum: {dense / 1e6:,.0f} MB by lls, {sparse / 1e6:,.1f} MB by lls_topn")
    record.add(f"K={MANY}: lls_topn over ls", times.ratio("lls_topn", "ls"), Goal(1.5) if fused else None)
    record.add(f"K={MANY}: memory of lls_topn over lls", Spread.of([sparse / dense]), Goal(0.01))


def step_seconds() -> dict[str, float]:
    """Of a bare step of LeNet on FashionMNIST and of ResNet-18 on CIFAR-100."""
    from benchmarks.loops import CASES, bare, pixels, train_batches
    from benchmarks.rounds import alternate
    from lls.config.compose import compose

    device, found = select_device("auto"), {}
    set_precision("auto", device)
    keep_memory(device)
    for case in CASES:
        if case.network != "alexnet":
            cfg = compose([f"dataset={case.dataset}", f"network={case.network}", "method=onehot"])
            batch = next(train_batches(cfg, *pixels(cfg, cfg.train.batch_size), device).epoch(0))
            times = alternate({"bare": bare(cfg, batch, case.steps, device)}, 5, synchronizer(device))
            found[case.network] = times.of("bare").median / case.steps
    return found


def startup(record: Record, rounds: int) -> None:
    from benchmarks.startup import measure

    taken = measure(min(rounds, 5))
    print("\nstart-up, in seconds")
    for name, limit in (("help", 1.0), ("first step", 8.0), ("import torch", None)):
        record.add(f"seconds: {name}", taken[name], None if limit is None else Goal(limit))
        print(f"  {name:<14} {taken[name]}{' of CPU' if name == 'help' else ''}", flush=True)


def images(record: Record, rounds: int) -> None:
    from benchmarks.images import FOLDER, compare

    n = 512
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), n, 1, min(rounds, 7))
    print(f"\n{n} JPEGs of 500x375, one worker  {found.times.disturbed()}")
    for name in found.times.seconds:
        rate, ratio = n / found.times.of(name).median, found.times.ratio(FOLDER, name)
        print(f"  {name:<46} {rate:7.0f} images/s   {ratio}x   {found.megabytes[name]:5.0f} MB", flush=True)
        if name != FOLDER:
            goal = Goal(1.0, at_least=True)
            record.add(f"images: {name}, rate over ImageFolder", ratio, goal)


def runs(record: Record, _rounds: int, steps: int = 200, ways: bool = False) -> None:
    from benchmarks.runs import RUNS, Minutes, at_once, measure

    if select_device("auto").type != "cuda":
        print("\nruns: needs a GPU")
        return
    print(f"\nthe paper's runs on {torch.cuda.get_device_name()}, LLS, from {steps} steps or more; training alone")
    compared = {
        "eager": ["machine.graph=false", "machine.compile=false"],
        "graph": ["machine.compile=false"],
        "auto": [],
    }

    def say(title: str, found: Minutes, beside: str = "") -> None:
        print(f"  {title:<36} {found.step:8.3f} ms   {found.training:7.2f} min   {beside}", flush=True)
        record.add(f"minutes: {title}", Spread.of([found.training]), GOALS.get(title))
        record.write()  # compiling all of them takes minutes: what was measured outlives a time limit

    together, under_mps = at_once(RUNS[0], steps, 3)
    say(f"{RUNS[0].dataset} / {RUNS[0].network}, three at once", together, f"{'with' if under_mps else 'without'} MPS")
    with_goal = [run for run in RUNS if run is RUNS[0] or f"{run.dataset} / {run.network}" in GOALS]
    for run in [*with_goal, *([] if ways else (run for run in RUNS if run not in with_goal))]:
        for name in compared if ways else ["auto"]:
            found = measure(run, steps, "lls", *compared[name])
            beside = f"{found.begin:3.0f} s to begin"
            beside += f"   floor {run.floor}" if run.floor else ""
            beside += f"   the paper {run.paper}" if run.paper else ""
            say(f"{run.dataset} / {run.network}{'' if name == 'auto' else f', {name}'}", found, beside)


GOALS = {
    "fashionmnist / alexnet, three at once": Goal(1),
    "cifar100 / resnet18": Goal(4),
    "tinyimagenet / resnet18": Goal(9),
    "tinyimagenet / resnet101": Goal(50),
}
PARTS = {"loops": loops, "losses": losses, "startup": startup, "images": images, "runs": runs}


def _ms(times: Times, name: str, steps: int) -> str:
    return f"{1000 * times.of(name).median / steps:9.3f} ms"


def _us(times: Times, name: str) -> str:
    return f"{1e6 * times.of(name).median:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200, help="of each of the paper's runs")
    parser.add_argument("--ways", action="store_true", help="runs: eager and graph too")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "bench", help="where ratios are kept")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: no such part (there are {', '.join(PARTS)})")
    device = select_device("auto")
    about = environment_info(ComputeSettings("auto", False, False), device)
    kept = {"commit": commit(), "device": about["device"], "threads": about["threads"]}
    record = Record(arguments.output / f"{device.type}.json", **kept)
    print(f"{about['device']}, {about['threads']} threads, torch {about['versions']['torch']}")
    for name in arguments.parts or PARTS:
        keys = {"steps": arguments.steps, "ways": arguments.ways} if name == "runs" else {}
        PARTS[name](record, arguments.rounds, **keys)
    print("\n" + "\n".join(record.lines()))
    record.write()
    if missed := record.missed():
        print(f"\n{len(missed)} of {len(record.goals)} goals missed: {'; '.join(missed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
