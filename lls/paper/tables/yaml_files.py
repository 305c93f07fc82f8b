"""The yaml files that declare tables, configs/table/NAME.yaml: rows x columns of overrides, with the paper's numbers.

    title: CIFAR-100 and Tiny-ImageNet
    metric: top1                        # a key of METRICS in metrics.py; a column may have its own
    seeds: [0]                          # a column may have its own
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
line. seeds= replaces the seeds of all columns. Values are read as text, so that 89.40 stays 89.40 and overrides are
what a user would type.
"""

from functools import cache
from pathlib import Path

import yaml

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError
from lls.paper.tables.metrics import METRICS

FOLDER = CONFIGS / "table"
# the keys that are required, and the others
TABLE_KEYS = {"title", "metric", "seeds", "columns", "rows"}, {"compare", "footnotes", "other_setup"}
VARIANT_KEYS = {"of", "overrides"}, {"title", "footnotes"}
ENTRY_KEYS = {
    "columns": ({"name"}, {"metric", "seeds", "run"}),
    "rows": ({"name"}, {"run", "when", "paper", "separate_spread"}),
    "footnotes": ({"text"}, {"row", "column"}),
    "other_setup": ({"rows", "columns", "source"}, set()),
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
    declared = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    shown = path.relative_to(CONFIGS.parent) if path.is_relative_to(CONFIGS.parent) else path
    _check_keys(f"{shown}", declared, *(VARIANT_KEYS if "of" in declared else TABLE_KEYS))
    if not isinstance(declared.get("overrides", []), list):
        raise UserError(f"{shown}: overrides: must be a list, such as [budget=0.05, seeds=0]")
    for kind, keys in ENTRY_KEYS.items():
        for entry in declared.get(kind, []):
            _check_keys(f"{shown}: {kind}", entry, *keys)
    if "of" not in declared:
        _check_values(name, declared)
    return declared


def _check_keys(place: str, declared: dict, required: set[str], optional: set[str]) -> None:
    known = required | optional
    if wrong := [*(declared.keys() - known), *(required - declared.keys())]:
        problem = "has no key" if wrong[0] in required else "no such key:"
        raise UserError(f"{place}: {problem} {wrong[0]}{did_you_mean(wrong[0], known)}")


def _check_values(table: str, declared: dict) -> None:
    names = {kind: [entry["name"] for entry in declared[kind]] for kind in ("columns", "rows")}
    for row in declared["rows"]:
        if "paper" in row and len(row["paper"]) != len(names["columns"]):
            numbers = f"{len(row['paper'])} numbers of the paper for {len(names['columns'])} columns"
            raise UserError(f"table {table}: row {row['name']} has {numbers}; write - where the paper has none")
    for kind, known in names.items():
        if len(set(known)) < len(known):
            raise UserError(f"table {table}: two {kind} have the same name; rename one")
        for word in (word for entry in declared.get("other_setup", []) for word in entry[kind]):
            if word not in known:
                raise UserError(f"table {table}: other_setup: {kind}: no such name: {word}{did_you_mean(word, known)}")
    for metric in (column.get("metric", declared["metric"]) for column in declared["columns"]):
        if metric not in METRICS:
            hint = did_you_mean(metric, METRICS)
            raise UserError(f"table {table}: no such metric: {metric}{hint} (there are: {', '.join(METRICS)})")
