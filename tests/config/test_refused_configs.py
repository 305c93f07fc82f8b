"""Command lines that train.py refuses, with the message of each."""

import os
import re
import subprocess
import sys

import pytest
from paths import ROOT

from lls.cli import check_arguments
from lls.config.assemble import options
from lls.errors import UserError

# Command line -> part of its message. The arguments and the yaml files alone show the error.
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
    # an override that cannot be parsed or has no meaning
    "seed=[": "cannot be read",
    "seed": "cannot be read",
    "~seed": "a key cannot be removed",
    "train=3": "train is a section",
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
    "dataset.name=mine": "dataset.name is fixed by dataset=...",
    "method.name=ls": "method.name is fixed by method=...",
    "network.family=resnet": "network.family is fixed by network=...",
    "dataset=imagefolder dataset.root=???": "dataset.root=???: needs a value",
    "dataset.subset=half": "null, classes or samples",
    "train.clip_norm=0": "above 0, or null",
    "train.nesterov=true train.momentum=0": "needs train.momentum above 0",
    "train.milestones=[true]": "epochs, counted from 1",
    "-cn other": "--config-name: not supported, configurations are read from configs/",
    "--config-dir=/tmp": "--config-dir: not supported, configurations are read from configs/",
    "-m method.alpha=interval(0,1)": "method.alpha=interval(0,1)",
    "-m seed=choice(0,choice(1,2))": "a sweep cannot be inside a value or another sweep",
    "method.terms=[choice(a,b)]": "method.terms=[choice(a,b)]: a sweep cannot be inside a value or another sweep",
    "method=glob(ls*)": "needs -m",
    "-m method=glob(x*)": "no method matches",
    "-m seed=glob(1*)": "glob() is for dataset, network, method, augment only",
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
    "~method": "a key cannot be removed",
    "method=LLS": "did you mean 'lls'",
    "--seed=3": "keys have no dashes: seed=3",
    "-m method.alpha=0.1,2": "method.alpha=2: must be above 0",
    "machine.precision=fp8": "one of auto, fp32, tf32, bf16",
    "machine.compile=perhaps": "auto, true or false",
    "machine.graph=1": "auto, true or false",
    "machine.wandb=on": "one of offline, online, disabled",
    "machine.wandb_tags=mine": "a list of texts",
    "dataset.padding_mode=edge": "one of zeros, reflect",
    "dataset=fashionmnist dataset.geometry=both": "one of matched, paper",
    "dataset.mean=[1,2]": "one number per channel",
    "-m method.alpha=0.1,abc": "method.alpha=abc: must be a number",
    "-m seed=0,1 budget=1,2": "budget=2: must be above 0",
}
# Command line -> part of its message. The method, network, data set or machine shows the error, before images are read.
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
    "method=kd method.teacher.overrides=['dataset.mean=[0.5]']": "method.teacher: dataset.mean=[0.5]: must be [0.306]",
    "method=kd method.teacher.overrides=['dataset=svhn']": "method.teacher: dataset.name=svhn: must be digits",
    "method=lls_st method.teacher.method=onehot train.epochs=1": "method.teacher: onehot learns no Q that it could",
    "augment=mixup augment.alpha=0": "augment.alpha=0",
    "dataset.pretrained=IMAGENET1K_V1": "lenet can only start from random weights; use network.weights=null",
    "network=alexnet dataset.pretrained=IMAGENET1K_V1": "no such weights of alexnet; use a file or one of: none",
    "dataset=imagefolder": "needs dataset.root=FOLDER",
    "dataset=imagefolder dataset.root=nowhere": "nowhere is no image folder",
    "dataset=cifar10 machine.data=nowhere/at/all": "put nowhere/at/all/cifar-10-python.tar.gz there",
}


@pytest.mark.parametrize("line", REFUSED)
def test_the_arguments_alone_are_refused(line):
    with pytest.raises(UserError) as error:
        check_arguments(line.split())
    assert REFUSED[line] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", [*REFUSED, *REFUSED_LATER])
def test_a_refused_command_prints_one_line_and_exits_with_status_2(line, train_py, tmp_path):
    data = tmp_path / "data"
    flags = [word for word in line.split() if "=" not in word and word[0] == "-" and line.startswith(word)]
    overrides = line.split()[len(flags) :]
    status, out, error = train_py(*flags, f"machine.output={tmp_path}", f"machine.data={data}", *overrides)
    assert status == 2
    assert re.fullmatch(r"error: [^\n]+\n", error)
    assert (REFUSED | REFUSED_LATER)[line] in error
    assert "Traceback" not in out + error
    assert not list(tmp_path.glob("runs/*"))
    if "method.q" not in line:  # a Q file is checked against the class names, which come with the images
        assert not data.exists()  # reading images writes a cache


@pytest.mark.parametrize("line", [["--help"], ["--shell-completion", "query=bash"], ["seed=1.5"]])
def test_help_completion_and_errors_do_not_import_torch(line):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', *{line}]\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "COMP_LINE": "python train.py method=ls", "COMP_POINT": "24"}
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    if line == ["--help"]:
        assert f"method: {', '.join(options('method')[:4])}," in process.stdout


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="there is a cuda device")
def test_a_missing_cuda_device_is_refused(train_py, overrides):
    status, _, error = train_py(*overrides, "machine.device=cuda")
    assert status == 2
    assert "machine.device=cuda: PyTorch sees no such device here" in error


def test_a_bad_combination_in_a_sweep_is_refused_when_its_run_starts(train_py, overrides):
    line = ("-m", "train.epochs=1", "dataset.padding_mode=zeros,reflect", "dataset.crop_padding=2,40", *overrides)
    status, out, error = train_py(*line)
    assert status == 2
    assert error == "error: dataset.crop_padding=40: reflection needs less than dataset.size=32\n"
    assert out.count("done: top-1") == 3


def test_a_glob_trains_each_option_that_matches(train_py, overrides):
    status, out, _ = train_py("-m", "train.epochs=1", "method=glob([l*s,one*],exclude=lls)", *overrides)
    assert status == 0
    assert re.findall(r"digits-\w+-(\w+)-s0-\w+: 1 epoch on", out) == ["ls", "onehot"]
