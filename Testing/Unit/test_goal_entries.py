"""Goals while they are written: what is no goal yet is kept as it is, with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.clinical_goals import parse_goal
from RTPlanningLib.evaluation.goal_entries import (
    GoalEntry,
    entries_from_text,
    entry_from_text,
    entry_of,
    readable,
    remark,
)
from RTPlanningLib.evaluation.goal_templates import available_goal_templates


def test_a_row_that_is_a_goal() -> None:
    entry = GoalEntry("Spinal  Cord", " D0.03cc <=  4500 cGy ")
    assert entry.text == "Spinal Cord D0.03cc <= 4500 cGy"
    assert entry.goal == parse_goal("Spinal Cord D0.03cc <= 4500 cGy")
    assert entry.problem == ""


@pytest.mark.parametrize(
    ("structure", "aim", "said"),
    [
        ("", "D95% >= 95 %", "Choose the structure"),
        ("PTV", "", "Write what PTV shall reach"),
        ("PTV", "D95%", "an operator is missing"),
        ("PTV", "D95% >= lots", "a number and its unit"),
        ("PTV", "D95% >= 95 furlongs", "'furlongs' is not a unit"),
        ("PTV", "Boost D95% >= 95 %", "reads as a goal for 'PTV Boost'"),
    ],
)
def test_a_row_that_is_no_goal_says_why_and_keeps_its_text(structure, aim, said) -> None:
    entry = GoalEntry(structure, aim)
    assert entry.goal is None
    assert said in entry.problem
    assert "\n" not in entry.problem
    assert (entry.structure, entry.aim) == (structure, aim)


def test_every_shipped_goal_goes_into_a_row_and_back() -> None:
    goals = [published.goal for template in available_goal_templates() for published in template.goals]
    assert len(goals) > 150
    for goal in goals:
        assert entry_of(goal).goal == goal
        again = entry_from_text(entry_of(goal).text)
        assert (again.structure, again.goal) == (goal.structure, goal)


def test_pasted_text() -> None:
    text = "# goals of the protocol\nPTV D95% >= 95 %\r\n\n  Lung_L\tV20Gy[%] <\t30 %\nPTV Boost D95%\nnonsense\n"
    entries = entries_from_text(text, ["PTV", "PTV Boost", "Lung_L"])
    assert [(e.structure, e.aim) for e in entries] == [
        ("PTV", "D95% >= 95 %"),
        ("Lung_L", "V20Gy[%] < 30 %"),
        ("PTV Boost", "D95%"),
        ("nonsense", ""),
    ]
    assert readable(entries) == ["PTV D95% >= 95 %", "Lung_L V20Gy[%] < 30 %"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]) | st.just(" "), max_size=30))
def test_no_character_is_lost(text: str) -> None:
    entry = entry_from_text(text, ["PTV", "A b"])
    assert entry.text.split() == text.split()


def test_remarks_on_goals_that_cannot_be_judged() -> None:
    absolute, relative = GoalEntry("Heart", "Mean < 26 Gy"), GoalEntry("PTV", "D95% >= 95 %")
    assert remark(absolute, ["PTV", "Heart"], None) == ""
    assert "no structure Heart" in remark(absolute, ["PTV"], 50.0)
    assert "prescribed dose" in remark(relative, ["PTV"], None)
    assert remark(relative, ["PTV"], 50.0) == ""
    # before a case is chosen nothing is known of its structures
    assert remark(absolute, [], 50.0) == ""
    assert remark(GoalEntry("Heart", "?"), ["PTV"], None) == ""
