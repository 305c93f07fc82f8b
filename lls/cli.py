"""Check the command line of train.py before Hydra reads it.

Hydra would exit with status 1 and print a page of text. A UserError is one line, and its status is 2.
"""

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from lls.config.assemble import CONFIGS, GROUPS, options, parse_overrides
from lls.config.compose import compose, did_you_mean
from lls.errors import UserError, one_line

CONFIG_FLAGS = ("config_dir", "config_name", "config_path", "experimental_rerun")  # of Hydra; not supported here


def check_arguments(argv: Sequence[str]) -> None:
    """Raise UserError for a command line of train.py that cannot run, as far as `argv` and the yaml files tell.

    A sweep (-m) composes each value of each override once, together with the first values of the other overrides, and
    builds its method. So a bad value is reported at once and not after hours of training. A bad combination of values
    is reported when its run starts."""
    arguments = _parse_flags(argv)
    if arguments.shell_completion or arguments.hydra_help:
        return
    for name in CONFIG_FLAGS:
        if getattr(arguments, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag}: not supported, configurations are read from {CONFIGS.name}/; add your yaml there")
    parsed = parse_overrides(arguments.overrides)
    for override in parsed:
        _check_launcher(override)
    if not arguments.multirun:
        compose(arguments.overrides)
        return
    from lls.training.build import build_method

    for overrides in _each_value_once(parsed):
        cfg = compose(overrides)
        build_method(cfg.method, cfg.dataset.num_classes or 2)


def _check_launcher(override: Override) -> None:
    if override.key_or_group == "hydra/launcher" and "submitit" in override.input_line and not find_spec("submitit"):
        raise UserError(f"{override.input_line}: submitit is not installed: pip install -e '.[slurm]'")


def _parse_flags(argv: Sequence[str]) -> argparse.Namespace:
    # hydra.main uses this parser too (Hydra 1.3). A list of flags here would miss those that another version adds.
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def raise_error(message: str) -> None:
        unknown = [word for word in argv if word.startswith("-") and word.partition("=")[0] not in flags]
        if not unknown:
            hint = "; flags such as -m go before all overrides"
        else:
            hint = did_you_mean(unknown[0], flags) or f"; keys have no dashes: {unknown[0].lstrip('-')}"
        raise UserError(f"{message}{hint} (python train.py --hydra-help lists the flags)")

    parser.error = raise_error  # argparse would print its usage, which is a page
    return parser.parse_args(argv)


def _each_value_once(parsed: list[Override]) -> Iterator[list[str]]:
    """Yield overrides such that each value of each sweep occurs, with the other sweeps at their first value.

    Their number is the sum of the lengths of the sweeps, not the product."""
    values = [_values(override) for override in parsed]
    first = [v[0] for v in values]
    yield first
    for i, sweep in enumerate(values):
        for value in sweep[1:]:
            yield [*first[:i], value, *first[i + 1 :]]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line]
    key = override.get_key_element()
    if isinstance(value := override.value(), Glob):
        if key not in GROUPS:
            raise UserError(f"{override.input_line}: glob() is for {', '.join(GROUPS)} only")
        if not (matches := value.filter(list(options(key)))):
            raise UserError(f"{override.input_line}: no {key} matches (there are: {', '.join(options(key))})")
        return [f"{key}={option}" for option in matches]
    try:
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    except HydraException as error:
        raise UserError(f"{override.input_line}: {one_line(error)}") from None
