"""A table as Markdown, CSV and LaTeX: ours beside the paper's. The same results give the same bytes."""

import csv
import io
from collections.abc import Callable
from typing import NamedTuple

from lls.paper.tables.declaration import PAPER, Table, heading
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.values import Difference, Finished, Value, differences, table_values
from lls.runs.schema import NOT_RECORDED

NOT_RUN, MISSING_VALUE = "·", "–"
Values = dict[tuple[str, str], Value]
Emphasis = Callable[[str, int | None], str]  # a text and its rank in its column


class Rendered(NamedTuple):
    md: str
    csv: str
    tex: str


def render(table: Table, finished: Finished) -> Rendered:
    """The table of what `finished` knows."""
    values = table_values(table, finished)
    return Rendered(_markdown(table, values), _csv(table, values), _tex(table, values))


def title(table: Table) -> str:
    """Its number, what differs from the paper's set-up, and what it is about."""
    number = table.name.partition("-")[0]
    words = f"Table {number}" if number in PAPER else number.capitalize()
    if table.overrides:
        words += f" with {', '.join(table.overrides)}"
    return f"{'SMOKE, no results: ' if table.smoke else ''}{words}: {table.title}"


def facts(table: Table, values: Values) -> str:
    """Metric, budget, seeds and commits, in one line."""
    metrics = "; ".join(METRICS[name].words for name in dict.fromkeys(column.metric for column in table.columns))
    runs = [run for cell in table.cells.values() for run in cell.runs]
    budgets = ", ".join(f"{budget:g}" for budget in sorted({run.cfg.budget for run in runs}))
    commits = ", ".join(sorted({commit for value in values.values() for commit in value.commits}))
    seeds = ", ".join(map(str, table.seeds))
    said = [metrics, f"budget {budgets}", f"seeds {seeds}", f"commits {commits or 'none yet'}"]
    if timed := [run for cell in table.cells.values() if cell.metric == "minutes" for run in cell.runs]:
        from lls.paper.tables.timing import device

        devices = sorted({where for run in timed if (where := device(run))})
        said[-1] = f"timed on {'; '.join(devices) or 'nothing yet'}"
    return " · ".join(said)


def format_cell(value: Value, digits: int, counted: bool = True) -> str:
    """`ours ± std (n/N)`; `diverged (n/N)` where a run has; a dot where none is done."""
    if value.diverged:
        return f"diverged ({value.diverged}/{value.planned})"
    if not value.values:
        return f"{NOT_RECORDED} ({value.unrecorded}/{value.planned})" if value.unrecorded else NOT_RUN
    spread = "" if value.spread is None else f" ± {value.spread:,.{digits}f}"
    counted = f" ({len(value.values)}/{value.planned})" if counted else ""
    return f"{value.mean:,.{digits}f}{spread}{counted}"


def ranks(table: Table, values: Values) -> dict[tuple[str, str], int]:
    """1 for the best of ours in a column and 2 for the second, as they are printed; none where all are equal."""
    found = {}
    for column in table.columns:
        metric = METRICS[column.metric]
        means = {
            row.name: round(values[row.name, column.name].mean, metric.digits)
            for row in table.rows
            if values[row.name, column.name].values
        }
        ordered = (
            sorted(set(means.values()), reverse=not metric.lower)[:2]
            if metric.of_runs and len(set(means.values())) > 1
            else []
        )
        for row, value in means.items():
            if value in ordered:
                found[row, column.name] = ordered.index(value) + 1
    return found


def _grid(table: Table, values: Values, emphasis: Emphasis, mark: Callable[[str], str]) -> list[list[str]]:
    """Header and rows of texts `ours / paper`, with the marks of the footnotes."""
    rank, cited = ranks(table, values), _cited(table)

    def noted(row: str | None, column: str | None) -> str:
        return "".join(
            mark(str(number)) for number, note in cited if (note.get("row"), note.get("column")) == (row, column)
        )

    elsewhere = any(text.startswith("dataset=") for text in table.overrides)  # no cell has a number of the paper's
    grid = [["", *(heading(table, column.name) + noted(None, column.name) for column in table.columns)]]
    for row in table.rows:
        line = [row.name + noted(row.name, None)]
        for column in table.columns:
            key = row.name, column.name
            cell, metric = table.cells[key], METRICS[column.metric]
            text = emphasis(format_cell(values[key], metric.digits, metric.of_runs), rank.get(key))
            if cell.paper is None and row.paper is not None and text == NOT_RUN and not elsewhere:
                text = MISSING_VALUE
            elif row.paper is not None:
                paper = f"{int(cell.paper):,}" if cell.paper and cell.paper.isdigit() else cell.paper or MISSING_VALUE
                text += f" / {paper}{f' ± {cell.spread}' if cell.spread else ''}"
            line.append(text + noted(row.name, column.name))
        grid.append(line)
    return grid


def _cited(table: Table) -> list[tuple[int, dict[str, str]]]:
    """The footnotes of rows, columns and cells that are there, numbered."""
    names = {row.name for row in table.rows} | {None}, {column.name for column in table.columns} | {None}
    there = [
        note
        for note in table.footnotes
        if ("row" in note or "column" in note) and note.get("row") in names[0] and note.get("column") in names[1]
    ]
    return list(enumerate(there, 1))


def _general(table: Table) -> list[str]:
    return [note["text"] for note in table.footnotes if "row" not in note and "column" not in note]


def _markdown(table: Table, values: Values) -> str:
    def emphasis(text: str, rank: int | None) -> str:
        return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank, text)

    grid = _grid(table, values, emphasis, lambda number: f"<sup>{number}</sup>")
    legend = "Ours: mean ± sample standard deviation (runs done / planned)"
    legend += ", then the paper's number." if table.rows[0].paper is not None else "."
    lines = [f"# {title(table)}", "", facts(table, values), "", *_md_table(grid), ""]
    lines += [f"{legend} **Best** and <u>second</u> are of ours; {NOT_RUN} is not run, – not in the paper.", ""]
    lines += [f"<sup>{number}</sup> {note['text']}  " for number, note in _cited(table)]
    lines += [f"{text}  " for text in _general(table)]
    if found := differences(table, values):
        lines += ["", *_differences(table, found)]
    return "\n".join(lines).rstrip() + "\n"


def _md_table(grid: list[list[str]]) -> list[str]:
    rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in grid]
    return [rows[0], "|---" * len(grid[0]) + "|", *rows[1:]]


def _differences(table: Table, found: list[Difference]) -> list[str]:
    """Ours minus each rival as a Markdown table."""
    metrics = {column.name: METRICS[column.metric] for column in table.columns}
    columns = [column.name for column in table.columns if any(d.column == column.name for d in found)]
    runs = any(metric.of_runs for metric in metrics.values())
    by_pair: dict[tuple[str, str], dict[str, str]] = {}
    for d in found:
        metric = metrics[d.column]
        text = f"{d.mean:+,.{metric.digits}f}"
        if d.ci_halfwidth is not None:
            low, high = (f"{d.mean + sign * d.ci_halfwidth:+,.{metric.digits}f}" for sign in (-1, 1))
            text += f" [{low}, {high}]"
        text = f"{text} (n={d.pairs})" if metric.of_runs else f"{text} ({d.percent:+.2f} %)"
        by_pair.setdefault((d.row, d.rival), {})[d.column] = text.replace("-", "−")
    head = "Paired difference over the seeds that both have" if runs else "Difference, of minutes over paired steps"
    if all(d.ci_halfwidth is None for d in found):
        head += "; with one seed there is no interval." if runs else "."
    else:
        head += ", with the 95 % confidence interval of its mean (Student's t); n=1 has none."
    grid = [["", *(heading(table, column) for column in columns)]]
    grid += [
        [f"{row} − {rival}", *(texts.get(c, MISSING_VALUE) for c in columns)] for (row, rival), texts in by_pair.items()
    ]
    return [head, "", *_md_table(grid)]


def _csv(table: Table, values: Values) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["row", "column", "metric", "mean", "std", "n", "diverged", "planned"]
    head += ["best_epoch_mean", "paper", "paper_std"]
    writer.writerow([*head, "budget", "seeds", "runs"])
    for (row, column), cell in table.cells.items():
        value, digits = values[row, column], METRICS[cell.metric].digits + 2
        ours = [f"{value.mean:.{digits}f}" if value.values else ""]
        ours += ["" if value.spread is None else f"{value.spread:.{digits}f}"]
        ours += [len(value.values), value.diverged, value.planned]
        best = f"{sum(value.best) / len(value.best):.{digits}f}" if value.best else ""
        runs = " ".join(run.id for run in cell.runs) if METRICS[cell.metric].of_runs else ""
        budget = " ".join(sorted({f"{run.cfg.budget:g}" for run in cell.runs}))
        seeds = " ".join(map(str, value.values))
        writer.writerow([row, column, cell.metric, *ours, best, cell.paper, cell.spread, budget, seeds, runs])
    return out.getvalue()


def _tex(table: Table, values: Values) -> str:
    """A tabular of booktabs, to be \\input."""
    marks = {1: "\x01", 2: "\x02"}  # escaped with the text, then replaced

    def emphasis(text: str, rank: int | None) -> str:
        return f"{marks[rank]}{text}\x03" if rank else text

    grid = _grid(table, values, emphasis, lambda number: f"\x04{number}\x03")
    body = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in grid]
    notes = [rf"\textsuperscript{{{number}}} {_escaped(note['text'])}" for number, note in _cited(table)]
    lines = [f"% {title(table)}", f"% {facts(table, values)}", rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}"]
    lines += [r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}"]
    return (
        "\n".join([*lines, *(rf"\par\footnotesize {note}" for note in [*notes, *map(_escaped, _general(table))])])
        + "\n"
    )


TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "→": r"$\to$"}
TEX |= {"·": r"$\cdot$", "–": "--", "−": "$-$", "½": r"$\frac12$", "α": r"$\alpha$"}
TEX |= {"\x01": r"\textbf{", "\x02": r"\underline{", "\x03": "}", "\x04": r"\textsuperscript{"}


def _escaped(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)
