"""What the options of configs/ compose to."""

import pytest

from lls.config.assemble import CONFIGS, GROUPS, options
from lls.config.compose import compose
from lls.training.build import build_augmentation, build_method, build_network

OPTIONS = [(group, option) for group in GROUPS for option in options(group)]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_each_option_composes_and_builds(group, option):
    cfg = compose([f"{group}={option}", *(["network.model=resnet10t"] if option == "timm" else [])])
    assert option.startswith(cfg[group].name)  # variants are called <name>_<purpose>
    k = cfg.dataset.num_classes or 5
    net = build_network(cfg.network, k, cfg.dataset.channels, cfg.dataset.size)
    assert net.classifier.out_features == k
    build_method(cfg.method, k), build_augmentation(cfg.augment)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_each_option_opens_with_a_comment_that_describes_it(group, option):
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
def test_each_data_set_has_a_default_network(dataset, network):
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
def test_schedules_are_those_of_appendix_i(dataset):
    cfg = compose([f"dataset={dataset}"])
    train, data = cfg.train, cfg.dataset
    schedule = (train.epochs, train.batch_size, train.lr, train.weight_decay, list(train.milestones), train.warmup)
    assert (*schedule, data.size, data.crop_padding, data.flip) == APPENDIX_I[dataset]
    assert (train.momentum, train.nesterov, train.lr_decay) == (0.9, False, 0.1)
