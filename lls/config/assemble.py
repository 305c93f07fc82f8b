"""What Hydra composes of the yaml files in configs/, each option once; compose.py checks it."""

import pickle
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from lls.errors import UserError, one_line

# configs/hydra/launcher/submitit_slurm.yaml is meant to stand in for the plugin's own of the same name
warnings.filterwarnings("ignore", "(?s).*automatic_schema_matching", UserWarning)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = ("dataset", "network", "method", "augment")


@cache
def options(group: str) -> tuple[str, ...]:
    """The options of a config group, sorted: the names of its yaml files."""
    return tuple(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Hydra's reading of overrides. UserError for one that can't be read."""
    return [_parsed(text) for text in overrides]


@cache
def _parsed(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        help = "write key=value, and quotes inside where a value has special characters: 'key=\"~/my images\"'"
        raise UserError(f"{text!r} cannot be read: {help}") from None


def compose_with_hydra(overrides: list[str]) -> DictConfig:
    """What Hydra itself composes of these overrides. UserError where it refuses them."""
    running = GlobalHydra.instance().hydra  # of hydra.main, under which a teacher's configuration is composed
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra_compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from None
    finally:
        GlobalHydra.instance().hydra = running


def assemble(parsed: list[Override]) -> DictConfig:
    """What Hydra composes of these overrides, put together from options that it composed once each: a table's hundreds
    of configurations differ in which options they choose and in a few values. UserError where Hydra refuses them."""
    choices = {override.key_or_group: override.value() for override in parsed if override.key_or_group in GROUPS}
    values = [override for override in parsed if override.key_or_group not in GROUPS]
    plain = all(
        o.type == OverrideType.CHANGE and o.package is None and not o.key_or_group.startswith("hydra") for o in parsed
    )
    chosen = _chosen(tuple(choices.items())) if plain and len(choices) + len(values) == len(parsed) else None
    if chosen is None:
        return compose_with_hydra([override.input_line for override in parsed])
    cfg = pickle.loads(chosen)
    try:
        for override in values:
            OmegaConf.update(cfg, override.key_or_group, override.value())
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None
    return cfg


@cache
def _chosen(choices: tuple[tuple[str, str], ...]) -> bytes | None:
    """The configuration of these options, pickled, which copies it ten times as fast as copy.deepcopy does; None where
    one of them sets more than its own section, as only data sets should."""
    own = {group: _section(group, option) for group, option in choices if group != "dataset"}
    if None in own.values():
        return None
    whole = _tree(*(f"{group}={option}" for group, option in choices if group == "dataset"))
    cfg = OmegaConf.create(whole | own)
    OmegaConf.set_struct(cfg, True)
    return pickle.dumps(cfg)


@cache
def _tree(*choice: str) -> dict:
    """What Hydra composes of an option, or of none: interpolations are still there."""
    return OmegaConf.to_container(compose_with_hydra([*choice]), resolve=False)


@cache
def _section(group: str, option: str) -> dict | None:
    """A group option's own section; None if it sets keys elsewhere too."""
    path = CONFIGS / group / f"{option}.yaml"
    if "# @package" in path.read_text():
        return None
    section = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    if "defaults" not in section:
        return section  # Hydra would only put it in its place
    chosen, default = dict(_tree(f"{group}={option}")), dict(_tree())
    section = chosen.pop(group)
    default.pop(group)
    return section if chosen == default else None


def resolve(cfg: DictConfig) -> dict:
    """As plain dicts, every interpolation replaced by its value; UserError where there is none."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except InterpolationKeyError as error:  # a choice among keys, such as dataset.classes
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0].lower()}") from None
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None


def flatten(tree: dict, path: str = "") -> dict[str, object]:
    """{'train': {'lr': 0.1}} -> {'train': {...}, 'train.lr': 0.1}: sections are keys too."""
    flat = {}
    for name, value in tree.items():
        flat[path + name] = value
        if isinstance(value, dict):
            flat |= flatten(value, f"{path}{name}.")
    return flat


def format_value(value: object) -> str:
    """A value as one would type it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
