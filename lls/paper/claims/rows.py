"""Claims about rows of tables: differences between rows, averaged over columns."""

from collections.abc import Sequence
from statistics import fmean

from lls.paper.claims.evidence import Column, Evidence, Measure, Overrides, Results
from lls.paper.rules import Estimate, over_columns
from lls.runs.schema import Result


def _gap(first: str, second: str) -> Measure:
    return lambda r: r[first] - r[second] if first in r and second in r else None


def _overconfidence(result: Result) -> float | None:
    return 100 * result["confidence"] - result["top1"] if "confidence" in result else None


MEASURES: dict[str, Measure] = {  # of result.json
    "top1": lambda r: r.get("top1"),  # per cent
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
    needed = None if among is None else [row, *among]
    columns = results.columns(tables, MEASURES["top1"], rows=needed)
    rivals = [rival for rival in _rows(columns) if rival != row and (among is None or rival in among)]
    estimates = _differences(results, tables, columns, [(row, rival) for rival in rivals])
    return Evidence(estimates, "; ".join(filter(None, [_best_in(columns, row, rivals), _summary(estimates)])))


def above(
    results: Results,
    tables: list[str],
    pairs: list[list[str]],
    by: float = 0.0,
    columns: list[str] | None = None,
    diverged_at_chance: bool = False,
) -> Evidence:
    """Compare top-1 of the two rows of each pair: the first exceeds the second by more than `by` on average.

    by: points; a negative value is the margin of non-inferiority, by which the first row may be below the second.
    columns: only these; the spread between seeds is then pooled over all rows of the tables in these columns.
    diverged_at_chance: a diverged run counts with 100/K %, for the claim that a method does not converge. By default,
        a cell with a diverged run is left out."""
    compared = [(first, second) for first, second in pairs]
    needed = [row for pair in pairs for row in pair]
    chosen = results.columns(
        tables, MEASURES["top1"], rows=needed, names=columns, diverged_at_chance=diverged_at_chance
    )
    rows = _rows(chosen) if columns is not None else None
    estimates = _differences(results, tables, chosen, compared, margin=by, pooled=rows)
    return Evidence(estimates, _summary(estimates))


def lower(results: Results, tables: list[str], row: str, rival: str, measures: list[str]) -> Evidence:
    """Compare each of `measures` (keys of MEASURES): lower for `row` than for `rival` on average over the columns."""
    return _of_measures(results, tables, [(name, rival, row) for name in measures], "lower")


def sharper(results: Results, tables: list[str], row: str, rival: str) -> Evidence:
    """Compare the targets of two rows: those of `row` are closer to one-hot.

    The rows of Q have a lower entropy, and its diagonal is larger, on average over the columns."""
    return _of_measures(
        results, tables, [("Q's entropy", rival, row), ("Q's diagonal", row, rival)], "closer to one-hot"
    )


def level(results: Results, tables: list[str], row: str, measure: str, above: float) -> Evidence:
    """Compare a measure of one row, on average over the columns, with `above`: it is larger."""
    columns = results.columns(tables, MEASURES[measure], rows=[row])
    name = f"{measure} of {row} above {above:g}"
    estimate = over_columns(name, [c.values for c in columns], {row: 1.0}, above)
    means = [f"{c.name} {fmean(c.values[row].values()):.3g}" for c in columns if c.values.get(row)]
    return Evidence([estimate], f"{measure} of {row}: {', '.join(means)}" if means else "")


def best_alpha(results: Results, runs: list[Overrides], inside: list[float], outside: list[float]) -> Evidence:
    """Compare the mean top-1 over the α of `inside` with each α of `outside`, on average over `runs`."""
    columns, summaries = [], []
    for overrides in runs:
        values = {}
        for alpha in sorted({*inside, *outside}):
            finished = results.finished(overrides | {"method.alpha": alpha})
            values[str(alpha)] = {run.cfg.seed: run.result["top1"] for run in finished}
        columns.append(values)
        if means := [f"{alpha}: {fmean(v.values()):.2f}" for alpha, v in values.items() if v]:
            summaries.append(f"{overrides['dataset']} {', '.join(means)}")
    weights = dict.fromkeys(map(str, inside), 1 / len(inside))
    pooled = [[str(alpha) for alpha in (*inside, *outside)]]
    label = f"mean of α={', '.join(map(str, inside))}"
    estimates = [
        over_columns(f"{label} above α={alpha}", columns, weights | {str(alpha): -1.0}, pooled=pooled)
        for alpha in outside
    ]
    return Evidence(estimates, "; ".join(summaries))


def _differences(
    results: Results,
    tables: list[str],
    columns: list[Column],
    pairs: list[tuple[str, str]],
    *,
    margin: float = 0.0,
    pooled: Sequence[str] | None = None,
    name: str = "{} above {}",
) -> list[Estimate]:
    """Estimate the difference of each pair of rows. The spread is pooled over the rows of `pooled`, or of all pairs."""
    apart = results.with_separate_spread(tables)
    together = [row for row in (pooled or dict.fromkeys(row for pair in pairs for row in pair)) if row not in apart]
    return [
        over_columns(name.format(a, b), [c.values for c in columns], {a: 1.0, b: -1.0}, margin, [together])
        for a, b in pairs
    ]


def _of_measures(results: Results, tables: list[str], larger: list[tuple[str, str, str]], word: str) -> Evidence:
    """Estimate for each (measure, row, other) how much larger the measure of `row` is."""
    estimates, summaries = [], []
    for measure, row, other in larger:
        columns = results.columns(tables, MEASURES[measure], rows=[row, other])
        estimates += _differences(results, tables, columns, [(row, other)], name=f"{measure}: {{}} above {{}}")
        both = [c.values for c in columns if c.values.get(row) and c.values.get(other)]
        if both:
            means = [f"{r} {fmean(fmean(v[r].values()) for v in both):.3g}" for r in (row, other)]
            summaries.append(f"{measure}: {', '.join(means)}")
    return Evidence(estimates, "; ".join(summaries))


def _rows(columns: list[Column]) -> list[str]:
    return list(dict.fromkeys(row for column in columns for row in column.values))


def _best_in(columns: list[Column], row: str, rivals: list[str]) -> str:
    """Return in how many columns the mean of `row` is the highest, of those where it has at least one rival."""
    wins = []
    for values in (column.values for column in columns):
        means = [fmean(values[rival].values()) for rival in rivals if values.get(rival)]
        if values.get(row) and means:
            wins.append(fmean(values[row].values()) > max(means))
    return f"best in {sum(wins)} of {len(wins)} columns" if wins else ""


def _summary(estimates: list[Estimate]) -> str:
    return "; ".join(f"{e.name} by {e.mean:+.2f}" for e in estimates if e.mean is not None)
