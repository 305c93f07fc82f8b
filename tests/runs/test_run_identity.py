"""The id of a run: what is part of it and what is not."""

import re

import pytest
from omegaconf import OmegaConf

from lls.config.assemble import parse_overrides
from lls.config.compose import compose
from lls.runs.identity import identity


def test_the_id_is_readable():
    name = identity(compose(["dataset=cifar100", "method=ls", "seed=3"]))
    assert re.fullmatch(r"cifar100-resnet18-ls-s3-[0-9a-f]{8}", name)


@pytest.mark.parametrize("same", ["machine.device=cpu", "machine.precision=bf16", "machine.output=x", "budget=1"])
def test_the_machine_is_no_part_of_the_id(same):
    assert identity(compose([same])) == identity(compose())


@pytest.mark.parametrize("other", ["method.alpha=0.2", "budget=0.5", "train.lr=0.1", "method.terms=no_fce", "seed=1"])
def test_values_that_change_the_result_are_part_of_the_id(other):
    assert identity(compose([other])) != identity(compose())


def test_a_value_that_a_range_computes_is_the_typed_one():
    """Hydra's range(0.1,0.35,0.1) gives 0.30000000000000004."""
    (sweep,) = parse_overrides(["method.alpha=range(0.1,0.35,0.1)"])
    computed = [identity(compose([f"method.alpha={value}"])) for value in sweep.sweep_string_iterator()]
    assert computed == [identity(compose([f"method.alpha={value}"])) for value in (0.1, 0.2, 0.3)]
    assert identity(compose(["train.lr=1.00000000001e-8"])) != identity(compose(["train.lr=1e-8"]))


def test_null_values_and_the_order_of_keys_do_not_change_the_id():
    cfg = compose()
    plain = OmegaConf.to_container(cfg)
    shuffled = {key: plain[key] for key in reversed(plain)}
    shuffled["method"] = {"later": None, **shuffled["method"]}
    assert identity(OmegaConf.create(shuffled)) == identity(cfg)


def test_the_spelling_of_a_folder_does_not_change_the_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    roots = (tmp_path / "mine", "mine", "./mine/", "other/../mine")
    assert len({identity(compose(["dataset=imagefolder", f"dataset.root={root}"])) for root in roots}) == 1
    assert identity(compose(["dataset=imagefolder", "dataset.root=yours"])) != identity(
        compose(["dataset=imagefolder", "dataset.root=mine"])
    )


def test_the_id_of_a_configuration_never_changes():
    """git tracks results in folders with these names. Another id would separate them from their configuration."""
    assert identity(compose(["dataset=cifar100", "method=lls"])) == "cifar100-resnet18-lls-s0-4c8de7dd"
