"""Functions that a yaml names, called with its other keys. A config can name no code outside the module it is looked up
in."""

import inspect
import re
from collections.abc import Callable
from types import ModuleType

from lls.errors import UserError


def public_function(module: ModuleType, name: str, key: str) -> Callable:
    """A function defined in `module` under a name without underscore. UserError otherwise."""
    function = vars(module).get(name)
    if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != module.__name__:
        raise UserError(f"{key}={name}: {module.__name__} has no such function")
    return function


def call(make: Callable, group: str, **keys):
    takes = inspect.signature(make).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
    if unknown := [key for key in keys if key not in takes and not anything]:
        raise UserError(f"{group}.{unknown[0]}: {make.__module__}.{make.__name__} takes no such argument")
    required = [name for name, parameter in takes.items() if parameter.default is parameter.empty and name not in keys]
    if required and not anything:
        raise UserError(
            f"{group}.{required[0]}: {make.__module__}.{make.__name__} needs it, and its yaml does not have it"
        )
    try:
        return make(**keys)
    except ValueError as error:
        raise UserError(f"{group}.{error}" if re.match(r"\w+=", str(error)) else str(error)) from None
