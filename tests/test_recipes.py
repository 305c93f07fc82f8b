"""The recipes of docs/use-the-loss.md train on digits. The code that runs here is the page's own."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from documents import NEW_FILE, RECIPES_PAGE, code_blocks
from paths import ROOT

from lls import LLS, check_q

RECIPES = dict(NEW_FILE.findall(RECIPES_PAGE.read_text()))
TORCHRUN_TIMEOUT_SECONDS = 120

needs_extra = pytest.mark.skipif(
    not (find_spec("transformers") and find_spec("accelerate")),
    reason='transformers and accelerate are not installed (pip install -e ".[recipes]")',
)
compiles = pytest.mark.skipif(
    not shutil.which(os.environ.get("CXX", "g++")) or needs_extra.args[0],
    reason='takes 20 seconds: runs where the extra (pip install -e ".[recipes]") and a C++ compiler are installed',
)
MARKS = {"hf_trainer.py": needs_extra, "compiled.py": compiles}


@pytest.fixture
def run_recipe(tmp_path, monkeypatch, capsys):
    """Return a function that runs a script of the page in this process: name -> (accuracy, change of Q or None)."""
    write_recipes(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name):
        monkeypatch.delitem(sys.modules, "digits", raising=False)  # it sets PyTorch's seed when it is imported
        np.random.seed(0)  # timm's Mixup draws from NumPy
        capsys.readouterr()
        runpy.run_path(name, run_name="__main__")
        return printed_numbers(capsys.readouterr().out)

    return run


def write_recipes(folder):
    for name, code in RECIPES.items():
        (folder / name).write_text(code)


def printed_numbers(output):
    """The accuracy and the change of Q that a recipe prints; the latter is None for a recipe that learns no Q."""
    accuracy, change = re.search(r"accuracy ([\d.]+)%(?:, largest change of Q ([\d.]+))?$", output, re.M).groups()
    return float(accuracy), float(change) if change else None


def test_all_python_blocks_of_the_page_are_files_that_these_tests_run():
    assert list(RECIPES.values()) == code_blocks(RECIPES_PAGE, "python")
    trained = {name for name, code in RECIPES.items() if "LLS(" in code}
    assert trained | {"digits.py", "soft_targets.py"} == set(RECIPES)


def test_the_recipes_hold_out_a_fifth_of_the_digits(tmp_path):
    write_recipes(tmp_path)
    digits = runpy.run_path(str(tmp_path / "digits.py"))
    train, test = ({(*x.flatten().tolist(),) for x in digits[name]} for name in ("train_x", "test_x"))
    assert (len(train), len(test)) == (1437, 360)
    assert not train & test
    assert len(digits["train"]) == 1437


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MARKS.get(name, ()))
        for name, code in RECIPES.items()
        if "LLS(" in code and "torch.distributed" not in code
    ],
)
def test_a_recipe_trains_q_and_reaches_its_accuracy(name, run_recipe):
    accuracy, change = run_recipe(name)
    print(f"{name}: accuracy {accuracy} %, largest change of Q {change}")
    assert accuracy > 90
    assert change > 0.05


def test_a_learned_q_gives_soft_targets_that_reach_their_accuracy(run_recipe):
    run_recipe("plain_loop.py")
    accuracy, _ = run_recipe("soft_targets.py")
    print(f"soft_targets.py: accuracy {accuracy} %")
    assert accuracy > 90


@needs_extra
def test_a_loss_that_only_compute_loss_func_calls_is_not_trained(tmp_path):
    from transformers import Trainer, TrainingArguments

    class Net(torch.nn.Linear):
        def forward(self, x, labels=None):
            return {"logits": super().forward(x)}

    loss = LLS(num_classes=3)
    args = TrainingArguments(str(tmp_path), max_steps=3, save_strategy="no", report_to="none", use_cpu=True)
    data = [{"x": torch.randn(4), "labels": label % 3} for label in range(24)]
    trainer = Trainer(Net(4, 3), args, train_dataset=data, compute_loss_func=lambda out, y, **_: loss(out["logits"], y))
    trainer.train()
    assert loss.q.grad.any()
    assert not loss.q.any()
    with pytest.raises(ValueError, match="does not train q"):
        check_q(loss, trainer.optimizer)


# -- several processes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The results of each of two processes of torchrun. They are started once for all tests, because it takes long."""
    folder = tmp_path_factory.mktemp("torchrun")
    write_recipes(folder)
    outside = RECIPES["ddp.py"]
    for inside, changed in {
        "ddp = DistributedDataParallel(model)": "ddp = DistributedDataParallel(model.net)",
        'ddp(x, y)["loss"].backward()': "model.loss(ddp(x), y).backward()",
        'dist.init_process_group("gloo")': "",  # the worker does both
        "dist.destroy_process_group()": "",
    }.items():
        assert outside.count(inside) == 1
        outside = outside.replace(inside, changed)
    (folder / "loss_outside.py").write_text(outside)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with subprocess.Popen(
        [*torchrun, str(ROOT / "tests" / "distributed_worker.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=TORCHRUN_TIMEOUT_SECONDS)
        finally:
            process.terminate()  # torchrun then ends its processes
    assert process.returncode == 0, output
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_ddp_keeps_one_q_if_it_wraps_network_and_loss(two_processes):
    (first, output), (second, other_output) = (process["ddp"] for process in two_processes)
    for text in (output, other_output):
        accuracy, change = printed_numbers(text)
        print(f"ddp.py: accuracy {accuracy} %, largest change of Q {change}")
        assert accuracy > 90
        assert change > 0.05
    assert torch.equal(first, second)


def test_each_process_of_ddp_has_another_q_if_the_loss_is_outside(two_processes):
    (first, _), (second, _) = (process["loss outside"] for process in two_processes)
    difference = (first - second).abs().max()
    print(f"the loss outside: the two Q differ by up to {difference:.3f}")
    assert difference > 0.01


def test_fsdp_computes_what_the_plain_loop_does_if_it_shards_network_and_loss(two_processes):
    for process in two_processes:
        results = process["fsdp"]
        assert results["local rows"] == 5
        for step in (0, 1):
            for name in ("loss", "gradient", "q"):
                sharded, plain = results[f"{name} {step}"]
                assert plain.any()
                torch.testing.assert_close(sharded, plain, rtol=1e-5, atol=1e-7)


def test_the_loss_of_fsdp_refuses_a_call_outside_the_sharded_module(two_processes):
    for process in two_processes:
        assert process["fsdp"]["error outside"].startswith("q of type DTensor: must be a plain tensor")
