"""The report: one HTML page with claims, tables, figures, learned Q matrices and the curves of all ended runs.

The page opens from disk and needs neither a network nor a framework. Jinja2 fills the template page.html and escapes
all texts. The scripts draw the curves and the matrices from data that are embedded as JSON.
"""

import base64
import re
from collections.abc import Collection
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lls.files import write_atomic
from lls.paper.claims import JudgedClaim
from lls.paper.claims.evidence import in_output
from lls.paper.claims.render import LABELS, answer, judged_claims, reason, short_runs_label
from lls.paper.report.runs import anchor, matrix_data, run_data, run_groups
from lls.paper.report.tables import table_html
from lls.paper.results import paper_accuracies
from lls.paper.tables.write import result_or_failure
from lls.runs.find import all_runs

HERE = Path(__file__).parent
SCRIPTS = ("elements.js", "matrices.js", "runs.js")  # in the order that they need each other


def write(output: Path) -> Path:
    """Write <output>/report.html and return its path."""
    path = output / "report.html"
    write_atomic(path, lambda temporary: temporary.write_text(page(output), encoding="utf-8"))
    return path


def page(output: Path) -> str:
    """Return the page as HTML, made from the runs, tables and figures under `output`."""
    runs = [run for run in all_runs(output) if run.ended]
    groups, ids = run_groups(runs), {run.id for run in runs}
    matrices = [matrix_data(run) for run in runs if run.result is not None and run.has("q.safetensors")]
    figures = [figure for path in _in_order(output / "figures", "png") if (figure := _figure(path, ids))]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["anchor"] = anchor
    return environment.get_template("page.html").render(
        style=Markup((HERE / "page.css").read_text()),
        script=Markup("\n".join((HERE / name).read_text() for name in SCRIPTS)),
        tables=[(path.stem, table_html(path, ids)) for path in _in_order(output / "tables", "md")],
        figures=[figure for figure in figures if figure["runs"]],
        empty_figures=[figure["title"].partition(":")[0] for figure in figures if not figure["runs"]],
        groups=groups,
        counts={"runs": len(runs), "matrices": len(matrices), **_cells(output)},
        data={"matrices": matrices, **run_data(groups)},
        **_claims(output),
    )


def _in_order(folder: Path, suffix: str) -> list[Path]:
    """Return the tables or figures of a folder: those of the paper first, in its order.

    A figure that was drawn without its title is left out."""
    paths = [path for path in folder.glob(f"*.{suffix}") if not path.stem.startswith("no-title-")]
    numbers = {path: re.match(r"\d+(?=$|-)", path.stem) for path in paths}
    return sorted(numbers, key=lambda path: (int(numbers[path][0]) if numbers[path] else 999, path.stem))


def _cells(output: Path) -> dict[str, int]:
    """Count the paper's accuracies, and those for which `output` has a run at the full protocol."""
    values = [value for *_, value in paper_accuracies(lambda run: result_or_failure(in_output(output, run)))]
    return {"cells": len(values), "cells_with_runs": sum(bool(v.values or v.diverged) for v in values)}


def _claims(output: Path) -> dict[str, object]:
    full, short = judged_claims(output)
    by_name = {judged.claim.name: judged for judged in short}
    verdicts = {label: sum(judged.verdict.label == label for judged in full) for label in LABELS}
    return {"claims": [_claim(judged, by_name.get(judged.claim.name)) for judged in full], "verdicts": verdicts}


def _claim(judged: JudgedClaim, short: JudgedClaim | None) -> dict[str, object]:
    facts = {"paper": judged.claim.paper}
    if judged.evidence.measured:
        facts["ours"] = judged.evidence.measured
    if judged.verdict.label != "not yet run":
        facts["because"] = reason(judged)
    if short is not None:
        facts["short runs"] = f"{answer(short)}. Measured: {short.evidence.measured} ({short_runs_label(short.claim)})"
    return {"says": judged.claim.says, "where": judged.claim.where, "verdict": judged.verdict.label, "facts": facts}


def _figure(path: Path, ids: Collection[str]) -> dict[str, object] | None:
    """Return a figure's title, image and runs; None for an image that scripts/figures.py has not drawn.

    A run that is not in the report has no link."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            metadata, (width, height) = dict(image.text), image.size
    except OSError:  # no PNG
        return None
    if "Title" not in metadata:
        return None
    return {
        "title": metadata["Title"].replace("\n", "; "),
        "runs": [(id, id in ids) for id in metadata.get("Description", "").split()],
        "width": width,
        "height": height,
        "src": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
    }
