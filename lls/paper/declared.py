"""Checks of the yaml files that declare tables and figures."""

from collections.abc import Callable, Mapping

from lls.config.compose import did_you_mean
from lls.errors import UserError

Shape = tuple[Callable[[object], bool], str]  # a test of a value, and the requirement in words


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def list_of(is_valid: Callable[[object], bool], *, empty: bool = False) -> Callable[[object], bool]:
    """Return the test of a list whose elements are all valid. empty: whether it may have none."""
    return lambda value: isinstance(value, list) and all(map(is_valid, value)) and (empty or bool(value))


def check_entry(
    place: str, declared: dict, required: set[str], optional: set[str], shapes: Mapping[str, Shape]
) -> None:
    """Raise UserError for an unknown key, a missing one, or a value that its shape refuses. place: of the entry."""
    known = required | optional
    if wrong := sorted(declared.keys() - known, key=str):
        raise UserError(f"{place}: no such key: {wrong[0]}{did_you_mean(str(wrong[0]), known)}")
    if missing := sorted(required - declared.keys()):
        raise UserError(f"{place}: has no key {missing[0]}")
    for key, value in declared.items():
        is_valid, requirement = shapes[key]
        if not is_valid(value):
            raise UserError(f"{place}: {key}: must be {requirement}")
