"""A table as Markdown, CSV and LaTeX: our numbers beside the paper's. The same results give the same bytes."""

import csv
import io
from typing import NamedTuple

from lls.paper.markdown import markdown_table
from lls.paper.tables import latex
from lls.paper.tables.agreement import Values, paper_inside
from lls.paper.tables.declaration import PAPER, Table, heading
from lls.paper.tables.grid import MISSING_VALUE, NOT_RUN, general_notes, grid, numbered_notes
from lls.paper.tables.metrics import METRICS
from lls.paper.tables.values import Difference, ResultLookup, differences, table_values


class Rendered(NamedTuple):
    md: str
    csv: str
    tex: str


def render(table: Table, lookup: ResultLookup) -> Rendered:
    """Render a table from the results that `lookup` returns for its runs."""
    values = table_values(table, lookup)
    inside = paper_inside(table, values, lookup)
    values = {key: value._replace(paper_inside=inside.get(key)) for key, value in values.items()}
    return Rendered(_markdown(table, values), _csv(table, values), _tex(table, values))


def title(table: Table) -> str:
    """Return a table's number, its overrides of the paper's set-up, and its title."""
    number = table.name.partition("-")[0]
    words = f"Table {number}" if number in PAPER else number.capitalize()
    if table.overrides:
        words += f" with {', '.join(table.overrides)}"
    return f"{'SMOKE, no results: ' if table.smoke else ''}{words}: {table.title}"


def facts(table: Table, values: Values) -> str:
    """Return one line with metrics, budget, seeds and commits; for minutes, the device in place of the commits.

    Where the paper's numbers are compared with our prediction intervals, it counts those that are inside."""
    metrics = "; ".join(METRICS[name].words for name in dict.fromkeys(column.metric for column in table.columns))
    runs = [run for cell in table.cells.values() for run in cell.runs]
    budgets = ", ".join(f"{budget:g}" for budget in sorted({run.cfg.budget for run in runs}))
    commits = ", ".join(sorted({commit for value in values.values() for commit in value.commits}))
    origin = f"commits {commits}" if commits else "no finished runs yet"
    if timed := [run for cell in table.cells.values() if cell.metric == "minutes" for run in cell.runs]:
        from lls.paper.tables.timing import timed_on

        devices = sorted({device for run in timed if (device := timed_on(run))})
        origin = f"timed on {'; '.join(devices)}" if devices else "not timed yet"
    line = [metrics, f"budget {budgets}", f"seeds {_seeds(table)}", origin]
    if inside := [value.paper_inside for value in values.values() if value.paper_inside is not None]:
        counted = f"{sum(inside)} of {len(inside)} cell{'s' if len(inside) > 1 else ''}"
        line.append(f"the paper's number is inside our 95 % prediction interval in {counted}")
    return " · ".join(line)


def _seeds(table: Table) -> str:
    """Return the seeds that most columns have; and, in parentheses, the columns with others."""
    names: dict[str, list[str]] = {}
    for column in table.columns:
        names.setdefault(", ".join(map(str, column.seeds)), []).append(column.name)
    usual = max(names, key=lambda seeds: len(names[seeds]))
    others = [f"{', '.join(columns)}: {seeds}" for seeds, columns in names.items() if seeds != usual]
    return f"{usual} ({'; '.join(others)})" if others else usual


def _markdown(table: Table, values: Values) -> str:
    def emphasis(text: str, rank: int | None) -> str:
        return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank, text)

    cells = grid(table, values, emphasis, lambda number: f"<sup>{number}</sup>")
    legend = "A cell shows our mean ± sample standard deviation (runs done / runs planned)"
    legend += ", then the paper's number." if table.rows[0].paper is not None else "."
    legend += " The **best** and the <u>second best</u> of our means are marked."
    lines = [f"# {title(table)}", "", facts(table, values), "", *markdown_table(cells[0], cells[1:]), ""]
    lines += [f"{legend} {NOT_RUN}: not run. {MISSING_VALUE}: not in the paper.", ""]
    lines += [f"<sup>{number}</sup> {note['text']}  " for number, note in numbered_notes(table)]
    lines += [f"{text}  " for text in general_notes(table, values)]
    if compared := differences(table, values):
        lines += ["", *_markdown_differences(table, compared)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_differences(table: Table, compared: list[Difference]) -> list[str]:
    """Return a Markdown table of differences: one line per pair of rows, with a line above it that explains them."""
    metrics = {column.name: METRICS[column.metric] for column in table.columns}
    columns = [column.name for column in table.columns if any(d.column == column.name for d in compared)]
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for d in compared:
        metric = metrics[d.column]
        text = f"{d.mean:+,.{metric.digits}f}"
        if d.ci_halfwidth is not None:
            low, high = (f"{d.mean + sign * d.ci_halfwidth:+,.{metric.digits}f}" for sign in (-1, 1))
            text += f" [{low}, {high}]"
        text = f"{text} (n={d.pairs})" if metric.of_runs else f"{text} ({d.percent:+.2f} %)"
        texts.setdefault((d.row, d.rival), {})[d.column] = text.replace("-", "−")
    of_runs = any(metric.of_runs for metric in metrics.values())
    head = "Mean of the paired differences over the seeds that both rows have" if of_runs else "Difference"
    head += "" if of_runs else ": of minutes, the mean over paired rounds of steps"
    if all(d.ci_halfwidth is None for d in compared):
        head += "; one seed gives no interval." if of_runs else "."
    else:
        head += ", with its 95 % confidence interval (Student's t); n=1 has none."
    lines = [["", *(heading(table, column) for column in columns)]]
    for (row, rival), by_column in texts.items():
        lines.append([f"{row} − {rival}", *(by_column.get(column, MISSING_VALUE) for column in columns)])
    return [head, "", *markdown_table(lines[0], lines[1:])]


def _csv(table: Table, values: Values) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["row", "column", "metric", "mean", "std", "n", "diverged", "planned"]
    head += ["best_epoch_mean", "paper", "paper_std", "paper_setup", "paper_inside", "budget", "seeds", "runs"]
    writer.writerow(head)
    for (row, column), cell in table.cells.items():
        value, digits = values[row, column], METRICS[cell.metric].digits + 2
        numbers = [f"{value.mean:.{digits}f}" if value.values else ""]
        numbers += ["" if value.spread is None else f"{value.spread:.{digits}f}"]
        numbers += [len(value.values), value.diverged, value.planned]
        best = f"{sum(value.best) / len(value.best):.{digits}f}" if value.best else ""
        runs = " ".join(run.id for run in cell.runs) if METRICS[cell.metric].of_runs else ""
        budget = " ".join(sorted({f"{run.cfg.budget:g}" for run in cell.runs}))
        seeds = " ".join(map(str, value.values))
        paper = [cell.paper, cell.spread, "other" if cell.source else ""]
        paper += [{True: "yes", False: "no", None: ""}[value.paper_inside]]
        writer.writerow([row, column, cell.metric, *numbers, best, *paper, budget, seeds, runs])
    return out.getvalue()


def _tex(table: Table, values: Values) -> str:
    styles = {1: latex.BOLD, 2: latex.UNDERLINE}

    def emphasis(text: str, rank: int | None) -> str:
        return f"{styles[rank]}{text}{latex.END}" if rank else text

    def superscript(number: str) -> str:
        return f"{latex.SUPERSCRIPT}{number}{latex.END}"

    cells = grid(table, values, emphasis, superscript)
    notes = [f"{superscript(str(number))} {note['text']}" for number, note in numbered_notes(table)]
    return latex.tabular([title(table), facts(table, values)], cells, [*notes, *general_notes(table, values)])
