"""The repository itself: its Makefile, the names in its texts, its tracked runs, and the size of its files."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from paths import ROOT
from results import write_result

import lls
from lls.config.compose import compose
from lls.errors import run_script
from lls.paper.results import beside_the_paper, differences, results_markdown
from lls.runs.find import all_runs, tracked_files, tracked_ids
from lls.runs.run import Run, identity


def test_make_help_lists_all_targets():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-zN-]+) +\S", listed, re.M)) == targets


def test_the_package_can_be_imported_from_the_parent_of_a_clone_called_lls(tmp_path):
    """As installed by pip install -e: the folder is no package, and would be taken for a namespace."""
    (tmp_path / "lls").mkdir()
    command = [sys.executable, "-c", "import lls; print(lls.__version__)"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout == f"{lls.__version__}\n"


def test_paths_and_dotted_names_in_code_and_documents_exist():
    """Every path and every dotted name of the package in code, configurations and documents."""
    folders = ("lls", "benchmarks", "scripts", "configs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    missing = []
    documents = [ROOT / "README.md", ROOT / "data" / "README.md", *ROOT.glob("docs/*.md")]
    for file in [*files, ROOT / "train.py", *documents]:
        text = re.sub(r"^`[^`\n]+`:$", "", file.read_text(), flags=re.M)  # without files that a page tells to create
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


def test_tracked_runs_keep_their_ids():
    """Composed again from today's yaml files, and from the configuration that lies in the run's folder."""
    for run in [run for run in all_runs(ROOT / "outputs") if run.id in tracked_ids()]:
        cfg = run.cfg
        choices = [f"{group}={cfg[group].name}" for group in ("dataset", "network", "method", "augment")]
        again = compose([*choices, f"seed={cfg.seed}", f"budget={cfg.budget}", *differences(cfg)])
        assert identity(again) == identity(cfg) == run.folder.name


def test_runs_that_differ_only_in_their_seed_are_one_row_with_the_overridden_keys(overrides):
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


def test_runs_that_differ_in_their_augmentation_are_two_rows(overrides):
    runs = [Run(compose([*overrides, f"augment={augment}"])) for augment in ("none", "cutout")]
    for run in runs:
        write_result(run, {"top1": 90.0})
    first, second = results_markdown(runs).splitlines()[2:]
    assert "| lls | 1 | 30 |" in first
    assert "| lls augment=cutout | 1 | 30 |" in second


def test_ours_stands_beside_the_paper_for_finished_and_diverged_cells_only():
    def finished(run):
        if run.cfg.dataset.name != "svhn":
            return None
        failed = {"measure": "loss", "epoch": 3}
        return failed if run.cfg.method.name == "ols" else {"top1": 89.0 + run.cfg.seed}

    count, _, *table = beside_the_paper(finished, limit=2).splitlines()
    assert re.fullmatch(r"The paper's tables have \d+ accuracies\. 5 of them have .* Here are the first 2\.", count)
    assert table[2:] == [
        "| [3](tables/3.md) | svhn | lenet | onehot | 90.00 ± 1.00 (3/3) | 89.40 ± 0.03 |",
        "| [3](tables/3.md) | svhn | lenet | ls | 90.00 ± 1.00 (3/3) | 89.35 ± 0.09 |",
    ]
    ols = "| [3](tables/3.md) | svhn | lenet | ols | diverged (3/3) | 89.19 ± 0.43 |"
    assert ols in beside_the_paper(finished)
    assert "†" not in beside_the_paper(finished)


def test_a_number_that_the_paper_took_from_elsewhere_has_a_dagger_beside_ours():
    """LLS on Flowers-102 with MobileNetV2 is the paper's result, 1-hot is not."""
    config = {"dataset": "flowers102", "network": "mobilenetv2"}
    text = beside_the_paper(lambda run: {"top1": 90.0} if config.items() <= names_of(run).items() else None)
    assert "| onehot | 90.00 (1/1) | 91.03† |" in text
    assert "| lls | 90.00 (1/1) | 93.02 |" in text
    assert "†: the paper took the number from another set-up" in text


def names_of(run):
    return {group: run.cfg[group].name for group in ("dataset", "network")}


def test_a_run_of_a_removed_method_can_still_be_listed(overrides):
    run = Run(compose([*overrides, "method.alpha=0.3"]))
    assert differences(run.cfg) == ["method.alpha=0.3"]
    run.cfg.method.name = "removed"
    assert differences(run.cfg) == []


def test_requirements_are_pinned_and_within_the_packages_ranges():
    """Those of all extras too, because `make setup` installs them from requirements.txt; but not those of `recipes`."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in "#-"]
    pins = [Requirement(line.partition("#")[0]) for line in lines]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() >= {"experiments", "test", "slurm"}
    recipes = [Requirement(line) for line in extras.pop("recipes")]
    assert all(str(pin.specifier).startswith("==") for pin in recipes if pin.name != "lls")
    for depends in map(Requirement, chain(project["dependencies"], *extras.values())):
        if depends.name == "lls":
            assert depends.extras <= extras.keys()
        else:
            versions = [str(pin.specifier)[2:] for pin in pins if pin.name == depends.name]
            assert versions, depends
            assert all(version in depends.specifier for version in versions), depends


def test_files_stay_small():
    for name in tracked_files():
        path = ROOT / name
        if path.exists():
            assert path.stat().st_size < 1 << 20, name
        if path.suffix == ".py" and path.exists() and not name.startswith("tests/"):
            assert path.read_text().count("\n") <= 300, name


# Private names of other packages, by file, for what no public name gives. A comment beside each use has the reason.
PRIVATE = {
    "lls/cli.py": {"hydra._internal.utils: _internal", "parser._actions"},
    "lls/networks/models.py": {"super()._make_layer"},
    "lls/losses/pytorch_internals.py": {
        *("torch._softmax_backward_data", "torch._log_softmax_backward_data", "torch._assert_async"),
        *("torch._C", "torch._C._are_functorch_transforms_active"),
    },
    "lls/data/streaming.py": {"self.loader._iterator", "iterator._shutdown_workers"},
    "lls/training/cuda_graph.py": {"torch._C", "torch._C._cuda_endAllocateToPool", "torch._C._cuda_releasePool"},
}


def test_private_names_of_other_packages_are_used_only_where_listed():
    files = [path for folder in ("lls", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")]
    names_by_file = {str(file.relative_to(ROOT)): private_names(file) for file in files}
    assert {file: names for file, names in names_by_file.items() if names} == PRIVATE


def private_names(file: Path) -> set[str]:
    """Names with a leading underscore that a file imports, or uses of anything but `self` and `cls`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            words = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            names |= {f"{node.module}: {word}" for word in words if word.startswith("_") and word != "__future__"}
        elif isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr):
            of_namedtuple = node.attr in ("_asdict", "_replace", "_fields")
            if not of_namedtuple and ast.unparse(node.value) not in ("self", "cls"):
                names.add(ast.unparse(node))
    return names


def test_the_private_names_of_other_packages_still_exist():
    from hydra._internal.utils import get_args_parser
    from torch.utils.data import DataLoader
    from torchvision.models import ResNet

    assert get_args_parser()._actions
    assert callable(ResNet._make_layer)
    assert callable(torch._softmax_backward_data)
    assert callable(torch._log_softmax_backward_data)
    assert callable(torch._assert_async)
    assert not torch._C._are_functorch_transforms_active()
    assert torch.func.grad(lambda x: x * torch._C._are_functorch_transforms_active())(torch.ones(())) == 1
    assert callable(torch.ops.aten.embedding_dense_backward.default)
    loader = DataLoader([0], num_workers=1, persistent_workers=True)
    assert loader._iterator is None
    list(loader)
    loader._iterator._shutdown_workers()
    if torch.backends.cuda.is_built():
        assert callable(torch._C._cuda_endAllocateToPool)
        assert callable(torch._C._cuda_releasePool)


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        ("return None", 0, ""),
        ("return 1", 1, ""),
        ("raise UserError('no such run')", 2, "error: no such run\n"),
        ("raise Diverged('loss was nan')", 1, "error: loss was nan\n"),
        ("raise KeyboardInterrupt", 130, "stopped\n"),
        ("print('x' * 100_000)", 0, ""),  # to a pipe without a reader
    ],
)
def test_a_script_ends_with_the_status_and_message_of_what_it_raised(action, status, message):
    code = f"from lls.errors import Diverged, UserError, run_script\ndef main():\n    {action}\nrun_script(main)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == message
    assert process.wait() == status


def test_a_broken_pipe_other_than_stdout_is_raised():
    def main():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_script(main)
