"""Goals of several plans side by side: values, verdicts, differences, the best, CSV and JSON."""

from __future__ import annotations

import csv
import json
from io import StringIO

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.goal_comparison import compare_goals
from RTPlanningLib.evaluation.goals import GoalResult, evaluate_goals, parse_goal

GOALS = ("PTV D95% >= 47.5 Gy (45 Gy)", "Cord Max <= 45 Gy", "Heart Mean <= 26 Gy", "Lung V20Gy[%] <= 30 %")


def results(ptv, cord, heart, lung):
    """Goal results of uniform structures."""
    doses = {"PTV": ptv, "Cord": cord, "Heart": heart, "Lung": lung}
    dvhs = {name: Dvh(name, 10.0, np.full(50, dose, np.float32)) for name, dose in doses.items() if dose is not None}
    return evaluate_goals(GOALS, dvhs, 50.0)


@pytest.fixture
def comparison():
    """Plan B covers less and spares more; plan C has no heart."""
    return compare_goals(
        {"A": results(50, 44, 20, 25), "B": results(46, 40, 20, 15), "C, copy": results(44, 46, None, 15)}
    )


def test_values_verdicts_differences_and_the_best(comparison):
    """By hand: B's PTV is acceptable, C's fails; B's cord is best; the heart is a tie of A and B."""
    ptv, cord, heart, lung = comparison.rows
    assert ptv.values() == pytest.approx((50, 46, 44))
    assert ptv.verdicts() == ("passed", "acceptable", "failed")
    assert ptv.differences() == pytest.approx((0, -4, -6))
    assert ptv.best() == (0,)
    assert cord.best() == (1,)
    assert cord.verdicts() == ("passed", "passed", "failed")
    assert heart.best() == (0, 1)
    assert heart.verdicts()[2] == "not evaluated"
    assert heart.differences()[2] is None
    assert lung.values() == pytest.approx((100, 0, 0))
    assert comparison.counts()["C, copy"] == {"failed": 2, "not evaluated": 1, "passed": 1}


def test_json_and_csv_hold_the_same(comparison):
    """JSON is read back as the dictionary; CSV has a line a goal and survives commas in names."""
    data = json.loads(comparison.to_json())
    assert data == comparison.to_dict()
    assert data["rows"][0]["acceptable_limit"] == 45.0
    assert "no DVH" in data["rows"][2]["plans"]["C, copy"]["note"]
    lines = list(csv.DictReader(StringIO(comparison.to_csv())))
    assert len(lines) == 4
    assert [line["Structure"] for line in lines] == ["PTV", "Cord", "Heart", "Lung"]
    assert lines[0]["C, copy minus A"] == "-6"
    assert lines[0]["B verdict"] == "acceptable"
    assert lines[1]["Best"] == "B"
    assert lines[2]["Best"] == "A; B"
    assert lines[2]["C, copy value"] == ""


def test_plans_with_different_goals():
    """A goal that one plan lacks stays in the table."""
    one, other = (parse_goal(goal) for goal in GOALS[:2])
    table = compare_goals({"A": [GoalResult(one, 50.0, True)], "B": [GoalResult(other, 40.0, True)]})
    assert table.rows[0].verdicts() == ("passed", "not asked")
    assert table.rows[1].verdicts() == ("not asked", "passed")
    assert table.rows[1].differences() == (None, None)
    assert table.rows[1].best() == (1,)


def test_nothing_to_compare_is_refused():
    """No plan, no goals, the same goal twice."""
    goal = parse_goal(GOALS[0])
    with pytest.raises(EvaluationError, match="no plan to compare"):
        compare_goals({})
    with pytest.raises(EvaluationError, match="has a goal"):
        compare_goals({"A": []})
    with pytest.raises(EvaluationError, match="twice"):
        compare_goals({"A": [GoalResult(goal, 1.0, False)] * 2})
