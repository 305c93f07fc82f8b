"""Configurations: composed from configs/ by Hydra, checked before anything is run, never written to afterwards.

The yaml files are the schema. What `overrides` may say is found by composing the chosen options alone: a key must be
among theirs, and a value must be of the kind of the value there. Nothing here imports torch.
"""

import difflib
from collections.abc import Iterable, Sequence
from functools import cache

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import CONFIGS, GROUPS, assemble, flatten, format_value, options, parse_overrides, resolve
from lls.config.ranges import check_ranges
from lls.errors import UserError


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration that `python train.py *overrides` runs. Raises UserError where that would refuse."""
    parsed = parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line}: several values are a sweep, which needs -m: python train.py -m ..."
            )
    return _check(parsed)


def with_overrides(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A configuration with other values of keys that it has. Raises UserError for any that make no sense."""
    own = OmegaConf.to_container(cfg, resolve=True)
    new = OmegaConf.create(own)
    for override in parse_overrides(overrides):
        if override.is_sweep_override() or override.is_delete():
            raise UserError(f"{override.input_line}: one value, as in key=value")
        if override.key_or_group not in (known := flatten(own)):
            raise _unknown(override.key_or_group, list(known))
        OmegaConf.update(new, override.key_or_group, override.value())
    plain = OmegaConf.to_container(new)
    _check_kinds(plain, own)
    check_ranges(plain)
    return new


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean ...?', or nothing where no known word is near. A key's last part alone finds the whole key."""
    known = list(known)
    for key in known:
        if key.rpartition(".")[2] == word:
            return f"; did you mean {key!r}?"
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


# -- the check -------------------------------------------------------------------------------------------------------


FIXED_KEYS = ("dataset.source", "network.family")  # by the option, as are the names
TEXT_OR_LIST = ("method.terms",)
AUTO_OR_BOOL = ("machine.compile", "machine.graph")
OR_NULL = ("network.weights", "dataset.pretrained", "dataset.crop", "dataset.resize", "dataset.keep_aspect")


def _check(parsed: list[Override]) -> DictConfig:
    choices, values = [], []
    for override in parsed:
        key = override.key_or_group
        if override.is_delete():
            raise UserError(f"{override.input_line}: nothing can be taken away, everything has a use")
        if key in GROUPS:
            option = override.value()
            if option not in options(key):
                known = options(key)
                hint = did_you_mean(str(option).lower(), known)
                raise UserError(f"{key}={option}: no such {key}{hint} (there are: {', '.join(known)})")
            choices.append(f"{key}={option}")
        elif not key.startswith(("hydra.", "hydra/")):
            values.append(override)

    schema = _schema(tuple(choices))
    keys = list(flatten(schema))
    for override in values:
        key = override.key_or_group
        if override.package is not None or key not in keys:
            raise _unknown(key, keys)
        if key in FIXED_KEYS or (key.endswith(".name") and key.count(".") == 1):
            raise UserError(f"{override.input_line}: {key} is decided by {key.partition('.')[0]}=...")
    cfg = assemble(parsed)
    plain = resolve(cfg)
    if missing := [key for key, value in flatten(plain).items() if value == "???"]:
        raise UserError(f"{min(missing)}=???: needs a value")
    if nameless := [group for group in GROUPS if "name" not in plain[group]]:
        raise UserError(f"{nameless[0]}: its yaml in {CONFIGS.name}/{nameless[0]} has no key name")
    _check_kinds(plain, schema)
    check_ranges(plain)
    return cfg


def _unknown(key: str, keys: list[str]) -> UserError:
    section, _, name = key.rpartition(".")
    there = {k.rpartition(".")[2]: k for k in keys if section and k.rpartition(".")[0] == section}
    if there:
        match = difflib.get_close_matches(name, there, n=1, cutoff=0.6)
        hint = f"; did you mean {there[match[0]]!r}?" if match else f"; {section} has: {', '.join(there)}"
    else:
        hint = did_you_mean(key, (*keys, *GROUPS))
    return UserError(f"no such key: {key}{hint} (the same command with --help lists those of its choice)")


def _check_kinds(cfg: dict, schema: dict, path: str = "") -> None:
    for name, value in cfg.items():
        key = path + name
        if name not in schema:
            raise _unknown(key, list(flatten(schema, path)))
        want = schema[name]
        if isinstance(want, dict):
            if not isinstance(value, dict):
                raise UserError(f"{key}={value}: {key} has keys of its own: {', '.join(flatten(want, key + '.'))}")
            _check_kinds(value, want, key + ".")
        elif not _same_kind(key, value, want):
            raise UserError(f"{key}={format_value(value)}: must be {_kind(want)}, as {format_value(want)} is")


def _same_kind(key: str, value: object, want: object) -> bool:
    if want is None or key in AUTO_OR_BOOL:
        return not isinstance(value, dict)  # only its owner can judge
    if value is None and key in OR_NULL:
        return True
    if isinstance(want, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(want) or (key in TEXT_OR_LIST and isinstance(value, list))


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}.get(type(value), "text")


@cache
def _schema(choices: tuple[str, ...]) -> dict:
    return resolve(assemble(parse_overrides(choices)))
