"""Rows in a table, lines as they are typed, rows made of goals, and the sets that come with the package."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.errors import SchemaError
from OptimizerLib.errors import OptimizationError
from OptimizerLib.goal_rows import rows_from_goals
from OptimizerLib.objective_lines import ObjectiveLine, goals_of_lines, read_lines, unknown_structures
from OptimizerLib.objective_rows import parse_row
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.shipped_objectives import parse_objective_set, shipped_objectives
from OptimizerLib.table_rows import KINDS, TableRow
from RTPlanningLib.plan_file import read_plan_file
from RTPlanningLib.samples import load_sample
from RTPlanningLib.samples.plan_files import find_plan_file


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PTV uniform 60 Gy, weight 100", TableRow("PTV", "uniform", 60.0, weight=100.0)),
        ("Spinal Cord Max <= 45 Gy", TableRow("Spinal Cord", "max", 45.0)),
        ("PTV Min >= 95 %, level 2", TableRow("PTV", "min", 95.0, "%", level=2)),
        ("Lung Mean <= 2000 cGy", TableRow("Lung", "mean", 2000.0, "cGy")),
        ("PTV D95% >= 60 Gy, weight 3", TableRow("PTV", "dose_min", 60.0, volume_percent=95.0, weight=3.0)),
        ("Rectum D30% <= 62 Gy", TableRow("Rectum", "dose_max", 62.0, volume_percent=30.0)),
        ("Lung V20Gy <= 30 %", TableRow("Lung", "volume_max", 20.0, volume_percent=30.0)),
        ("PTV V95% >= 99 %", TableRow("PTV", "volume_min", 95.0, "%", volume_percent=99.0)),
        ("minimize Lung Mean, weight 0.5", TableRow("Lung", "low_mean", weight=0.5)),
        ("minimize Cord Max", TableRow("Cord", "low_max")),
        ("maximize PTV Min", TableRow("PTV", "high_min")),
    ],
)
def test_rows_that_the_table_shows(text, shown):
    row = parse_row(text)
    assert TableRow.of(row) == shown
    assert shown.to_row() == row


@pytest.mark.parametrize(
    "text",
    [
        "Body falloff 60 Gy -> 20 Gy in 30 mm from PTV, weight 10",
        "fluence smoothness, weight 0.01",
        "Rectum gEUD(a=8) <= 55 Gy",
        "Cord Max <= 45 Gy, constraint",
        "Cord D2cc <= 40 Gy",
        "Lung V20Gy[cc] <= 300 cc",
        "Cord Max < 45 Gy",
        "Core D10% <= 10 Gy (25 Gy)",
        "Parotid Mean <= 0.8 Gy, per fraction",
        "PTV Coverage >= 95 %",
        "minimize Parotid gEUD(a=1)",
        "PTV D95%[%] >= 95 %",
    ],
)
def test_rows_that_say_more_stay_texts_and_are_not_lost(text):
    (line,) = read_lines(text)
    assert line.in_table is None
    assert line.row is not None
    assert goals_of_lines([line]).to_entries() == [str(parse_row(text))]


names = st.sampled_from(["PTV", "Spinal Cord", "Lung_L", "Rectum wall 2"])
numbers = st.floats(0.0, 1e4, allow_nan=False).map(lambda value: round(value, 3))


@given(
    names, st.sampled_from(sorted(KINDS)), numbers, st.sampled_from(["Gy", "cGy", "%"]),
    st.floats(0.0, 100.0).map(lambda value: round(value, 2)), numbers, st.integers(1, 9),
)  # fmt: skip
def test_any_row_of_the_table_comes_back_from_its_text(structure, kind, dose, unit, volume, weight, level):
    if KINDS[kind].metric == "V" and unit == "cGy":
        unit = "Gy"
    shown = TableRow(structure, kind, dose, unit, volume, weight, level)
    again = ObjectiveLine.read(ObjectiveLine.of(shown).text)
    assert again.row == shown.to_row()
    assert again.in_table is not None
    assert again.in_table.to_row() == shown.to_row()


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)), st.sampled_from(["Gy", "cGy", "%"]))
def test_changing_the_kind_makes_a_row_that_can_be_read(former, wanted, unit):
    if KINDS[former].metric == "V" and unit == "cGy":
        unit = "Gy"
    changed = TableRow("PTV", former, 50.0, unit, 40.0, 2.0, 3).with_kind(wanted)
    row = changed.to_row()
    assert (row.weight, row.level, row.structure) == (2.0, 3, "PTV")
    assert TableRow.of(row) is not None
    # what stands beside the dose stays the same dose
    if KINDS[wanted].has_dose and KINDS[former].has_dose:
        in_gray = {"Gy": 1.0, "cGy": 0.01, "%": 1.0}
        assert changed.dose * in_gray[changed.unit] == pytest.approx(50.0 * in_gray[unit])


def test_a_line_that_cannot_be_read_says_why_and_stays():
    lines = read_lines("PTV uniform 60 Gy\n\n  PTV about 60 Gy  \nfluence smoothness")
    assert [line.text for line in lines] == ["PTV uniform 60 Gy", "PTV about 60 Gy", "fluence smoothness"]
    assert lines[1].row is None
    assert "cannot be read" in lines[1].error
    with pytest.raises(OptimizationError, match="entry 2"):
        goals_of_lines(lines)
    with pytest.raises(OptimizationError, match="0 or more"):
        ObjectiveLine.of(TableRow("PTV", "uniform", -1.0))


def test_structures_that_are_not_there_are_named():
    lines = read_lines("PTV uniform 60 Gy\nBody falloff 60 Gy -> 20 Gy in 30 mm from GTV\nCord Max <= 3 Gy\nCord x")
    assert unknown_structures(lines, ["PTV", "Body"]) == ["GTV", "Cord"]


def test_goals_become_rows_with_what_goals_leave_unsaid():
    made = rows_from_goals(
        ["PTV D95% >= 50 Gy", "PTV D10% <= 55 Gy", "Core D10% <= 10 Gy (25 Gy)", "PTV HI <= 0.1", "Heart Mean <= 5 Gy"],
        target="PTV",
        prescription_Gy=50.0,
        structures=["PTV", "Core", "External"],
        body="External",
    )
    assert [str(row) for row in made.rows] == [
        "PTV uniform 51.5 Gy, weight 100",
        "PTV D95% >= 50 Gy, weight 100",
        "PTV D10% <= 55 Gy, weight 100",
        "Core D10% <= 10 Gy (25 Gy), weight 20",
        "External falloff 50 Gy -> 15 Gy in 40 mm from PTV, weight 5",
        "fluence smoothness, weight 0.01",
    ]
    assert [goal for goal, _ in made.left_out] == ["PTV HI <= 0.1", "Heart Mean <= 5 Gy"]
    assert "judged" in made.left_out[0][1]
    assert "no structure Heart" in made.left_out[1][1]


@pytest.mark.parametrize(
    ("goal", "why"),
    [
        ("PTV Max >= 50 Gy", "higher maximum"),
        ("PTV Min <= 50 Gy", "lower minimum"),
        ("PTV gEUD(a=-10) <= 50 Gy", "in this direction"),
        ("Lung gEUD(a=8) >= 50 Gy", "in this direction"),
        ("Lung Mean <= 20 %", "no prescription"),
    ],
)
def test_goals_that_cannot_be_searched_for_are_told(goal, why):
    made = rows_from_goals([goal])
    assert made.rows == ()
    assert why in made.left_out[0][1]


@pytest.mark.parametrize("case", ["tg119-cshape", "tg119-headneck", "tg119-multitarget", "tg119-prostate"])
def test_every_row_made_of_a_samples_goals_can_be_optimized(case):
    """Each row becomes a term on the case itself: nothing is made that the optimizer would refuse."""
    from OptimizerLib.row_terms import RowContext, make_term

    sample = load_sample(case, 5.0)
    made = rows_from_goals(
        sample.goals,
        target=next(s.name for s in sample.structures if s.role == "PTV"),
        prescription_Gy=50.0,
        structures=[s.name for s in sample.structures],
        body="External",
    )
    assert made.left_out == ()
    context = RowContext({s.name: s for s in sample.structures}, 50.0, 25)
    for row in made.rows:
        if row.structure is not None and "falloff" not in str(row):
            assert make_term(row, context).structure == row.structure


def test_shipped_sets_are_those_of_the_plan_files():
    sets = shipped_objectives()
    assert [entry.name for entry in sets] == ["tg119-cshape", "tg119-headneck", "tg119-multitarget", "tg119-prostate"]
    for entry in sets:
        request = read_plan_file(find_plan_file(f"{entry.name}-imrt"))
        assert entry.goals == request.optimization.goals
        names = [structure.name for structure in load_sample(entry.name, 6.0).structures]
        assert unknown_structures(read_lines(entry.goals.to_entries()), names) == []
        assert "TG-119" in entry.source


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"rows": ["PTV about 3"]}, "entry 1"),
        ({"more": 1}, "exactly the keys"),
    ],
)
def test_a_damaged_set_is_refused(change, match):
    data = {
        "schema_version": 1,
        "name": "a",
        "title": "A",
        "description": "",
        "source": "us",
        "rows": ["PTV Min >= 1 Gy"],
    }
    assert parse_objective_set(json.dumps(data), "a.json").goals == PlanningGoals.from_entries(data["rows"])
    with pytest.raises(SchemaError, match=match):
        parse_objective_set(json.dumps(data | change), "a.json")
    with pytest.raises(SchemaError, match="no JSON"):
        parse_objective_set("{", "a.json")


def test_replacing_a_column_changes_nothing_else():
    shown = TableRow.of(parse_row("PTV D95% >= 60 Gy, weight 0.0125, level 2"))
    assert str(replace(shown, dose=61.0).to_row()) == "PTV D95% >= 61 Gy, level 2, weight 0.0125"
