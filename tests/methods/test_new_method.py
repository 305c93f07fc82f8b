"""Adding a method: the example of docs/add-a-method.md, in a copy of the code."""

import os
import shutil
import subprocess
import sys

from documents import NEW_FILE
from paths import ROOT

SCRIPT = """
import sys
from lls.config.compose import compose
from lls.errors import UserError
from lls.training.build import build_method

for line in sys.argv[1:]:
    try:
        build_method(compose(line.split()).method, 10)
    except UserError as error:
        print(error)
"""


def test_the_example_of_the_documentation_needs_its_two_files_only(tmp_path, overrides):
    """It trains, and mistakes in its yaml are refused in one line each."""
    copy = tmp_path / "copy"
    for folder in ("lls", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", copy)
    files = dict(NEW_FILE.findall((ROOT / "docs" / "add-a-method.md").read_text()))
    assert set(files) == {"lls/methods/brier.py", "configs/method/brier.yaml"}
    for path, text in files.items():
        (copy / path).write_text(text)
    teacher = (ROOT / "configs/method/tfkd_self.yaml").read_text().partition("teacher:")[2]
    wrong = {
        "unknown_key": "name: brier\nforce: 1\n",
        "nameless": "scale: 1.0\n",
        "misspelt": "name: brer\n",
        "taught": f"name: brier\nscale: 1.0\nteacher:{teacher}",
    }
    for name, text in wrong.items():
        (copy / f"configs/method/{name}.yaml").write_text(text)

    def python(*command):
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        command = [sys.executable, *command]
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120)

    trained = python("train.py", "method=brier", "train.epochs=1", *overrides)
    assert trained.returncode == 0, trained.stderr
    assert "done: top-1" in trained.stdout
    assert len(list(tmp_path.glob("runs/digits-lenet-brier-*/result.json"))) == 1
    lines = ["method=brier method.scale=x", "method=brier method.scale=0", *(f"method={name}" for name in wrong)]
    assert python("-c", SCRIPT, *lines).stdout.splitlines() == [
        "method.scale=x: must be a number, like the default 1.0",
        "method.scale=0: must be above 0",
        "method.force: lls.methods.brier.Brier takes no such argument; remove the key",
        "method: its yaml in configs/method has no key `name`; add it",
        "method.name=brer: there is no lls/methods/brer.py",
        "method.teacher: Brier of lls/methods/brier.py has no set_teacher",
    ]
