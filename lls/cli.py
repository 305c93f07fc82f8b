"""The command line of train.py, looked at before Hydra sees it: Hydra would exit with 1 and a page of text."""

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from lls.config.assemble import CONFIGS, parse_overrides
from lls.config.compose import compose, did_you_mean
from lls.errors import UserError, one_line


def check_arguments(argv: Sequence[str]) -> None:
    """Raise UserError for a command line of train.py that would fail for a reason seen in `argv` and the yaml files.

    In a sweep (-m) each value of each override is tried once, beside the first value of the others, and the methods are
    built, so that a bad value does not come up after hours."""
    arguments = _parse_flags(argv)
    if arguments.shell_completion or arguments.hydra_help:
        return
    for flag in ("config_dir", "config_name", "config_path", "experimental_rerun"):
        if getattr(arguments, flag) is not None:
            raise UserError(
                f"--{flag.replace('_', '-')}: the configurations are those in {CONFIGS.name}/; add yours there"
            )
    parsed = parse_overrides(arguments.overrides)
    for override in parsed:
        if (
            override.key_or_group == "hydra/launcher"
            and "submitit" in override.input_line
            and not find_spec("submitit")
        ):
            raise UserError(f"{override.input_line}: needs the package submitit: pip install -e '.[slurm]'")
    if not arguments.multirun:
        compose(arguments.overrides)
        return
    from lls.training.build import build_method

    for overrides in _one_at_a_time(parsed):  # what only a combination gets wrong is seen when its run comes
        cfg = compose(overrides)
        build_method(cfg.method, cfg.dataset.num_classes or 2)


def _parse_flags(argv: Sequence[str]) -> argparse.Namespace:
    # The parser that hydra.main itself uses (Hydra 1.3): a list of its flags here would miss those of another version.
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> None:
        unknown = [word for word in argv if word.startswith("-") and word.partition("=")[0] not in flags]
        if not unknown:
            hint = "; flags such as -m go before all overrides"
        else:
            hint = did_you_mean(unknown[0], flags) or f"; keys have no dashes: {unknown[0].lstrip('-')}"
        raise UserError(f"{message}{hint} (python train.py --hydra-help)")

    parser.error = refuse  # argparse would print its usage, which is a page
    return parser.parse_args(argv)


def _one_at_a_time(parsed: list[Override]) -> Iterator[list[str]]:
    """Every value of every sweep once, the other sweeps at their first: the sum of their lengths, not the product."""
    values = [_values(override) for override in parsed]
    first = [v[0] for v in values]
    yield first
    for i, several in enumerate(values):
        for value in several[1:]:
            yield [*first[:i], value, *first[i + 1 :]]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line]
    try:
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    except HydraException as error:
        raise UserError(f"{override.input_line}: {one_line(error)}") from None
