"""The report: one HTML page with claims, tables, figures, learned Q matrices and the curves of all finished runs.

The page opens from disk and needs neither a network nor a framework. Its template is page.html, page.css and the
scripts; the data are embedded as JSON.
"""

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path

from lls.files import write_atomic
from lls.paper.claims import JudgedClaim
from lls.paper.claims.render import judged_claims, reason, short_runs_label
from lls.paper.figures import names as figure_names
from lls.paper.results import differences
from lls.runs.find import all_runs
from lls.runs.run import Run

HERE = Path(__file__).parent
SCRIPTS = ("elements.js", "results.js", "matrices.js", "runs.js")  # in the order that they need each other
CURVES = ("top1", "nll", "loss", "lr")


def write(output: Path) -> Path:
    """Write <output>/report.html and return its path."""
    path = output / "report.html"
    write_atomic(path, lambda temporary: temporary.write_text(page(output), encoding="utf-8"))
    return path


def page(output: Path) -> str:
    """Return the page as HTML, made from the runs, tables and figures under `output`."""
    runs = [run for run in all_runs(output) if run.result is not None]
    full, short = judged_claims(output)
    data = {
        "claims": [_claim(judged) for judged in full],
        "short": [_claim(judged) for judged in short],
        "tables": [
            {"name": path.stem, "html": markdown_html(path.read_text())} for path in _in_order(output / "tables", "md")
        ],
        "figures": [_figure(path) for path in _in_order(output / "figures", "png")],
        "matrices": [_matrix(run) for run in runs if run.has("q.safetensors")],
        "runs": [_run(run) for run in runs],
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    script = "\n".join((HERE / name).read_text() for name in SCRIPTS)
    parts = {"style": (HERE / "page.css").read_text(), "script": script, "data": text}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], (HERE / "page.html").read_text())


def _in_order(folder: Path, suffix: str) -> list[Path]:
    """Return the tables or figures of a folder: those of the paper first, in its order.

    An image whose name does not start with that of a declared figure is left out."""
    numbers = {path: re.match(r"\d+(?=$|-)", path.stem) for path in folder.glob(f"*.{suffix}")}
    declared = re.compile(f"({'|'.join(figure_names())})($|-)")
    paths = [path for path in numbers if suffix == "md" or declared.match(path.stem)]
    return sorted(paths, key=lambda path: (int(numbers[path][0]) if numbers[path] else 999, path.stem))


def _claim(judged: JudgedClaim) -> dict:
    claim = judged.claim
    keys = {"says": claim.says, "where": claim.where, "paper": claim.paper, "ours": judged.evidence.measured}
    keys |= {"verdict": judged.verdict.label, "why": reason(judged)}
    return keys | {"short": claim.short and short_runs_label(claim)}


def _figure(path: Path) -> dict:
    from PIL import Image

    with Image.open(path) as image:
        metadata, (width, height) = dict(image.text), image.size
    return {
        "title": metadata.get("Title", path.stem),
        "runs": metadata.get("Description", "").split(),
        "width": width,
        "height": height,
        "src": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
    }


def _matrix(run: Run) -> dict:
    """Encode softmax(Q) row by row: steps of 1/65535 as little-endian uint16, in base64."""
    import numpy as np

    from lls.qmatrix import load_q

    q = load_q(run.folder / "q.safetensors")
    steps = np.rint(q.logits.double().softmax(-1).numpy() * 65535).astype("<u2")
    return {"id": run.id, "classes": q.classes, "values": base64.b64encode(steps.tobytes()).decode()}


def _run(run: Run) -> dict:
    cfg, result = run.cfg, run.result
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "id": run.id,
        "dataset": cfg.dataset.name,
        "network": cfg.network.name,
        "method": " ".join([cfg.method.name, *differences(cfg)]),
        "seed": cfg.seed,
        "budget": cfg.budget,
        "top1": result.get("top1"),
        "epochs": result.get("epochs"),
        "curves": {name: [_round(row[name]) for row in rows] for name in CURVES},
    }


def _round(value: float) -> float:
    return float(f"{value:.5g}")


def markdown_html(text: str) -> str:
    """Convert the Markdown of the rendered tables to HTML.

    It knows headings, paragraphs, pipe tables, bold, code, links, and the tags <u>, <sub>, <sup> and <br>."""
    blocks = re.split(r"\n{2,}", text.strip())
    return "\n".join(_block(block.splitlines()) for block in blocks)


def _block(lines: list[str]) -> str:
    if heading := re.match(r"(#+) (.*)", lines[0]):
        return f"<h3>{_inline(heading[2])}</h3>" + ("\n" + _block(lines[1:]) if lines[1:] else "")
    if not lines[0].startswith("|"):
        return f"<p>{_inline(' '.join(lines))}</p>"
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    head, *body = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    return f'<div class="wide"><table><thead>{_row(head, "th")}</thead><tbody>{_rows(body)}</tbody></table></div>'


def _rows(rows: Iterable[list[str]]) -> str:
    return "".join(_row(row, "td") for row in rows)


def _row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    safe = html.escape(text.replace("\\|", "|"), quote=False)
    safe = re.sub(r"&lt;(/?(?:u|sub|sup|br))&gt;", r"<\1>", safe)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", safe)  # links point into the repository, not this page
