"""Configurations: what each option composes to, what is refused and how, and what makes two runs the same run."""

import os
import re
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from lls.cli import check_arguments
from lls.config.assemble import CONFIGS, GROUPS, options
from lls.config.compose import compose
from lls.errors import UserError
from lls.runs.run import identity
from lls.training.build import build_augmentation, build_method, build_network

EVERY = [(group, option) for group in GROUPS for option in options(group)]


@pytest.mark.parametrize(("group", "option"), EVERY)
def test_every_option_composes_and_builds(group, option):
    cfg = compose([f"{group}={option}", *(["network.model=resnet10t"] if option == "timm" else [])])
    assert option.startswith(cfg[group].name)  # variants are called <name>_<for what>
    k = cfg.dataset.num_classes or 5
    net = build_network(cfg.network, k, cfg.dataset.channels, cfg.dataset.size)
    assert net.classifier.out_features == k
    build_method(cfg.method, k), build_augmentation(cfg.augment)


@pytest.mark.parametrize(("group", "option"), EVERY)
def test_every_option_opens_with_what_it_is(group, option):
    first = next(
        line for line in (CONFIGS / group / f"{option}.yaml").read_text().splitlines() if "@package" not in line
    )
    assert first.startswith("# ")


def test_defaults():
    cfg = compose()
    assert (cfg.dataset.name, cfg.method.name, cfg.network.name) == ("digits", "lls", "lenet")
    assert (cfg.seed, cfg.budget, cfg.machine.wandb, cfg.machine.device) == (0, 1.0, "offline", "auto")


@pytest.mark.parametrize(
    ("dataset", "network"),
    [
        *(("digits", "lenet"), ("svhn", "lenet"), ("fashionmnist", "alexnet"), ("cifar10", "alexnet")),
        *(("cifar100", "resnet18"), ("imagefolder", "resnet18")),
    ],
)
def test_each_dataset_names_its_network(dataset, network):
    assert compose([f"dataset={dataset}"]).network.name == network
    assert compose(["network=resnet34", f"dataset={dataset}"]).network.name == "resnet34"


# epochs, batch size, lr, weight decay, milestones, warm-up; image size, padding, flip (Appendix I)
APPENDIX_I = {
    "fashionmnist": (200, 128, 0.1, 1e-4, [100, 150], 5, 32, 0, False),
    "cifar10": (300, 128, 0.1, 5e-4, [150, 225], 10, 32, 4, True),
    "cifar100": (300, 128, 0.1, 5e-4, [150, 225], 10, 32, 4, True),
    "svhn": (200, 128, 0.1, 1e-4, [100, 150], 5, 32, 0, False),
}


@pytest.mark.parametrize("dataset", APPENDIX_I)
def test_schedules_of_appendix_i(dataset):
    cfg = compose([f"dataset={dataset}"])
    train, data = cfg.train, cfg.dataset
    got = (train.epochs, train.batch_size, train.lr, train.weight_decay, list(train.milestones), train.warmup)
    assert (*got, data.size, data.crop_padding, data.flip) == APPENDIX_I[dataset]
    assert (train.momentum, train.nesterov, train.lr_decay) == (0.9, False, 0.1)


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED = {
    # a misspelt key, group, option or flag
    "train.epoch=3": "did you mean 'train.epochs'",
    "alpha=0.2": "did you mean 'method.alpha'",
    "netwrk=lenet": "did you mean 'network'",
    "method=llss": "did you mean 'lls'",
    "dataset=cifar1000": "did you mean 'cifar100'",
    "--multirn": "did you mean '--multirun'",
    "seed=0 -m budget=1": "flags such as -m go before all overrides",
    "method=onehot method.alpha=0.1": "no such key: method.alpha; method has: name",
    "+unknown=1": "no such key: unknown",
    "+method.alphaa=0.1": "did you mean 'method.alpha'",
    "machine.devices=cpu": "did you mean 'machine.device'",
    # what cannot be read, or has no meaning
    "seed=[": "cannot be read",
    "seed": "cannot be read",
    "~seed": "nothing can be taken away",
    "train=3": "train has keys of its own",
    "+train={epoch:3}": "train.epoch",
    "seed=0,1": "needs -m",
    # a wrong type
    "seed=1.5": "seed=1.5: must be a whole number",
    "seed=true": "must be a whole number",
    "seed=99999999999999999999": "below 2^63",
    "machine.output=null": "machine.output=null: must be text",
    "machine.data=1": "machine.data=1: must be text",
    "dataset.mean=[a]": "dataset.mean=['a']: must be numbers",
    "dataset.std=[0]": "numbers above 0",
    "dataset.name=mine": "dataset.name is decided by dataset=...",
    "method.name=ls": "method.name is decided by method=...",
    "network.family=resnet": "network.family is decided by network=...",
    "dataset=imagefolder dataset.root=???": "dataset.root=???: needs a value",
    "dataset.subset=half": "null, classes or samples",
    "train.clip_norm=0": "above 0, or null",
    "train.nesterov=true train.momentum=0": "needs train.momentum above 0",
    "train.milestones=[true]": "epochs, counted from 1",
    "-cn other": "--config-name: the configurations are those in configs/",
    "--config-dir=/tmp": "--config-dir: the configurations are those in configs/",
    "-m method.alpha=interval(0,1)": "method.alpha=interval(0,1)",
    "seed=null": "must be a whole number",
    "method.alpha=abc": "method.alpha=abc: must be a number",
    "dataset.flip=1": "must be true or false",
    "train.milestones=10": "must be a list",
    # a value out of range
    "budget=0": "budget=0: must be above 0 and at most 1",
    "budget=1.01": "must be above 0 and at most 1",
    "budget=nan": "must be above 0 and at most 1",
    "train.epochs=0": "must be 1 or more",
    "train.batch_size=0": "must be 1 or more",
    "train.lr=0": "must be above 0",
    "train.lr=inf": "must be above 0",
    "train.milestones=[0]": "epochs, counted from 1",
    "train.momentum=1": "below 1",
    "train.weight_decay=-1": "0 or more",
    "seed=-1": "0 or more",
    "machine.device=cudaa": "one of auto, cuda, cuda:N, mps, cpu",
    "machine.device=null": "must be text",
    "~method": "nothing can be taken away",
    "method=LLS": "did you mean 'lls'",
    "--seed=3": "keys have no dashes: seed=3",
    "-m method.alpha=0.1,2": "method.alpha=2: must be above 0",
    "machine.precision=fp8": "one of auto, fp32, tf32, bf16",
    "machine.compile=perhaps": "auto, true or false",
    "machine.graph=1": "auto, true or false",
    "machine.wandb=on": "one of offline, online, disabled",
    "dataset.padding_mode=edge": "one of zeros, reflect",
    "dataset=fashionmnist dataset.geometry=both": "one of matched, paper",
    "dataset.mean=[1,2]": "one number a channel",
    "-m method.alpha=0.1,abc": "method.alpha=abc: must be a number",
    "-m seed=0,1 budget=1,2": "budget=2: must be above 0",
}
# what only the method, the network, the data or the machine can tell: known before any image is read
REFUSED_LATER = {
    "method.alpha=0": "method.alpha=0: must be above 0 and at most 1",
    "method.alpha=1.5": "method.alpha=1.5",
    "method=ls method.alpha=-0.1": "method.alpha=-0.1",
    "method.scale=0": "method.scale=0",
    "method.terms=nothing": "method.terms=nothing: must be a row of Table 4",
    "dataset.size=64": "LeNet takes images of 32x32, not 64x64",
    "network=alexnet dataset.size=28": "AlexNet takes images of 32x32, not 28x28",
    "network=resnet18 dataset.size=4": "at least 8x8",
    "network=resnet18 network.pool=3x3": "network.pool=3x3",
    "network=resnet18 network.depth=20": "network.depth=20",
    "method.terms=[true,1,1,1]": "four numbers",
    "machine.output=/dev/null": "machine.output=/dev/null: ",
    "dataset=cifar10 dataset.num_classes=20": "dataset.num_classes=20: cifar10 has 10 classes",
    "method=focal method.gamma=-1": "method.gamma=-1",
    "method=focal method.reduction=max": "method.reduction=max: must be one of mean, sum",
    "method=tfkd_reg method.temperature=0": "method.temperature=0",
    "method=tfkd_reg method.multiplier=abc": "method.multiplier=abc",
    "method=ols method.weights=[1]": "two numbers of 0 or more",
    "method=ols method.cap=2": "method.cap=2",
    "method=zipf method.upsample=2": "method.upsample=2: must be text",
    "method=zipf network=resnet18 dataset.size=64": "method.dense=true: ranking by location needs a globally pooled",
    "method=lls_topn method.n=0": "method.n=0: must be 1 or more",
    "method=kd method.beta=3": "method.beta=3",
    "method=kd method.teacher.method=llss": "method.teacher: method=llss: no such method; did you mean 'lls'",
    "method=kd method.teacher.overrides=['method.alpha=2'] method.teacher.method=lls": "method.teacher: method.alpha=2",
    "method=lls_st method.q=nowhere.safetensors": "nowhere.safetensors can't be read as a Q matrix",
    "method=lls_st method.q=5": "method.q: 5 can't be read as a Q matrix",
    "method=kd method.teacher.overrides=['dataset.mean=[0.5]']": "method.teacher: dataset.mean=[0.5]: it is shown its",
    "method=kd method.teacher.overrides=['dataset=svhn']": "method.teacher: dataset.name=svhn: it is shown its",
    "method=lls_st method.teacher.method=onehot train.epochs=1": "method.teacher: onehot learns no Q that it could",
    "augment=mixup augment.alpha=0": "augment.alpha=0",
    "dataset.pretrained=IMAGENET1K_V1": "network.weights=IMAGENET1K_V1: lenet starts from random weights only",
    "network=alexnet dataset.pretrained=IMAGENET1K_V1": "no name of weights of alexnet (there are: none)",
    "dataset=imagefolder": "needs dataset.root=FOLDER",
    "dataset=imagefolder dataset.root=nowhere": "nowhere is no image folder",
    "dataset=cifar10 machine.data=nowhere/at/all": "put nowhere/at/all/cifar-10-python.tar.gz there",
}


@pytest.mark.parametrize("line", REFUSED)
def test_refused_from_the_arguments_alone(line):
    with pytest.raises(UserError) as refused:
        check_arguments(line.split())
    assert REFUSED[line] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", [*REFUSED, *REFUSED_LATER])
def test_refused_in_one_line_with_status_2(line, train_py, monkeypatch, tmp_path):
    """The command line itself, in this process: one line, status 2, and nothing read or left behind."""
    if "method.q" not in line:  # whether a Q file fits is known when the classes' names are
        monkeypatch.setattr("lls.training.loop.make_loaders", lambda *_: pytest.fail("images were read"))
    flags = [word for word in line.split() if "=" not in word and word[0] == "-" and line.startswith(word)]
    rest = line.split()[len(flags) :]
    status, out, error = train_py(*flags, f"machine.output={tmp_path}", *rest)
    assert status == 2
    assert re.fullmatch(r"error: [^\n]+\n", error)
    assert (REFUSED | REFUSED_LATER)[line] in error
    assert "Traceback" not in out + error
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("line", [["--help"], ["--shell-completion", "query=bash"], ["seed=1.5"]])
def test_help_completion_and_refusals_do_not_wait_for_torch(line):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', *{line}]\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "COMP_LINE": "python train.py method=ls", "COMP_POINT": "24"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=CONFIGS.parent, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    if line == ["--help"]:
        assert f"method: {', '.join(options('method')[:4])}," in ran.stdout


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="there is a cuda device")
def test_cuda_where_there_is_none(train_py, overrides):
    status, _, error = train_py(*overrides, "machine.device=cuda")
    assert status == 2
    assert "machine.device=cuda: PyTorch sees no such device here" in error


def test_a_combination_of_a_sweep_is_refused_when_its_run_comes(train_py, overrides):
    line = ("-m", "train.epochs=1", "dataset.padding_mode=zeros,reflect", "dataset.crop_padding=2,40", *overrides)
    status, out, error = train_py(*line)
    assert status == 2
    assert error == "error: dataset.crop_padding=40: reflection needs less than dataset.size=32\n"
    assert out.count("done: top-1") == 3


# -- identity ----------------------------------------------------------------------------------------------------------


def test_identity_is_readable():
    name = identity(compose(["dataset=cifar100", "method=ls", "seed=3"]))
    assert re.fullmatch(r"cifar100-resnet18-ls-s3-[0-9a-f]{8}", name)


@pytest.mark.parametrize("same", ["machine.device=cpu", "machine.precision=bf16", "machine.output=x", "budget=1"])
def test_how_a_run_is_computed_is_no_part_of_its_identity(same):
    assert identity(compose([same])) == identity(compose())


@pytest.mark.parametrize("other", ["method.alpha=0.2", "budget=0.5", "train.lr=0.1", "method.terms=no_fce", "seed=1"])
def test_what_is_computed_is(other):
    assert identity(compose([other])) != identity(compose())


def test_keys_without_a_value_and_their_order_leave_the_identity():
    cfg = compose()
    plain = OmegaConf.to_container(cfg)
    shuffled = {key: plain[key] for key in reversed(plain)}
    shuffled["method"] = {"later": None, **shuffled["method"]}
    assert identity(OmegaConf.create(shuffled)) == identity(cfg)


def test_one_folder_is_one_data_set_however_its_path_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    roots = (tmp_path / "mine", "mine", "./mine/", "other/../mine")
    assert len({identity(compose(["dataset=imagefolder", f"dataset.root={root}"])) for root in roots}) == 1
    assert identity(compose(["dataset=imagefolder", "dataset.root=yours"])) != identity(
        compose(["dataset=imagefolder", "dataset.root=mine"])
    )


def test_identity_does_not_drift():
    """Results lie in git under these names: a change here orphans them."""
    assert identity(compose(["dataset=cifar100", "method=lls"])) == "cifar100-resnet18-lls-s0-4c8de7dd"
