"""Adding a method."""

import os
import shutil
import subprocess
import sys

from paths import ROOT


def test_a_new_method_needs_two_files_only(tmp_path):
    """A copy of the tree gets lls/methods/toy.py and configs/method/toy.yaml. No other file changes."""
    for name in ("lls", "configs", "train.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "configs/method/toy.yaml").write_text("# A toy.\nname: toy\npower: 2.0\n")
    (tmp_path / "lls/methods/toy.py").write_text(
        "import torch.nn.functional as F\n"
        "from lls.methods.base import Batch, Method\n\n\n"
        "class Toy(Method):\n"
        "    def __init__(self, num_classes, power=2.0):\n"
        "        super().__init__()\n"
        "        if power <= 0:\n"
        "            raise ValueError(f'power={power}: must be above 0')\n"
        "        self.power = power\n\n"
        "    def loss(self, batch: Batch):\n"
        "        return F.cross_entropy(batch.logits, batch.y) ** self.power\n"
    )

    wrong = {
        "force": "name: toy\nforce: 1\n",
        "nameless": "power: 2.0\n",
        "misspelt": "name: tou\n",
    }
    teacher = (ROOT / "configs/method/tfkd_self.yaml").read_text().partition("teacher:")[2]
    wrong["taught"] = f"name: toy\npower: 2.0\nteacher:{teacher}"
    for name, text in wrong.items():
        (tmp_path / f"configs/method/{name}.yaml").write_text(text)

    def python(*command):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, *command]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        ).stdout

    assert "done: top-1" in python(
        "train.py", "machine.wandb=disabled", "machine.device=cpu", "method=toy", "train.epochs=1"
    )
    assert len(list(tmp_path.glob("outputs/runs/digits-lenet-toy-*/result.json"))) == 1
    script = (
        "import sys\nfrom lls.config.compose import compose\nfrom lls.errors import UserError\n"
        "from lls.training.build import build_method\n"
        "for line in sys.argv[1:]:\n"
        "    try:\n        build_method(compose(line.split()).method, 10)\n"
        "    except UserError as error:\n        print(error)\n"
    )
    lines = ["method=toy method.power=x", "method=toy method.power=0", *(f"method={name}" for name in wrong)]
    assert python("-c", script, *lines).splitlines() == [
        "method.power=x: must be a number, as 2.0 is",
        "method.power=0: must be above 0",
        "method.force: lls.methods.toy.Toy takes no such argument",
        "method: its yaml in configs/method has no key name",
        "method.name=tou: there is no lls/methods/tou.py",
        "method.teacher: Toy of lls/methods/toy.py has no set_teacher",
    ]
