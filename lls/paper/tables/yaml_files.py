"""The yaml files that declare tables, configs/table/NAME.yaml: rows x columns of overrides, with the paper's numbers.

    title: classification from scratch  # names no column and no row, since overrides can leave them out
    metric: top1                        # a key of METRICS in metrics.py; a column may have its own
    seeds: [0]                          # a column may have others
    columns:
      - {name: CIFAR100 R18, seeds: [0, 1, 2], run: {dataset: cifar100, network: resnet18}}
    rows:
      - name: Zipf
        run: {method: zipf}             # merged over the column's overrides
        when: {dataset=tinyimagenet: {method.lam: 1.0}}        # merged where the cell has this override
        paper: [77.38]                  # one text per column: `77.38`, `79.98±0.17`, or `-` where the paper has none
        separate_spread: true           # the spread between seeds of this row is not pooled with that of other rows,
                                        # because its network does not converge; default: false
    other_setup:                        # numbers that the paper took from elsewhere, with a † in the table
      - {rows: [Zipf], columns: [CIFAR100 R18], source: the README of Zipf's repository}
    compare: {LLS: [1-Hot]}             # rows and their rivals; default: LLS against all others
    footnotes:
      - {row: Zipf, column: CIFAR100 R18, text: ...}           # of a cell; of a row, a column or the table if left out

A variant has `of: "3"` and `overrides: [...]`: overrides of the runs, and seeds=, columns= and rows=, as on the command
line. seeds= replaces the seeds of all columns. Numbers are read as text, so that 89.40 stays 89.40. The values in `run`
and `when` are yaml: train.milestones: [4], dataset.root: /data/my images.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError, one_line
from lls.paper.declared import Shape, check_entry, is_mapping, is_text, list_of
from lls.paper.tables.metrics import METRICS
from lls.runs.summary import format_count

FOLDER = CONFIGS / "table"
# the keys that are required, and the others
KEYS_OF_TABLE = {"title", "metric", "seeds", "columns", "rows"}, {"compare", "footnotes", "other_setup"}
KEYS_OF_VARIANT = {"of", "overrides"}, {"title", "footnotes"}
PAPER_NUMBER = r"-|\d+(\.\d+)?( ?± ?\d+(\.\d+)?)?"
KEYS_OF_ENTRIES = {
    "columns": ({"name"}, {"metric", "seeds", "run"}),
    "rows": ({"name"}, {"run", "when", "paper", "separate_spread"}),
    "footnotes": ({"text"}, {"row", "column"}),
    "other_setup": ({"rows", "columns", "source"}, set()),
}

is_texts = list_of(is_text, empty=True)
TEXT = is_text, "a text"
# Key of the file, or of an entry in it -> a test of the value, and the requirement in words.
SHAPES: dict[str, Shape] = {
    **dict.fromkeys(("rows", "columns"), (is_texts, "a list of texts")),
    **dict.fromkeys(("title", "metric", "of", "name", "text", "source", "row", "column"), TEXT),
    "overrides": (is_texts, "a list, such as [budget=0.05, seeds=0]"),
    "seeds": (
        lambda value: is_texts(value) and bool(value) and all(map(str.isdigit, value)),
        "a list of whole numbers, such as [0, 1, 2]",
    ),
    "run": (
        lambda value: is_mapping(value) and "seed" not in value,
        "overrides without seed, such as {method: ls, train.milestones: [4]}; seeds: has the seeds",
    ),
    "when": (
        lambda value: is_mapping(value) and all(map(is_mapping, value.values())),
        "overrides by condition, such as {dataset=tinyimagenet: {method.lam: 1.0}}",
    ),
    "separate_spread": (lambda value: value in ("true", "false"), "true or false"),
    "paper": (
        lambda value: is_texts(value) and all(re.fullmatch(PAPER_NUMBER, text) for text in value),
        "a list of numbers such as 81.56, 81.56±0.23, or - for none",
    ),
    "compare": (
        lambda value: is_mapping(value) and all(map(is_texts, value.values())),
        "a row and a list of its rivals, such as {LLS: [1-Hot]}",
    ),
}
# Of the file alone, whose rows and columns are entries.
ENTRIES: dict[str, Shape] = {
    kind: (list_of(is_mapping, empty=True), f"a list of entries, such as - {{{next(iter(required))}: ...}}")
    for kind, (required, _) in KEYS_OF_ENTRIES.items()
}


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all declared tables, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


@cache
def read(name: str, folder: Path = FOLDER) -> dict:
    """Read the yaml file of a table. Raises UserError for a missing file, and for keys or values that are wrong."""
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = names(folder)
        raise UserError(f"{name}: no such table{did_you_mean(name, known)} (there are: {', '.join(known)})")
    shown = path.relative_to(CONFIGS.parent) if path.is_relative_to(CONFIGS.parent) else path
    try:
        with open(path, encoding="utf-8") as file:
            declared = yaml.load(file, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{shown}: {one_line(error)}") from None
    if not isinstance(declared, dict):
        raise UserError(f"{shown}: must have the keys {', '.join(sorted(KEYS_OF_TABLE[0]))}")
    check_entry(f"{shown}", declared, *(KEYS_OF_VARIANT if "of" in declared else KEYS_OF_TABLE), SHAPES | ENTRIES)
    for kind, keys in KEYS_OF_ENTRIES.items():
        for entry in declared.get(kind, []):
            check_entry(f"{shown}: {kind}", entry, *keys, SHAPES)
    if "of" not in declared:
        _check_values(f"{shown}", declared)
    return declared


def _check_values(place: str, declared: dict) -> None:
    names = {kind: [entry["name"] for entry in declared[kind]] for kind in ("columns", "rows")}
    for row in declared["rows"]:
        if "paper" in row and len(row["paper"]) != len(names["columns"]):
            numbers = f"{format_count(len(row['paper']), 'number')} of the paper"
            numbers += f" for {format_count(len(names['columns']), 'column')}"
            raise UserError(f"{place}: row {row['name']} has {numbers}; write - where the paper has none")
    for kind, known in names.items():
        if not known or len(set(known)) < len(known):
            problem = f"two {kind} have the same name; rename one" if known else f"has no {kind}"
            raise UserError(f"{place}: {problem}")
    for key, kind, name in _named(declared):
        if name not in names[kind]:
            hint = did_you_mean(name, names[kind])
            raise UserError(f"{place}: {key}: no {kind[:-1]} {name}{hint}")
    for metric in (column.get("metric", declared["metric"]) for column in declared["columns"]):
        if metric not in METRICS:
            hint = did_you_mean(metric, METRICS)
            raise UserError(f"{place}: no such metric: {metric}{hint} (there are: {', '.join(METRICS)})")


def _named(declared: dict) -> Iterator[tuple[str, str, str]]:
    """Yield each name of a row or a column that other_setup, compare and footnotes mention: key, kind, name."""
    for entry in declared.get("other_setup", []):
        yield from (("other_setup", kind, name) for kind in ("columns", "rows") for name in entry[kind])
    for row, rivals in declared.get("compare", {}).items():
        yield from (("compare", "rows", name) for name in (row, *rivals))
    for note in declared.get("footnotes", []):
        yield from (("footnotes", f"{kind}s", note[kind]) for kind in ("column", "row") if kind in note)
