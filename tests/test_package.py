"""The package that `pip install .` builds: the losses and the file format of Q need PyTorch, NumPy and safetensors."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

from lls.runs.find import tracked_files

DEPENDENCIES = {"torch", "numpy", "safetensors"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the tree, built without the network."""
    (builder,) = map(Requirement, PYPROJECT["build-system"]["requires"])
    try:
        installed = version(builder.name)
    except PackageNotFoundError:
        installed = "none"
    if installed == "none" or installed not in builder.specifier:
        pytest.skip(f"building the package needs {builder}; installed: {installed}")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "lls", folder / "lls", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('.')"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_all_files_of_the_package_and_depends_on_three_packages(wheel):
    files = set(wheel.namelist())
    tracked = {name for name in tracked_files() if name.startswith("lls/") and (ROOT / name).exists()}
    assert {"lls/py.typed", "lls/paper/report/page.html", "lls/data/download/lists/cub200.txt"} <= files
    assert tracked <= files
    assert {name.partition("/")[0].partition("-")[0] for name in files} == {"lls"}
    (metadata,) = [name for name in files if name.endswith(".dist-info/METADATA")]
    requires = map(Requirement, message_from_string(wheel.read(metadata).decode()).get_all("Requires-Dist"))
    assert {requirement.name for requirement in requires if not requirement.marker} == DEPENDENCIES


def test_an_installation_has_working_losses_without_the_packages_of_the_experiments(wheel, tmp_path):
    wheel.extractall(tmp_path)
    needed = closure(DEPENDENCIES) | {"lls"}
    modules = packages_distributions().items()
    missing = [module for module, names in modules if not needed & {*map(canonicalize_name, names)}]
    assert {"hydra", "omegaconf", "torchvision", "matplotlib", "wandb", "scipy"} <= set(missing)
    unset = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # pip compiles what it installs
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-P", str(ROOT / "tests" / "losses_alone.py"), str(tmp_path), *missing]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) < 0.1  # seconds of `from lls import LLS` after `import torch`; 0.02 on one core


def closure(names):
    """Return the installed packages that the named ones need, themselves included."""
    queue, needed = [*map(Requirement, names)], set()
    for requirement in queue:
        name = canonicalize_name(requirement.name)
        if name not in needed:
            needed.add(name)
            requires = [Requirement(text) for text in distribution(name).requires or []]
            extras = requirement.extras or {""}
            queue += [r for r in requires if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return needed
