"""Measure the speed of LLS: python -m benchmarks [loops losses startup images runs] [--rounds N]

loops     an epoch beside the network's bare step, and beside the loops of torchvision and timm
losses    each method's loss beside label smoothing's and beside a training step
startup   seconds until --help is printed, and until the first training step
images    large JPEGs beside torchvision's ImageFolder, one worker each
runs      minutes of the paper's runs, from 200 steps or three seconds each (on a GPU only); --ways compares eager,
          graph and compiled for the runs that have a goal

Without a name, all parts are measured. What is compared takes turns. Medians and quartiles are over the rounds.
Nothing else should run on the machine: a disturbed round is repeated. Ratios are written to outputs/bench and compared
with the recorded ones. The exit status is 1 if a goal is missed.
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
RUN_GOALS = {  # minutes on a GPU
    "fashionmnist / alexnet, three at once": Goal(1),
    "cifar100 / resnet18": Goal(4),
    "tinyimagenet / resnet18": Goal(9),
    "tinyimagenet / resnet101": Goal(50),
}


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
        print(f"\n{title}: a step of LLS {_ms(times, 'ours', case.steps)}  {times.disturbed()}")
        for other, limit in zip(("bare", "torchvision", "timm"), goals[case.network], strict=True):
            ratio = times.ratio(other, "ours")
            record.add(f"{title}: rate over {other}", ratio, Goal(limit, at_least=True))
            print(f"  {other:<12} {_ms(times, other, case.steps)}   the rate of LLS is {ratio}x")
        share = times.ratio("batches", "ours")
        record.add(f"{title}: share of the batches", share, Goal(0.05))
        print(f"  {'batches':<12} {_ms(times, 'batches', case.steps)}   {share} of a step of LLS", flush=True)


def losses(record: Record, rounds: int) -> None:
    from benchmarks.losses import CLASSES, MANY_CLASSES, compare, memory

    steps = step_seconds()
    triton = has_triton(select_device("auto"))  # without the Triton kernels of LLS's loss, goals are lower
    for k in CLASSES:
        times = compare(k, rounds)
        print(f"\nloss, gradients and update, K = {k}, in microseconds:  {times.disturbed()}")
        for name in times.seconds:
            print(f"  {name:<26} {_us(times, name)}   {times.ratio(name, 'ls')} x label smoothing's", flush=True)
        without_update, with_update = (Goal(1.5), Goal(2.5)) if triton and k == 200 else (None, None)
        record.add(f"K={k}: lls without update over ls", times.ratio("lls without update", "ls"), without_update)
        record.add(f"K={k}: lls over ls", times.ratio("lls", "ls"), with_update)
        faster = Goal((2 if k == 10 else 3) if triton else 1, at_least=True)
        record.add(f"K={k}: lls's rate over the pseudo-code's", times.ratio("pseudo-code", "lls"), faster)
        limits = {"lenet": (10, 0.03 if triton else 0.05), "resnet18": (200, 0.005)}
        for network, (num_classes, limit) in limits.items():
            if k == num_classes:
                pairs = zip(times.seconds["lls, in a step"], times.seconds["onehot, in a step"], strict=True)
                share = Spread.of([(a - b) / steps[network] for a, b in pairs])
                record.add(f"K={k}: lls over onehot, share of a step of {network}", share, Goal(limit))
    k, times, (dense, sparse) = MANY_CLASSES, compare(MANY_CLASSES, rounds), memory()
    print(f"\nK = {k:,}, B = 32: ls {_us(times, 'ls')} us, lls_topn {_us(times, 'lls_topn')} us")
    print(f"  parameters, gradients and momentum: lls {dense / 1e6:,.0f} MB, lls_topn {sparse / 1e6:,.1f} MB")
    record.add(f"K={k}: lls_topn over ls", times.ratio("lls_topn", "ls"), Goal(1.5) if triton else None)
    record.add(f"K={k}: memory of lls_topn over lls", Spread.of([sparse / dense]), Goal(0.01))


def step_seconds() -> dict[str, float]:
    """Return the seconds of a bare step of LeNet on FashionMNIST and of ResNet-18 on CIFAR-100, by network."""
    from benchmarks.loops import CASES, bare_steps, random_images, train_batches
    from benchmarks.rounds import alternate
    from lls.config.compose import compose

    device, seconds = select_device("auto"), {}
    set_precision("auto", device)
    keep_memory(device)
    for case in CASES:
        if case.network != "alexnet":
            cfg = compose([f"dataset={case.dataset}", f"network={case.network}", "method=onehot"])
            batch = next(train_batches(cfg, *random_images(cfg, cfg.train.batch_size), device).epoch(0))
            times = alternate({"bare": bare_steps(cfg, batch, case.steps, device)}, 5, synchronizer(device))
            seconds[case.network] = times.of("bare").median / case.steps
    return seconds


def startup(record: Record, rounds: int) -> None:
    from benchmarks.startup import measure

    seconds = measure(min(rounds, 5))
    print("\nstart-up, in seconds")
    for name, limit in (("help", 1.0), ("first step", 8.0), ("import torch", None)):
        record.add(f"seconds: {name}", seconds[name], None if limit is None else Goal(limit))
        print(f"  {name:<14} {seconds[name]}{' of CPU' if name == 'help' else ''}", flush=True)


def images(record: Record, rounds: int) -> None:
    from benchmarks.images import IMAGE_FOLDER, compare

    n = 512
    with tempfile.TemporaryDirectory() as folder:
        measures = compare(Path(folder), n, 1, min(rounds, 7))
    print(f"\n{n} JPEGs of 500x375, one worker  {measures.times.disturbed()}")
    for name in measures.times.seconds:
        rate, ratio = n / measures.times.of(name).median, measures.times.ratio(IMAGE_FOLDER, name)
        print(f"  {name:<46} {rate:7.0f} images/s   {ratio}x   {measures.megabytes[name]:5.0f} MB", flush=True)
        if name != IMAGE_FOLDER:
            goal = Goal(1.0, at_least=True)
            record.add(f"images: {name}, rate over ImageFolder", ratio, goal)


def runs(record: Record, _rounds: int, steps: int = 200, compare_modes: bool = False) -> None:
    """Measure the paper's runs. compare_modes: eager, graph and compiled, for the runs with a goal only."""
    from benchmarks.runs import RUNS, RunTime, measure, measure_concurrent

    if select_device("auto").type != "cuda":
        print("\nruns: needs a GPU")
        return
    print(f"\nthe paper's runs on {torch.cuda.get_device_name()}, LLS, from {steps} steps or more; training alone")
    modes = {
        "eager": ["machine.graph=false", "machine.compile=false"],
        "graph": ["machine.compile=false"],
        "auto": [],
    }

    def report(title: str, time: RunTime, note: str = "") -> None:
        print(f"  {title:<36} {time.step:8.3f} ms   {time.training:7.2f} min   {note}", flush=True)
        record.add(f"minutes: {title}", Spread.of([time.training]), RUN_GOALS.get(title))
        record.write()  # after each run: compiling takes minutes, and a time limit must not cost the measured runs

    time, with_mps = measure_concurrent(RUNS[0], steps, 3)
    report(f"{RUNS[0].title}, three at once", time, f"{'with' if with_mps else 'without'} MPS")
    with_goal = [run for run in RUNS if run is RUNS[0] or run.title in RUN_GOALS]
    for run in [*with_goal, *([] if compare_modes else (run for run in RUNS if run not in with_goal))]:
        for mode in modes if compare_modes else ["auto"]:
            time = measure(run, steps, "lls", *modes[mode])
            note = f"{time.startup:3.0f} s start-up"
            note += f"   roofline {run.roofline}" if run.roofline else ""
            note += f"   the paper {run.paper}" if run.paper else ""
            report(f"{run.title}{'' if mode == 'auto' else f', {mode}'}", time, note)


PARTS = {"loops": loops, "losses": losses, "startup": startup, "images": images, "runs": runs}


def _ms(times: Times, name: str, steps: int) -> str:
    return f"{1000 * times.of(name).median / steps:9.3f} ms"


def _us(times: Times, name: str) -> str:
    return f"{1e6 * times.of(name).median:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200, help="training steps that are timed for each of the runs")
    parser.add_argument("--ways", action="store_true", dest="compare_modes", help="runs: compare eager and graph, too")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "bench", help="folder of the records")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: no such part (there are {', '.join(PARTS)})")
    device = select_device("auto")
    about = environment_info(ComputeSettings("auto", False, False), device)
    path = arguments.output / f"{device.type}.json"
    record = Record(path, commit=commit(), device=about["device"], threads=about["threads"])
    print(f"{about['device']}, {about['threads']} threads, torch {about['versions']['torch']}")
    for name in arguments.parts or PARTS:
        keys = {"steps": arguments.steps, "compare_modes": arguments.compare_modes} if name == "runs" else {}
        PARTS[name](record, arguments.rounds, **keys)
    print("\n" + "\n".join(record.lines()))
    record.write()
    if missed := record.missed():
        print(f"\n{len(missed)} of {len(record.goals)} goals missed: {'; '.join(missed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
