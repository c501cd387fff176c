"""Judged clinical goals as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from RTPlanningLib.evaluation.goals import GoalResult

COLUMNS = ("Goal", "Structure", "Metric", "Limit", "Achieved", "Unit", "Result", "Note")


def goals_csv(goals: Sequence[GoalResult]) -> str:
    """Return goals and what the plan achieves as CSV text, a line a goal, four decimals."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in goals:
        goal = result.goal
        achieved = "" if result.value is None else f"{result.value:.4f}"
        writer.writerow(
            (goal, goal.structure, goal.metric, goal.limit_text, achieved, goal.unit, result.verdict, result.note)
        )
    return stream.getvalue()
