"""A dose judged on structures, and its page and tables."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.dose_evaluation import evaluate_distribution
from RTPlanningLib.evaluation.goal_templates import load_goal_template
from RTPlanningLib.report.evaluation_report import evaluation_goals_csv, evaluation_json, render_evaluation_report

GRID = Grid.from_spacing((16, 16, 16), 5.0, (-37.5, -37.5, -37.5))
CENTRES = GRID.centres_RAS_mm()
TEACHING = load_goal_template("teaching")


def ball(name: str, centre, radius_mm: float = 12.0, role: str = "ORGAN") -> Structure:
    return Structure(name, np.linalg.norm(CENTRES - np.array(centre, float), axis=-1) <= radius_mm, GRID, role)


STRUCTURES = (
    Structure("Body", np.ones(GRID.shape, bool), GRID, "EXTERNAL"),
    ball("PTV", (0, 0, 0), role="PTV"),
    ball("Herz", (20, 0, 0)),
    ball("Kidney_L", (-20, 0, 0)),
    ball("Kidney_R", (0, 20, 0)),
    Structure("Brain", np.zeros(GRID.shape, bool), GRID),
)


def uniform(dose_Gy: float) -> DoseDistribution:
    return DoseDistribution("plan A", np.full(GRID.shape, dose_Gy), GRID)


def verdicts(evaluation) -> dict[str, str]:
    return {str(goal.result.goal): goal.result.verdict for goal in evaluation.goals}


def test_templates_and_own_goals_are_judged_together():
    evaluation = evaluate_distribution(
        uniform(24.0),
        STRUCTURES,
        templates=[TEACHING],
        goals=["PTV D95% >= 95 %", "PTV Mean <= 20 Gy (25 Gy)"],
        prescription_Gy=24.0,
        fractions=12,
        target="PTV",
    )
    assert verdicts(evaluation) == {
        "Herz Mean < 26 Gy": "passed",
        "Kidney_L + Kidney_R V20Gy[%] < 30 %": "failed",
        "PTV D95% >= 95 %": "passed",
        "PTV Mean <= 20 Gy (25 Gy)": "acceptable",
    }
    assert [one.unmatched.published.goal.structure for one in evaluation.open_goals] == ["Brain", "SpinalCord"]
    assert evaluation.verdicts() == {"passed": 2, "failed": 1, "acceptable": 1, "without structure": 2}
    assert "Kidney_L + Kidney_R" in evaluation.dvhs
    assert "Brain is empty and was left out." in evaluation.notes
    assert evaluation.open_reasons() == ["Brain is empty; contour it.", "there is no SpinalCord."]


def test_a_union_has_the_dose_of_both_parts():
    halves = np.where(CENTRES[..., 0] < -5.0, 30.0, 10.0)
    evaluation = evaluate_distribution(
        DoseDistribution("plan", halves, GRID), STRUCTURES, templates=[TEACHING], prescription_Gy=24.0, fractions=12
    )
    both = evaluation.dvhs["Kidney_L + Kidney_R"]
    left, right = evaluation.dvhs["Kidney_L"], evaluation.dvhs["Kidney_R"]
    assert both.volume_cm3 == pytest.approx(left.volume_cm3 + right.volume_cm3)
    assert both.mean_Gy == pytest.approx((left.mean_Gy + right.mean_Gy) / 2, rel=0.02)


def test_a_template_for_other_fractions_is_noted():
    evaluation = evaluate_distribution(
        uniform(24.0), STRUCTURES, templates=[load_goal_template("tg101-3fx")], prescription_Gy=24.0, fractions=12
    )
    assert any("is for 3 fractions; the plan has 12" in note for note in evaluation.notes)
    assert verdicts(evaluation)["Herz D0.035cc <= 30 Gy"] == "passed"
    page = render_evaluation_report(evaluation, software={})
    assert page.count("is for 3 fractions; the plan has 12") == 2


def test_structures_beside_the_dose_are_left_out_and_said():
    far = Structure("Rectum", np.ones((2, 2, 2), bool), Grid.from_spacing((2, 2, 2), 5.0, (500.0, 0.0, 0.0)))
    evaluation = evaluate_distribution(uniform(10.0), (*STRUCTURES, far), goals=["Rectum Mean <= 20 Gy"])
    assert "Rectum lies outside the dose grid and was left out." in evaluation.notes
    assert verdicts(evaluation) == {"Rectum Mean <= 20 Gy": "not evaluated"}
    with pytest.raises(EvaluationError, match="No structure lies in the grid"):
        evaluate_distribution(uniform(10.0), (far,))


def test_radiobiology_where_asked():
    settings = {"prescription_Gy": 48.0, "fractions": 24, "target": "PTV", "radiobiology": True}
    evaluation = evaluate_distribution(uniform(48.0), STRUCTURES, templates=[TEACHING], **settings)
    found = {row.structure: row for row in evaluation.radiobiology}
    # neither targets nor the body have complications, nor what was put together for a goal
    assert set(found) == {"Herz", "Kidney_L", "Kidney_R"}
    # TD50 of pericarditis is 48 Gy to all of the heart (Burman 1991)
    assert found["Herz"].probability == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"radiobiology": True}, "needs the prescribed dose"),
        ({"prescription_Gy": -2.0}, "must be positive"),
        ({"fractions": 0}, "whole number"),
        ({"target": "CTV"}, "no structure 'CTV'"),
        ({"names": {"Liver": "Herz"}, "templates": [TEACHING]}, "No template asks for Liver"),
        ({"goals": ["Herz Moan < 3 Gy"]}, "not a metric"),
        ({"tcp_set": "nsclc_marsden", "prescription_Gy": 24.0, "fractions": 12}, "needs the target"),
    ],
)
def test_what_cannot_be_judged_is_refused(settings, text):
    with pytest.raises(EvaluationError, match=text):
        evaluate_distribution(uniform(10.0), STRUCTURES, **settings)


def test_page_and_tables_say_the_same():
    evaluation = evaluate_distribution(
        uniform(24.0),
        STRUCTURES,
        templates=[TEACHING, load_goal_template("tg101-3fx")],
        prescription_Gy=24.0,
        fractions=3,
        target="PTV",
        names={"Heart": "Herz"},
        notes=["<b>a note</b>"],
    )
    page = render_evaluation_report(evaluation, software={})
    assert "✗ failed" in page
    assert "Kidney_L + Kidney_R" in page
    assert "Not for clinical use" in page
    assert "doi 10.1118/1.3438081" in page
    assert "&lt;b&gt;a note&lt;/b&gt;" in page
    assert page == render_evaluation_report(evaluation, software={})
    data = json.loads(evaluation_json(evaluation))
    assert data["verdicts"] == evaluation.verdicts()
    kidneys = next(goal for goal in data["goals"] if goal["structure"] == "Kidney_L + Kidney_R")
    assert (kidneys["value"], kidneys["verdict"]) == (pytest.approx(100.0), "failed")
    assert kidneys["published_goal"] == "Kidneys V20Gy[%] < 30 %"
    assert kidneys["source"] in page
    rows = list(csv.DictReader(evaluation_goals_csv(evaluation).splitlines()))
    assert len(rows) == len(data["goals"]) + len(data["goals_without_structure"])
    assert {row["Result"] for row in rows} == set(evaluation.verdicts())
    assert all(row["Source"] for row in rows)
