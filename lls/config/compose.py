"""Compose a configuration from configs/ and check it before a run starts.

The yaml files are the schema. The chosen options, composed without further overrides, say which keys exist and which
type each value has; an override must agree with both.
"""

import difflib
from collections.abc import Iterable, Sequence
from functools import cache

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import CONFIGS, GROUPS, assemble, flatten, format_value, options, parse_overrides, resolve
from lls.config.ranges import check_ranges
from lls.errors import UserError

FIXED_KEYS = ("dataset.source", "network.family")  # set by the option alone, like each group's `name`
TEXT_OR_LIST = ("method.terms",)
AUTO_OR_BOOL = ("machine.compile", "machine.graph")
OR_NULL = ("network.weights", "dataset.pretrained", "dataset.crop", "dataset.resize", "dataset.keep_aspect")


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration of the command `python train.py *overrides`.

    Raises UserError for an unknown key or option, a missing value, a value of the wrong type or out of range, or a
    sweep."""
    parsed = parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override():
            line = override.input_line
            raise UserError(f"{line}: a sweep over several values needs -m: python train.py -m {line}")
    choices, values = _split(parsed)
    schema = _schema(tuple(choices))
    _check_keys(values, list(flatten(schema)))
    cfg = assemble(parsed)
    plain = resolve(cfg)
    if missing := [key for key, value in flatten(plain).items() if value == "???"]:
        raise UserError(f"{min(missing)}=???: needs a value; write {min(missing)}=VALUE")
    if nameless := [group for group in GROUPS if "name" not in plain[group]]:
        raise UserError(f"{nameless[0]}: its yaml in {CONFIGS.name}/{nameless[0]} has no key `name`; add it")
    _check_types(plain, schema)
    check_ranges(plain)
    return cfg


def with_overrides(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return a copy of a configuration with other values of existing keys.

    Raises UserError for an unknown key, a sweep, or a value of the wrong type or out of range."""
    old = OmegaConf.to_container(cfg, resolve=True)
    new = OmegaConf.create(old)
    keys = flatten(old)
    for override in parse_overrides(overrides):
        if override.is_sweep_override() or override.is_delete():
            raise UserError(f"{override.input_line}: must be one key with one value, as in key=value")
        if override.key_or_group not in keys:
            raise _unknown_key(override.key_or_group, list(keys))
        OmegaConf.update(new, override.key_or_group, override.value())
    plain = OmegaConf.to_container(new)
    _check_types(plain, old)
    check_ranges(plain)
    return new


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return "; did you mean '...'?" for the candidate most similar to `word`; "" if none is similar.

    The last part of a dotted key stands for the whole key."""
    candidates = list(candidates)
    for key in candidates:
        if key.rpartition(".")[2] == word:
            return f"; did you mean {key!r}?"
    match = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def _split(parsed: list[Override]) -> tuple[list[str], list[Override]]:
    """Split overrides into choices, as texts `group=option`, and the others. Drops those of Hydra's own keys."""
    choices, values = [], []
    for override in parsed:
        key = override.key_or_group
        if override.is_delete():
            raise UserError(f"{override.input_line}: a key cannot be removed; give it another value: key=value")
        if key in GROUPS:
            option = override.value()
            if option not in options(key):
                hint = did_you_mean(str(option).lower(), options(key))
                raise UserError(f"{key}={option}: no such {key}{hint} (there are: {', '.join(options(key))})")
            choices.append(f"{key}={option}")
        elif not key.startswith(("hydra.", "hydra/")):
            values.append(override)
    return choices, values


@cache
def _schema(choices: tuple[str, ...]) -> dict:
    return resolve(assemble(parse_overrides(choices)))


def _check_keys(values: list[Override], keys: list[str]) -> None:
    for override in values:
        key = override.key_or_group
        if override.package is not None or key not in keys:
            raise _unknown_key(key, keys)
        if key in FIXED_KEYS or (key.endswith(".name") and key.count(".") == 1):
            group = key.partition(".")[0]
            raise UserError(f"{override.input_line}: {key} is fixed by {group}=...; choose another option there")


def _unknown_key(key: str, keys: list[str]) -> UserError:
    section, _, name = key.rpartition(".")
    siblings = {k.rpartition(".")[2]: k for k in keys if section and k.rpartition(".")[0] == section}
    if siblings:
        match = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
        hint = f"; did you mean {siblings[match[0]]!r}?" if match else f"; {section} has: {', '.join(siblings)}"
    else:
        hint = did_you_mean(key, (*keys, *GROUPS))
    return UserError(f"no such key: {key}{hint} (python train.py --help lists the keys)")


def _check_types(cfg: dict, schema: dict, path: str = "") -> None:
    for name, value in cfg.items():
        key = path + name
        if name not in schema:
            raise _unknown_key(key, list(flatten(schema, path)))
        default = schema[name]
        if isinstance(default, dict):
            if not isinstance(value, dict):
                keys = ", ".join(flatten(default, key + "."))
                raise UserError(f"{key}={value}: {key} is a section; set one of its keys: {keys}")
            _check_types(value, default, key + ".")
        elif not _has_type_of(key, value, default):
            requirement = f"must be {_type_name(default)}, like the default {format_value(default)}"
            raise UserError(f"{key}={format_value(value)}: {requirement}")


def _has_type_of(key: str, value: object, default: object) -> bool:
    if default is None or key in AUTO_OR_BOOL:
        return not isinstance(value, dict)  # the range, or the function that uses the value, decides
    if value is None and key in OR_NULL:
        return True
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default) or (key in TEXT_OR_LIST and isinstance(value, list))


def _type_name(value: object) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}.get(type(value), "text")
