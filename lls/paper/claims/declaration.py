"""The claims that configs/claims.yaml declares."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError, one_line
from lls.paper.claims.evidence import Evidence, load_table

CLAIMS = CONFIGS / "claims.yaml"
MODULES = ("rows", "matrices", "clusters", "computed")
REQUIRED = ("says", "where", "paper", "test")


class Claim(NamedTuple):
    """A claim of the paper, with the keys of configs/claims.yaml."""

    name: str
    says: str  # the claim in one sentence
    where: str  # sections, tables and figures of the paper
    paper: str  # the paper's evidence
    test: str  # module.function of this package
    keys: dict  # the arguments of this function
    short: dict | None  # arguments that replace some of them for short runs; None: not judged by short runs


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """Load the claims in the order of the yaml.

    Raises UserError, which names the claim, for keys, tests, arguments, tables, rows, columns and measures that do not
    exist, and for lists that are none."""
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: {one_line(error)}") from None
    if not isinstance(declared, dict):
        raise UserError(f"{path.name}: must map the names of claims to their keys")
    return [_make_claim(f"{path.name}: {name}", str(name), keys) for name, keys in declared.items()]


def find_test(claim: Claim) -> Callable[..., Evidence]:
    """Return the function that a claim names. It takes `Results` and the claim's keys."""
    module, _, function = claim.test.partition(".")
    return getattr(importlib.import_module(f"lls.paper.claims.{module}"), function)


def _make_claim(place: str, name: str, keys: object) -> Claim:
    if not isinstance(keys, dict):
        raise UserError(f"{place}: must have the keys {', '.join(REQUIRED)}")
    if missing := [key for key in REQUIRED if not isinstance(keys.get(key), str)]:
        raise UserError(f"{place}: has no text for the key {missing[0]}")
    arguments = {key: value for key, value in keys.items() if key not in (*REQUIRED, "short")}
    claim = Claim(name, *(keys[key] for key in REQUIRED), arguments, keys.get("short"))
    _check_arguments(place, claim, arguments)
    if claim.short is not None:
        if not isinstance(claim.short, dict):
            raise UserError(f"{place}: short: must map arguments of the test to values")
        _check_arguments(f"{place}: short", claim, arguments | claim.short)
    return claim


def _check_arguments(place: str, claim: Claim, arguments: dict) -> None:
    module, _, function = claim.test.partition(".")
    tests = [] if module not in MODULES else _tests(module)
    if function not in tests:
        known = [f"{name}.{test}" for name in MODULES for test in _tests(name)]
        raise UserError(f"{place}: no such test: {claim.test}{did_you_mean(claim.test, known)}")
    try:
        inspect.signature(find_test(claim)).bind(None, **arguments)
    except TypeError as error:
        raise UserError(f"{place}: {claim.test}: {error}") from None
    if "tables" in arguments:
        _check_tables(place, claim, arguments)
    of_runs = [arguments[key] for key in ("run", "first", "second") if key in arguments]
    runs = arguments.get("runs", [])
    if not isinstance(runs, list) or not all(isinstance(overrides, dict) for overrides in [*of_runs, *runs]):
        raise UserError(
            f"{place}: runs: must be overrides such as {{dataset: cifar10, method: lls}}; runs: a list of them"
        )
    for overrides in [*of_runs, *runs]:
        seeds = overrides.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
            raise UserError(f"{place}: seeds: must be a list of whole numbers, such as [0, 1, 2]")


def _check_tables(place: str, claim: Claim, arguments: dict) -> None:
    """Check that the tables have the rows and columns that a claim names."""
    from lls.paper.claims.rows import MEASURES

    lists = [key for key in ("tables", "pairs", "columns", "among", "measures") if key in arguments]
    if wrong := [key for key in lists if not isinstance(arguments[key], list)]:
        raise UserError(f"{place}: {wrong[0]}: must be a list")
    if not all(isinstance(name, str) for name in arguments["tables"]):
        raise UserError(f'{place}: tables: must be texts, such as ["4"]')
    pairs = arguments.get("pairs", [])
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise UserError(f"{place}: pairs: must be a list of pairs, such as [[LLS, LS]]")
    tables = [load_table(name) for name in arguments["tables"]]
    named = [arguments[key] for key in ("row", "rival") if key in arguments]
    named += [*arguments.get("among", []), *(row for pair in pairs for row in pair)]
    measures = [*arguments.get("measures", []), *([arguments["measure"]] if "measure" in arguments else [])]
    for kind, names, known in (
        ("row", named, {row.name for table in tables for row in table.rows}),
        ("column", arguments.get("columns", []), {column.name for table in tables for column in table.columns}),
        ("measure", measures, {*MEASURES}),
    ):
        for name in names:
            if name not in known:
                hint = did_you_mean(str(name), sorted(known))
                raise UserError(f"{place}: no such {kind}: {name}{hint} (there are: {', '.join(sorted(known))})")


def _tests(module: str) -> list[str]:
    """Return the public functions of a module that take `Results`."""
    members = inspect.getmembers(importlib.import_module(f"lls.paper.claims.{module}"), inspect.isfunction)
    public = {name: member for name, member in members if not name.startswith("_")}
    return [name for name, member in public.items() if "results" in inspect.signature(member).parameters]
