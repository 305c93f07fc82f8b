"""configs/claims.yaml: its numbers, classes and seeds, and the messages for mistakes."""

import re
from itertools import chain
from statistics import fmean

import pytest
import yaml
from claims import claim_named

from lls.config.assemble import CONFIGS
from lls.errors import UserError
from lls.paper.claims import find_test, load_claims, matrices
from lls.paper.claims.evidence import SEEDS
from lls.paper.smoke import class_names
from lls.paper.tables import load as load_table
from lls.runs.planned import run_of


def test_each_test_of_a_claim_has_a_docstring():
    """Its arguments, tables, rows and columns are checked when the claims are loaded."""
    assert all(find_test(claim).__doc__ for claim in load_claims())
    assert all(set(claim.short or {}) <= set(claim.keys) for claim in load_claims())


def runs_of(claim):
    """Yield the overrides of the runs that a claim declares itself."""
    keys = claim.keys
    yield from [keys[name] for name in ("run", "first", "second") if name in keys] + keys.get("runs", [])


def test_seeds_of_runs_outside_tables_are_those_of_the_table_with_the_same_runs():
    planned = {}
    for table in map(load_table, "12345678"):
        for (_, column), cell in table.cells.items():
            seeds = next(c.seeds for c in table.columns if c.name == column)
            for run in cell.runs[:1]:
                planned.setdefault(run.id, set()).update(seeds)
    compared = 0
    for claim in load_claims():
        for overrides in runs_of(claim):
            texts = [f"{key}={value}" for key, value in overrides.items() if key != "seeds"]
            if seeds := planned.get(run_of([*texts, "seed=0"]).id):
                assert set(overrides.get("seeds", SEEDS)) <= seeds, claim.name
                compared += 1
    assert compared > 10


def margins(tables, row, among=None):
    """Yield the difference between `row` and its best rival in each column, by the paper's numbers."""
    for table in (load_table(name) for name in tables):
        for column in table.columns:
            printed = {r.name: table.cells[r.name, column.name].paper for r in table.rows}
            values = {name: float(value) for name, value in printed.items() if value}
            yield values.pop(row) - max(v for name, v in values.items() if among is None or name in among)


def printed(claim):
    """Return the numbers in the paper's evidence of a claim, without the number of our threshold."""
    text = re.sub(r"\((we|OLS|Müller)[^)]*\)", "", claim_named(claim).paper)
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


@pytest.mark.parametrize(
    ("claim", "tables", "row", "among", "wins", "columns"),
    [
        ("best_everywhere", "123", "LLS", None, 20, 21),
        ("all_terms_needed", "4", "LLS", None, 4, 4),
        ("reverse_ce_matters_least", "4", "No RCE", ["No FCE", "No Pred EM", "No Targets EM"], 4, 4),
        ("better_teachers", "5", "LLS", ["1-Hot", "LS"], 10, 10),
        ("ls_teachers", "5", "LS", ["1-Hot"], 9, 10),
        ("half_of_the_samples", "6", "LLS-ST", None, 4, 4),
        ("half_of_the_classes", "7", "LLS", None, 4, 4),
        ("half_of_the_classes_st", "7", "LLS-ST", ["LS", "1-Hot"], 4, 4),
    ],
)
def test_numbers_in_claims_yaml_match_the_tables_of_the_paper(claim, tables, row, among, wins, columns):
    """The yaml gives the smallest and the largest lead, if any number."""
    values = [round(value, 2) for value in margins(tables, row, among)]
    assert (sum(value > 0 for value in values), len(values)) == (wins, columns)
    leads = [value for value in values if value > 0]
    assert printed(claim) in ([], [min(leads), max(leads)])


def test_other_numbers_in_claims_yaml_match_the_tables_of_the_paper():
    st, lls = ([*margins("5", "LLS-ST", [rival])] for rival in ("1-Hot", "LLS"))
    assert printed("substitute_teacher") == pytest.approx([-min(st), max(st), -max(lls), -min(lls)], abs=1e-9)
    leads = [margin for rival in ("No FCE", "Reverse KL") for margin in margins("4", "LLS", [rival])]
    assert printed("no_convergence_without_forward_ce") == pytest.approx([min(leads), max(leads)], abs=0.051)
    pairs = claim_named("with_augmentations").keys["pairs"]
    leads = [margin for row, rival in pairs for margin in margins("8", row, [rival])]
    assert printed("with_augmentations") == pytest.approx([min(leads), max(leads)], abs=1e-9)
    assert min(margins("123", "LLS")) == pytest.approx(-0.11)
    assert "1.23 on average" in (CONFIGS / "claims.yaml").read_text()
    assert fmean(margins("5", "LLS", ["1-Hot"])) == pytest.approx(1.234)


def test_claims_and_figures_name_classes_of_their_data_sets():
    named = []
    for claim in load_claims():
        if claim.test == "matrices.pairs":
            named.append((claim.keys["run"], chain(*claim.keys["pairs"])))
        if "levels" in claim.keys:
            named += [
                (claim.keys["run"], chain([y], *(group for group in groups if group != matrices.OTHERS)))
                for y, groups in claim.keys["levels"].items()
            ]
        if claim.test == "clusters.trio":
            named += zip(claim.keys["runs"], claim.keys["classes"], strict=True)
    for path in (CONFIGS / "figure").glob("*.yaml"):
        rows = yaml.safe_load(path.read_text())["rows"]
        named += [(row["run"], row["classes"]) for row in rows if "classes" in row]
    assert len(named) >= 10
    for run, classes in named:
        names = {name.replace("T-shirt-top", "T-shirt/top") for name in class_names(run["dataset"])}
        assert set(classes) <= names


GOOD = {"says": "s", "where": "w", "paper": "p", "test": "rows.above", "tables": ["4"], "pairs": [["LLS", "No RCE"]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, "has no text for the key test"),
        ({"test": "rows.abov"}, "no such test: rows.abov; did you mean 'rows.above'?"),
        ({"test": "row.above"}, "no such test: row.above; did you mean 'rows.above'?"),
        ({"pears": []}, "rows.above: got an unexpected keyword argument 'pears'"),
        ({"pairs": None}, "pairs: must be a list"),
        ({"pairs": ["LLS", "LS"]}, "pairs: must be a list of pairs"),
        ({"pairs": [["LLS", "No RCX"]]}, "no such row: No RCX; did you mean 'No RCE'?"),
        ({"columns": ["CUB"]}, "no such column: CUB"),
        ({"tables": "4"}, "tables: must be a list"),
        ({"tables": ["44"]}, "no such table"),
        ({"tables": [4]}, "tables: must be texts, such as"),
        ({"test": "matrices.diagonal", "tables": ..., "pairs": ..., "runs": {}, "below": 1}, "runs: must be overrides"),
        ({"short": ["4"]}, "short: must map"),
        ({"short": {"tabels": ["4"]}}, "short: rows.above: got an unexpected keyword argument 'tabels'"),
        ({"test": "rows.lower", "pairs": ..., "row": "LLS", "rival": "LS", "measures": ["EC"]}, "no such row: LS"),
        ({"test": "rows.share", "pairs": ..., "row": "LLS", "measure": "EC", "above": 1}, "no such measure: EC"),
        ({"test": "matrices.order", "tables": ..., "pairs": ..., "run": {"seeds": 3}, "levels": {}}, "seeds: must be"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line(changes, message, tmp_path):
    keys = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"mine": keys}))
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load_claims(tmp_path / "claims.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["mine: [", "mine", "mine: 3"])
def test_a_file_that_declares_no_claims_is_one_line(text, tmp_path):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^claims.yaml: .*"):
        load_claims(tmp_path / "claims.yaml")
