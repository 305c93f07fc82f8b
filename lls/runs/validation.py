"""Check dicts against a TypedDict whose numbers have units and ranges, such as those of lls/runs/schema.py."""

import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, NamedTuple, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict


class Unit(NamedTuple):
    """The unit of a number, and the range of values that are allowed."""

    name: str
    low: float = -math.inf
    high: float = math.inf


def check(data: object, schema: type, complete: bool = True) -> None:
    """Raise ValueError, whose message starts with the key, if `data` does not match `schema`.

    That is a wrong type, a number out of range or, if `complete`, a missing key. Unknown keys are allowed."""
    if not isinstance(data, Mapping):
        raise ValueError(f"holds {shorten(data)} and no JSON object")
    if complete and (missing := schema.__required_keys__ - data.keys()):
        raise ValueError(f"{min(missing)} is missing")
    for key, hint in _hints(schema).items():
        if key in data and (problem := _problem(data[key], hint)):
            raise ValueError(f"{key}{problem}")


def check_written(data: Mapping, schema: type) -> None:
    """Check data before it is written. Raises ValueError as `check` does, and for an unknown key."""
    check(data, schema)
    if unknown := data.keys() - _hints(schema).keys():
        raise ValueError(f"{min(unknown)} is not in {schema.__name__}")


@cache
def _hints(schema: type) -> dict[str, object]:
    hints = get_type_hints(schema, include_extras=True)
    return {key: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for key, hint in hints.items()}


def _problem(value: object, hint: object) -> str | None:
    """Return what is wrong with a value, such as ' is -5, must be ...', or '.key is ...' for a key inside it."""
    kind, *units = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if get_origin(kind) is list:
        parts = value if isinstance(value, list) else [value]
        return next((problem for part in parts if (problem := _problem(part, get_args(kind)[0]))), None)
    if is_typeddict(kind):
        try:
            check(value, kind)
        except ValueError as error:
            return f".{error}"
        return None
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        problems = [_problem(value, option) for option in get_args(kind)]
        names = " or ".join(map(_type_name, get_args(kind)))
        return None if None in problems else f" is {shorten(value)}, must be {names}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and math.isfinite(value) if kind is float else isinstance(value, kind)
    if kind is int:
        fits = number and isinstance(value, int)
    if not fits:
        return f" is {shorten(value)}, must be {_type_name(kind)}{f' ({units[0].name})' if units else ''}"
    if units and not units[0].low <= value <= units[0].high:
        return f" is {shorten(value)}, must be from {units[0].low:g} to {units[0].high:g} ({units[0].name})"
    return None


def _type_name(kind: object) -> str:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    names = {float: "a finite number", int: "a whole number", str: "text", bool: "true or false", dict: "an object"}
    return names.get(kind, "a list")


def shorten(value: object) -> str:
    """Return repr(value), cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
