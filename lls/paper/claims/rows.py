"""Claims about rows of tables: differences between rows, averaged over columns."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from lls.paper.claims.evidence import Column, Evidence, Measure, Overrides, Results, top1
from lls.paper.rules import Comparison, over_columns
from lls.runs.schema import Result
from lls.runs.summary import format_count


def _gap(first: str, second: str) -> Measure:
    return lambda r: r[first] - r[second] if first in r and second in r else None


def _overconfidence(result: Result) -> float | None:
    return 100 * result["confidence"] - result["top1"] if "confidence" in result else None


MEASURES: dict[str, Measure] = {  # of result.json
    "top1": top1,  # per cent
    "accuracy gap": _gap("train_top1", "top1"),  # points, training minus test
    "NLL gap": _gap("nll", "train_cross_entropy"),  # nats, test minus training
    "ECE": lambda r: 100 * r["ece"] if "ece" in r else None,  # per cent
    "overconfidence": _overconfidence,  # points, mean confidence minus accuracy
    "Q's entropy": lambda r: r.get("q_entropy"),  # nats, mean over the rows of Q
    "Q's diagonal": lambda r: r.get("q_diagonal"),  # mean Q_yy
}


def best(results: Results, tables: list[str], row: str, among: list[str] | None = None) -> Evidence:
    """Compare top-1 of `row` with that of each other row: it is higher on average over the columns.

    among: compare with these rows only."""
    columns = results.columns(tables, top1, needed_rows=None if among is None else [row, *among])
    rivals = [rival for rival in _rows(columns) if rival != row and (among is None or rival in among)]
    comparisons = _differences(results, tables, columns, [(row, rival) for rival in rivals])
    parts = [_best_in(columns, row, rivals), _summary(comparisons), _diverged(columns, [row, *rivals])]
    return Evidence(comparisons, "; ".join(filter(None, parts)))


def above(
    results: Results, tables: list[str], pairs: list[list[str]], by: float = 0.0, columns: list[str] | None = None
) -> Evidence:
    """Compare top-1 of the two rows of each pair: the first exceeds the second by more than `by` on average.

    by: points; a negative value is the margin of non-inferiority, by which the first row may be below the second.
    columns: only these; the spread between seeds is then pooled over all rows of the tables in these columns."""
    rows = list(dict.fromkeys(row for pair in pairs for row in pair))
    chosen = results.columns(tables, top1, needed_rows=rows if columns is None else None, column_names=columns)
    pooled = None if columns is None else _rows(chosen)
    name = {0: "{} above {}"}.get(by, f"{{}} above {{}} by {by:g}" if by > 0 else f"{{}} less than {-by:g} below {{}}")
    compared = [(a, b) for a, b in pairs]
    comparisons = _differences(results, tables, chosen, compared, margin=by, pooled=pooled, name=name)
    means = [
        f"{a} above {b} by {c.mean:+.2f}" for (a, b), c in zip(compared, comparisons, strict=True) if c.mean is not None
    ]
    return Evidence(comparisons, "; ".join(filter(None, [*means, _diverged(chosen, rows)])))


def lower(results: Results, tables: list[str], row: str, rival: str, measures: list[str]) -> Evidence:
    """Compare each of `measures` (keys of MEASURES): lower for `row` than for `rival` on average over the columns."""
    return _of_measures(results, tables, [(name, rival, row) for name in measures])


def sharper(results: Results, tables: list[str], row: str, rival: str) -> Evidence:
    """Compare the targets of two rows: those of `row` are closer to one-hot.

    The rows of Q have a lower entropy, and its diagonal is larger, on average over the columns."""
    return _of_measures(results, tables, [("Q's entropy", rival, row), ("Q's diagonal", row, rival)])


def share(results: Results, tables: list[str], row: str, measure: str, above: float) -> Evidence:
    """Compare a measure of one row that is between 0 and 1, on average over the columns, with `above`: it is larger."""
    columns = results.columns(tables, MEASURES[measure], needed_rows=[row])
    name = f"{measure} of {row} above {above:g}"
    comparison = over_columns(name, [c.values for c in columns], {row: 1.0}, above, bound=1.0)
    means = [f"{c.name} {fmean(c.values[row].values()):.3g}" for c in columns if c.values.get(row)]
    parts = [f"{measure} of {row}: {', '.join(means)}" if means else "", _diverged(columns, [row], counted=False)]
    return Evidence([comparison], "; ".join(filter(None, parts)))


def best_alpha(results: Results, runs: list[Overrides], inside: list[float], outside: list[float]) -> Evidence:
    """Compare the mean top-1 over the α of `inside` with each α of `outside`, on average over `runs`."""
    columns, alphas = [], sorted({*inside, *outside})
    for overrides in runs:
        cells = {str(alpha): results.accuracies(overrides | {"method.alpha": alpha}) for alpha in alphas}
        columns.append(Column(str(overrides["dataset"]), cells))
    weights, pooled = dict.fromkeys(map(str, inside), 1 / len(inside)), _converged(columns, map(str, alphas))
    label = f"mean of α={', '.join(map(str, inside))}"
    comparisons = [
        over_columns(
            f"{label} above α={alpha}", [c.values for c in columns], weights | {str(alpha): -1.0}, pooled=pooled
        )
        for alpha in outside
    ]
    means = {c.name: [f"{alpha}: {fmean(v.values()):.2f}" for alpha, v in c.values.items() if v] for c in columns}
    parts = [f"{name} {', '.join(texts)}" for name, texts in means.items() if texts]
    return Evidence(comparisons, "; ".join(filter(None, [*parts, _diverged(columns, map(str, alphas))])))


def _differences(
    results: Results,
    tables: list[str],
    columns: list[Column],
    pairs: list[tuple[str, str]],
    *,
    margin: float = 0.0,
    pooled: Sequence[str] | None = None,
    name: str = "{} above {}",
) -> list[Comparison]:
    """Compare each pair of rows. The spread is pooled over the rows of `pooled`, or of all pairs.

    Rows with a separate spread, or with a diverged run, are not pooled. If a row has diverged in its only run of a
    column, its spread is not known."""
    separate = results.with_separate_spread(tables)
    candidates = pooled or list(dict.fromkeys(row for pair in pairs for row in pair))
    together = [row for row in _converged(columns, candidates) if row not in separate]
    unknown = {row for column in columns for row, cell in column.cells.items() if not cell.spread_is_known}
    compared = {
        (a, b): over_columns(name.format(a, b), [c.values for c in columns], {a: 1.0, b: -1.0}, margin, together)
        for a, b in pairs
    }
    return [c._replace(standard_error=None, parts=()) if {*pair} & unknown else c for pair, c in compared.items()]


def _of_measures(results: Results, tables: list[str], larger: list[tuple[str, str, str]]) -> Evidence:
    """Compare for each (measure, row, other): the measure of `row` is larger than that of `other`."""
    comparisons, summaries = [], []
    for measure, row, other in larger:
        columns = results.columns(tables, MEASURES[measure], needed_rows=[row, other])
        comparisons += _differences(results, tables, columns, [(row, other)], name=f"{measure}: {{}} above {{}}")
        both = [c.values for c in columns if c.values.get(row) and c.values.get(other)]
        if both:
            means = [f"{r} {fmean(fmean(v[r].values()) for v in both):.3g}" for r in (row, other)]
            summaries.append(f"{measure}: {', '.join(means)}")
    diverged = _diverged(columns, dict.fromkeys(row for _, *pair in larger for row in pair), counted=False)
    return Evidence(comparisons, "; ".join(filter(None, [*summaries, diverged])))


def _rows(columns: list[Column]) -> list[str]:
    return list(dict.fromkeys(row for column in columns for row in column.cells))


def _converged(columns: list[Column], rows: Iterable[str]) -> list[str]:
    """Return the rows without a diverged run. Chance, at which such a run counts, would swell a pooled spread."""
    return [row for row in rows if not any(c.cells[row].diverged for c in columns if row in c.cells)]


def _best_in(columns: list[Column], row: str, rivals: list[str]) -> str:
    """Return in how many columns the mean of `row` is the highest, of those where it has at least one rival."""
    wins = []
    for values in (column.values for column in columns):
        means = [fmean(values[rival].values()) for rival in rivals if values.get(rival)]
        if values.get(row) and means:
            wins.append(fmean(values[row].values()) > max(means))
    return f"best in {sum(wins)} of {len(wins)} columns" if wins else ""


def _summary(comparisons: list[Comparison]) -> str:
    return "; ".join(f"{c.name} by {c.mean:+.2f}" for c in comparisons if c.mean is not None)


def _diverged(columns: list[Column], rows: Iterable[str], *, counted: bool = True) -> str:
    """Return which rows have diverged runs, and whether these count as chance; '' if none."""
    counts = {row: sum(c.cells[row].diverged for c in columns if row in c.cells) for row in rows}
    texts = [f"{row} diverged in {format_count(n, 'run')}" for row, n in counts.items() if n]
    return f"{', '.join(texts)} ({'counted as chance' if counted else 'these cells do not count'})" if texts else ""
