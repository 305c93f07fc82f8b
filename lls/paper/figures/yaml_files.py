"""The yaml files that declare figures, configs/figure/NAME.yaml: rows x columns of overrides.

title: Penultimate features
drawing: clusters                   # the module of lls/paper/figures/ that draws it
needs: [last.pt]                    # files of a run without which it cannot be drawn; of `A or B`, one is enough
partial_needs: [clusters.json]      # files that are enough for a part of a panel; default: none
across: 3                           # panels side by side; default: the number of columns
rows:
  - name: CIFAR-10
    run: {dataset: cifar10, network: alexnet}
    seeds: [0, 1, 2]                # one run per seed; default: one run
    classes: [cat, dog, truck]      # the classes that are shown; default: all
columns:                            # default: one, without overrides
  - {name: LS, run: {method: ls}}   # merged over the row's overrides
"""

from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lls.config.assemble import CONFIGS
from lls.config.compose import did_you_mean
from lls.errors import UserError, one_line
from lls.paper.declared import Shape, check_entry, is_mapping, is_text, list_of

FOLDER = CONFIGS / "figure"
# the keys that are required, and the others
KEYS_OF_FIGURE = {"title", "drawing", "needs", "rows"}, {"partial_needs", "across", "columns"}
KEYS_OF_ENTRIES = {"rows": ({"name", "run"}, {"seeds", "classes"}), "columns": ({"name", "run"}, set())}
CLASSES_OF_DRAWINGS = {"q_epochs": 1, "trios": 3, "projection": 3}  # of each row
FULL_ROWS = {"projection", "reliability", "trios"}  # drawings without a place for a row of fewer panels


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


TEXT = is_text, "a text"
FILES = list_of(is_text, empty=True), "a list of files, such as [last.pt]"
# Key of the file, or of an entry in it -> a test of the value, and the requirement in words.
SHAPES: dict[str, Shape] = {
    **dict.fromkeys(("title", "drawing"), TEXT),
    **dict.fromkeys(("needs", "partial_needs"), FILES),
    **dict.fromkeys(("rows", "columns"), (list_of(is_mapping), "a list of entries, such as - {name: ..., run: ...}")),
    "across": (lambda value: _is_whole_number(value) and value > 0, "a whole number from 1 on"),
    "name": (lambda value: isinstance(value, str | int | float), "a text or a number"),
    "run": (is_mapping, "overrides, such as {method: ls, train.milestones: [4]}"),
    "seeds": (list_of(_is_whole_number), "a list of whole numbers, such as [0, 1, 2]"),
    "classes": (list_of(is_text), "a list of texts, such as [cat, dog]"),
}


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the declared figures: the numbers of the paper's in ascending order, then the others."""
    stems = [path.stem for path in folder.glob("*.yaml")]
    return sorted(stems, key=lambda stem: (not stem.isdigit(), int(stem) if stem.isdigit() else 0, stem))


def drawings() -> list[str]:
    """Return the modules of this package that draw a figure, which have a function `draw(figure: Figure) -> Drawing`.

    They are not imported, because that takes long."""
    modules = Path(__file__).parent.glob("*.py")
    return sorted(
        path.stem for path in modules if "\ndef draw(figure: Figure) -> Drawing:\n" in path.read_text("utf-8")
    )


def read(name: str, folder: Path = FOLDER) -> dict:
    """Read the yaml file of a figure. Raises UserError for a missing file, and for keys or values that are wrong."""
    path, known = folder / f"{name}.yaml", names(folder)
    if name not in known:
        raise UserError(f"figure {name}: not declared{did_you_mean(name, known)} (there are: {', '.join(known)})")
    place = f"{path.relative_to(CONFIGS.parent) if path.is_relative_to(CONFIGS.parent) else path}"
    try:
        declared = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{place}: {one_line(error)}") from None
    if not isinstance(declared, dict):
        raise UserError(f"{place}: must have the keys {', '.join(sorted(KEYS_OF_FIGURE[0]))}")
    check_entry(place, declared, *KEYS_OF_FIGURE, SHAPES)
    for kind, keys in KEYS_OF_ENTRIES.items():
        for entry in declared.get(kind, []):
            check_entry(f"{place}: {kind}", entry, *keys, SHAPES)
    _check_values(place, declared)
    return declared


def _check_values(place: str, declared: dict) -> None:
    """Check that the drawing exists, and that the rows and columns fit it."""
    drawing, rows, columns = declared["drawing"], declared["rows"], declared.get("columns", [{}])
    if drawing not in (known := drawings()):
        hint = did_you_mean(drawing, known)
        raise UserError(f"{place}: drawing: no such drawing: {drawing}{hint} (there are: {', '.join(known)})")
    count = CLASSES_OF_DRAWINGS.get(drawing)
    for row in rows:
        if "dataset" not in row["run"]:
            raise UserError(f"{place}: rows: run: {row['name']} has no dataset")
        if count and len(row.get("classes", [])) != count:
            classes = "one class" if count == 1 else f"{count} classes"
            raise UserError(f"{place}: rows: classes: {drawing} needs {classes} in each row")
    panels = len(columns) * sum(len(row.get("seeds", [0])) for row in rows)
    across = declared.get("across", len(columns))
    if drawing == "confusion" and panels > 1:
        raise UserError(f"{place}: confusion draws one run, not {panels}")
    if (drawing == "clusters" and panels != across) or (drawing in FULL_ROWS and panels % across):
        rows_drawn = "one row" if drawing == "clusters" else "full rows"
        raise UserError(f"{place}: across: {drawing} draws {rows_drawn}, and there are {panels} panels")
