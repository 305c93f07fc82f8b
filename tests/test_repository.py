"""What the repository promises of itself: its Makefile, its README, and the size of its files."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from results import write_result

import lls
from lls.cli import check_arguments
from lls.config.compose import compose
from lls.errors import run_script
from lls.paper.results import differences, results_markdown
from lls.runs.find import all_runs, tracked_files, tracked_ids
from lls.runs.run import Run, identity

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-zN-]+) +\S", listed, re.M)) == targets
    assert targets >= set(re.findall(r"\bmake ([a-z]+)\b(?= {2,}|`|,)", README))


def test_ci_runs_the_readmes_test_command():
    assert "    make test " in README
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_from_the_parent_of_a_clone_called_lls_the_package_is_found(tmp_path):
    """As installed by pip install -e: the folder is no package, and would be taken for a namespace."""
    (tmp_path / "lls").mkdir()
    command = [sys.executable, "-c", "import lls; print(lls.__version__)"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout == f"{lls.__version__}\n"


@pytest.mark.parametrize("line", re.findall(r"python train.py ([^#`\n]*)", README))
def test_the_readmes_commands_compose(line):
    if "--help" not in line and "-sc" not in line:
        check_arguments(line.split())


def test_the_readmes_file_map_is_whole_and_its_links_exist():
    tree = README.split("## Where things are")[1].split("\n**")[0]
    named = set(re.findall(r"\b(?:lls/\w+(?:\.py|/)|(?<=^ {4})[a-z]+(?:\.py|/))", tree, re.M))
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("lls/*/__init__.py")}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("lls/*.py")} - {"lls/__init__.py"}
    top = {"train.py", "configs/", "benchmarks/", "scripts/", "data/", "outputs/", "tests/"}
    assert named == packages | modules | top
    assert not {path.name for path in ROOT.glob("scripts/*.py")} - set(re.findall(r"\w+\.py", tree))
    linked = ["".join(pair) for pair in re.findall(r"\]\(([^)h#][^)]*)\)|src=\"([^\"]+)\"", README)]
    assert not [name for name in linked if not (ROOT / name).exists()]


def test_what_texts_name_exists():
    """Every path and every dotted name of the package in code, configurations and documents."""
    folders = ("lls", "benchmarks", "scripts", "configs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    missing = []
    for file in [*files, *(ROOT / name for name in ("train.py", "README.md", "data/README.md"))]:
        text = file.read_text()
        for path in re.findall(r"(?<![\w./-])(?:lls|benchmarks|scripts)/[\w/]+(?:\.py\b)?", text):
            if "NAME" not in path and not (ROOT / path).exists():
                missing.append((file.name, path))
        for name in re.findall(r"(?<![\w./-])(?!lls\.yaml)(?:lls|benchmarks)(?:\.[a-zA-Z]\w*)+", text):
            if not exists(name):
                missing.append((file.name, name))
    assert not missing


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the tree, or what follows the module is a word in its file."""
    place, parts = ROOT, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / f"{parts.pop(0)}.py" if parts and (place / f"{parts[0]}.py").exists() else place / "__init__.py"
    return not parts or re.search(rf"\b{parts[0]}\b", module.read_text()) is not None


def test_the_readmes_results_are_those_of_the_tracked_runs():
    """python scripts/runs.py --readme writes them."""
    script = runpy.run_path(str(ROOT / "scripts" / "runs.py"))
    runs = [run for run in all_runs(ROOT / "outputs") if run.id in tracked_ids()]
    assert runs
    assert script["with_results"](README, runs) == README


def test_tracked_runs_keep_their_ids():
    """Composed again from today's yaml files, and from the configuration that lies in the run's folder."""
    for run in [run for run in all_runs(ROOT / "outputs") if run.id in tracked_ids()]:
        cfg = run.cfg
        choices = [f"{group}={cfg[group].name}" for group in ("dataset", "network", "method", "augment")]
        again = compose([*choices, f"seed={cfg.seed}", f"budget={cfg.budget}", *differences(cfg)])
        assert identity(again) == identity(cfg) == run.folder.name


def test_results_of_seeds_are_one_row_and_keys_of_ones_own_are_named(overrides):
    runs = [Run(compose([*overrides, f"seed={seed}", "method.alpha=0.3", "train.epochs=7"])) for seed in (0, 1)]
    for run, top1 in zip(runs, (90.0, 92.0), strict=True):
        result = {"epochs": 7, "top1": top1, "top1_best": 93, "nll": 0.5, "ece": 0.02}
        result |= {"images_per_second": 1234, "seconds": 2.4, "device": "cpu"}
        write_result(run, result)
    (row,) = results_markdown(runs).splitlines()[2:]
    assert row == (
        "| digits | lenet | lls method.alpha=0.3 train.epochs=7 | 1 | 7 | 91.00 ± 1.41 (n=2) | 93.00 ± 0.00 "
        "| 0.5000 ± 0.0000 | 2.00 ± 0.00 | 1,234 | 2 | cpu |"
    )


def test_a_run_whose_method_is_no_more_is_listed_all_the_same(overrides):
    run = Run(compose([*overrides, "method.alpha=0.3"]))
    assert differences(run.cfg) == ["method.alpha=0.3"]
    run.cfg.method.name = "of_yesterday"
    assert differences(run.cfg) == []


def test_requirements_are_pinned_and_within_the_packages_ranges():
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in "#-"]
    assert all("==" in pin for pin in pins)
    assert "torch==2.11.0" in "".join(pins)
    pinned = {pin.partition("==")[0] for pin in pins}
    depends = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    assert {re.split(r"[<>=!]", name)[0] for name in re.findall(r'^ *"([^"]+)"', depends, re.M)} <= pinned


def test_files_stay_small():
    for name in tracked_files():
        path = ROOT / name
        if path.exists():
            assert path.stat().st_size < 1 << 20, name
        if path.suffix == ".py" and path.exists() and not name.startswith("tests/"):
            assert path.read_text().count("\n") <= 300, name


# What no public name of these packages gives: by file, the expressions with which it is used; the reason stands beside.
PRIVATE = {
    "lls/cli.py": {"hydra._internal.utils: _internal", "parser._actions"},
    "lls/networks/models.py": {"super()._make_layer"},
    "lls/losses/fused.py": {"torch._softmax_backward_data", "torch._log_softmax_backward_data"},
    "lls/data/streaming.py": {"self.loader._iterator", "running._shutdown_workers"},
    "lls/training/cuda_graph.py": {"torch._C", "torch._C._cuda_endAllocateToPool", "torch._C._cuda_releasePool"},
}


def test_private_names_of_other_packages_are_used_in_five_places_only():
    files = [path for folder in ("lls", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = {str(file.relative_to(ROOT)): private_names(file) for file in files}
    assert {file: names for file, names in found.items() if names} == PRIVATE


def private_names(file: Path) -> set[str]:
    """Names with a leading underscore that a file imports, or uses of anything but `self` and `cls`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            words = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found |= {f"{node.module}: {word}" for word in words if word.startswith("_") and word != "__future__"}
        elif isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr):
            of_namedtuple = node.attr in ("_asdict", "_replace", "_fields")
            if not of_namedtuple and ast.unparse(node.value) not in ("self", "cls"):
                found.add(ast.unparse(node))
    return found - {"super()._train"}  # of lls.training.step


def test_private_names_of_other_packages_are_still_there():
    from hydra._internal.utils import get_args_parser
    from torch.utils.data import DataLoader
    from torchvision.models import ResNet

    assert get_args_parser()._actions
    assert callable(ResNet._make_layer)
    assert callable(torch._softmax_backward_data)
    assert callable(torch._log_softmax_backward_data)
    assert callable(torch.ops.aten.embedding_dense_backward.default)
    loader = DataLoader([0], num_workers=1, persistent_workers=True)
    assert loader._iterator is None
    list(loader)
    loader._iterator._shutdown_workers()
    if torch.backends.cuda.is_built():
        assert callable(torch._C._cuda_endAllocateToPool)
        assert callable(torch._C._cuda_releasePool)


@pytest.mark.parametrize(
    ("action", "status", "said"),
    [
        ("return None", 0, ""),
        ("return 1", 1, ""),
        ("raise UserError('no such run')", 2, "error: no such run\n"),
        ("raise Diverged('loss was nan')", 1, "error: loss was nan\n"),
        ("raise KeyboardInterrupt", 130, "stopped\n"),
        ("print('x' * 100_000)", 0, ""),  # to a pipe that nobody reads
    ],
)
def test_how_a_script_ends(action, status, said):
    code = f"from lls.errors import Diverged, UserError, run_script\ndef main():\n    {action}\nrun_script(main)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == said
    assert process.wait() == status


def test_another_broken_pipe_is_no_good_end():
    def main():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_script(main)
