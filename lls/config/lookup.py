"""Call the function that a yaml names, with the other keys of the yaml as arguments.

A name is looked up in one module, so a configuration cannot run any other code.
"""

import inspect
import re
from collections.abc import Callable
from types import ModuleType

from lls.errors import UserError


def public_function(module: ModuleType, name: str, key: str) -> Callable:
    """Return the function `name`, which `module` defines under a name without underscore.

    `key` is the configuration key that names it. Raises UserError if there is no such function."""
    function = vars(module).get(name)
    if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != module.__name__:
        raise UserError(f"{key}={name}: {module.__name__} has no such function")
    return function


def call(make: Callable, group: str, **keys):
    """Return make(**keys), where `keys` come from a section `group` of the configuration.

    Raises UserError for a key that `make` does not take, a required argument without a key, and a ValueError of
    `make`, which names the key as in `alpha=2: must be ...`."""
    parameters, takes_any = _parameters(make)
    function = f"{make.__module__}.{make.__name__}"
    if unknown := [key for key in keys if key not in parameters and not takes_any]:
        raise UserError(f"{group}.{unknown[0]}: {function} takes no such argument; remove the key")
    required = [name for name, p in parameters.items() if p.default is p.empty and name not in keys]
    if required and not takes_any:
        raise UserError(f"{group}.{required[0]}: {function} needs it; add the key to the yaml")
    try:
        return make(**keys)
    except ValueError as error:
        raise UserError(f"{group}.{error}" if re.match(r"\w+=", str(error)) else str(error)) from None


def _parameters(make: Callable) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the named parameters, and whether any other keyword is accepted.

    A class that passes **options on to its base class has the parameters of that class too."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    all_parameters = inspect.signature(make).parameters
    named = {name: parameter for name, parameter in all_parameters.items() if parameter.kind not in variable}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in all_parameters.values())
    if takes_any and inspect.isclass(make):
        base = next((base for base in make.__mro__[1:-1] if "__init__" in vars(base)), None)
        if base is not None:
            parameters, takes_any = _parameters(base)
            named = parameters | named
    return named, takes_any
