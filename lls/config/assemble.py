"""Compose the yaml files of configs/ with Hydra, each option once. compose.py checks the result."""

import pickle
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from lls.errors import UserError, one_line

# configs/hydra/launcher/submitit_slurm.yaml replaces the file of the same name in the plugin; Hydra warns about it.
warnings.filterwarnings("ignore", "(?s).*automatic_schema_matching", UserWarning)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = ("dataset", "network", "method", "augment")


@cache
def options(group: str) -> tuple[str, ...]:
    """Return the options of a config group in alphabetical order: the names of its yaml files."""
    return tuple(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides such as `seed=1` with Hydra's grammar.

    Raises UserError for one that cannot be parsed, and for a sweep inside a list, a dict or another sweep."""
    return [_parse(text) for text in overrides]


@cache
def _parse(text: str) -> Override:
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        hint = "write key=value; quote a value with special characters: 'key=\"~/my images\"'"
        raise UserError(f"{text!r} cannot be read: {hint}") from None
    value = parsed.value()
    if any(map(_has_sweep, value.list if isinstance(value, ChoiceSweep) else _elements(value))):
        raise UserError(f"{text}: a sweep cannot be inside a value or another sweep; write whole values: key=[1],[1,2]")
    return parsed


def _elements(value: object) -> list:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _has_sweep(value: object) -> bool:
    return isinstance(value, Sweep | Glob) or any(map(_has_sweep, _elements(value)))


def compose_with_hydra(overrides: list[str]) -> DictConfig:
    """Compose overrides with Hydra alone. Raises UserError where Hydra reports an error."""
    outer = GlobalHydra.instance().hydra  # hydra.main is running when a teacher's configuration is composed
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra_compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from None
    finally:
        GlobalHydra.instance().hydra = outer


def assemble(parsed: list[Override]) -> DictConfig:
    """Compose overrides as Hydra does, but from options that Hydra has composed once each.

    A table has hundreds of configurations that differ in their options and in a few values; this is much faster than
    one call of Hydra for each. Overrides other than `group=option` and `key=value` go to Hydra itself. Raises UserError
    where Hydra reports an error."""
    choices = {override.key_or_group: override.value() for override in parsed if override.key_or_group in GROUPS}
    values = [override for override in parsed if override.key_or_group not in GROUPS]
    simple = all(
        o.type == OverrideType.CHANGE and o.package is None and not o.key_or_group.startswith("hydra") for o in parsed
    )
    distinct = len(choices) + len(values) == len(parsed)
    pickled = _compose_options(tuple(choices.items())) if simple and distinct else None
    if pickled is None:
        return compose_with_hydra([override.input_line for override in parsed])
    cfg = pickle.loads(pickled)
    try:
        for override in values:
            OmegaConf.update(cfg, override.key_or_group, override.value())
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None
    return cfg


@cache
def _compose_options(choices: tuple[tuple[str, str], ...]) -> bytes | None:
    """Return the configuration of these options, pickled; None if an option other than a data set sets more than its
    own section. Unpickling copies a configuration ten times as fast as copy.deepcopy."""
    sections = {group: option_section(group, option) for group, option in choices if group != "dataset"}
    if None in sections.values():
        return None
    dataset = [f"{group}={option}" for group, option in choices if group == "dataset"]
    cfg = OmegaConf.create(_compose_to_dict(*dataset) | sections)
    OmegaConf.set_struct(cfg, True)
    return pickle.dumps(cfg)


@cache
def _compose_to_dict(*choice: str) -> dict:
    """Compose one option, or the defaults, to a dict. Interpolations are not resolved."""
    return OmegaConf.to_container(compose_with_hydra([*choice]), resolve=False)


@cache
def option_section(group: str, option: str) -> dict | None:
    """Return the section that an option sets, such as `method` for `method=ls`; None if it sets other keys too."""
    path = CONFIGS / group / f"{option}.yaml"
    if "# @package" in path.read_text():
        return None
    section = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    if "defaults" not in section:
        return section  # Hydra would only move it below the key `group`
    return changed_section(group, _compose_to_dict(f"{group}={option}"), _compose_to_dict())


def changed_section(group: str, cfg: dict, default: dict) -> dict | None:
    """Return cfg[group] if `cfg` and `default` agree in everything else; None if they do not."""
    others = [{key: value for key, value in tree.items() if key != group} for tree in (cfg, default)]
    return cfg[group] if others[0] == others[1] else None


def resolve(cfg: DictConfig) -> dict:
    """Return a configuration as plain dicts, with each interpolation replaced by its value.

    Raises UserError where the key that an interpolation names does not exist."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except InterpolationKeyError as error:  # a choice among keys, such as dataset.classes
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0].lower()}") from None
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None


def flatten(tree: dict, path: str = "") -> dict[str, object]:
    """Flatten nested dicts to dotted keys: {'train': {'lr': 0.1}} -> {'train': {...}, 'train.lr': 0.1}.

    Sections are keys of the result too. `path` is put before each key."""
    flat = {}
    for name, value in tree.items():
        flat[path + name] = value
        if isinstance(value, dict):
            flat |= flatten(value, f"{path}{name}.")
    return flat


def format_value(value: object) -> str:
    """Format a value as a user types it on the command line."""
    if isinstance(value, float):
        value = round_float(value)
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def override_value(value: object, *, typed: bool = True) -> str:
    """Return the text that Hydra parses to `value`, quoted where Hydra's grammar needs it.

    value: a number, text, bool, None, or a list or dict of such values.
    typed: the text `4` stays a text; if false, it is the number that a user would type."""
    if isinstance(value, list):
        return f"[{','.join(override_value(element, typed=typed) for element in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{override_value(element, typed=typed)}' for key, element in value.items())}}}"
    if not isinstance(value, str):
        return format_value(value)
    try:
        (parsed,) = parse_overrides([f"key={value}"])
        plain = value != "" and not parsed.is_sweep_override() and (not typed or parsed.value() == value)
    except UserError:
        plain = False
    return value if plain else QuotedString(value, Quote.single).with_quotes()


def round_float(value: float) -> float:
    """Round to 12 significant digits, so that 0.1 + 0.2, which a sweep over a range computes, is 0.3."""
    return float(f"{value:.12g}")
