"""One self-contained HTML page of everything that there is: claims, tables, figures, the learned Q, every run's curves.

It opens from disk: no network, no framework. page.html, page.css and page.js are put together with the data as JSON.
"""

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path

from lls.files import write_atomic
from lls.paper.claims import JudgedClaim
from lls.paper.claims.render import judged_claims, short_runs_label
from lls.paper.results import differences
from lls.runs.find import all_runs
from lls.runs.run import Run

HERE = Path(__file__).parent
CURVES = ("top1", "nll", "loss", "lr")


def write(output: Path) -> Path:
    """Write <output>/report.html and return its path."""
    path = output / "report.html"
    write_atomic(path, lambda temporary: temporary.write_text(page(output), encoding="utf-8"))
    return path


def page(output: Path) -> str:
    """The page, of the runs, tables and figures under `output`."""
    runs = [run for run in all_runs(output) if run.result is not None]
    full, short = judged_claims(output)
    data = {
        "claims": [_claim(d) for d in full],
        "short": [_claim(d) for d in short],
        "tables": [
            {"name": path.stem, "html": markdown_html(path.read_text())} for path in _in_order(output / "tables", "md")
        ],
        "figures": [_figure(path) for path in _in_order(output / "figures", "png")],
        "matrices": [_matrix(run) for run in runs if run.has("q.safetensors")],
        "runs": [_run(run) for run in runs],
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    parts = {"style": (HERE / "page.css").read_text(), "script": (HERE / "page.js").read_text(), "data": text}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (HERE / "page.html").read_text())


def _in_order(folder: Path, suffix: str) -> list[Path]:
    """The tables or figures of a folder, the paper's first and in its order; files that are neither are left out."""
    numbered = {path: re.match(r"\d+(?=$|-)", path.stem) for path in folder.glob(f"*.{suffix}")}
    found = [path for path, number in numbered.items() if number or suffix == "md"]
    return sorted(found, key=lambda path: (int(numbered[path][0]) if numbered[path] else 999, path.stem))


def _claim(of: JudgedClaim) -> dict:
    claim, evidence, verdict = of
    keys = {"says": claim.says, "where": claim.where, "paper": claim.paper, "ours": evidence.ours}
    return keys | {"verdict": verdict.word, "why": verdict.why, "short": claim.short and short_runs_label(claim)}


def _figure(path: Path) -> dict:
    from PIL import Image

    with Image.open(path) as image:
        about, (width, height) = dict(image.text), image.size
    title = about.get("Title", path.stem)
    shown = {"title": title, "runs": about.get("Description", "").split(), "width": width, "height": height}
    return shown | {"src": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()}


def _matrix(run: Run) -> dict:
    """softmax(Q) in steps of 1/65535, row by row, as base64 of little-endian uint16."""
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
        "curves": {name: [_short(row[name]) for row in rows] for name in CURVES},
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def markdown_html(text: str) -> str:
    """HTML of the Markdown that our tables are in: headings, paragraphs, pipe tables, bold, <u>, code, links."""
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
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", safe)  # links lead into the repository, not into this page
