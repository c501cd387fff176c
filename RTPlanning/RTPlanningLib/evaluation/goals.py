"""Clinical goals judged: what the plan achieves for each, and whether that is enough.

The goals' grammar is `DoseEngineLib.clinical_goals`, which objectives share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from DoseEngineLib.clinical_goals import GOAL_EXAMPLE, OPERATORS, Goal, parse_goal
from DoseEngineLib.dose_metrics import IsodoseVolumeSource, checked_prescription
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError

__all__ = ["GOAL_EXAMPLE", "JUDGED", "OPERATORS", "VERDICTS", "Goal", "GoalResult", "evaluate_goals", "parse_goal"]

# Every verdict on a goal, and those of goals that were judged.
VERDICTS = ("passed", "acceptable", "failed", "not evaluated")
JUDGED = VERDICTS[:3]
# Doses are computed in single precision: a value this close to its limit (relative) meets it.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class GoalResult:
    """A goal and what the plan achieves.

    Attributes
    ----------
    goal : Goal
    value : float or None
        Achieved value in the goal's unit; None where there is none.
    passed : bool or None
        None: the goal could not be evaluated; ``note`` says why.
    note : str
    acceptable : bool
        The goal is missed, but within its acceptable variation.
    """

    goal: Goal
    value: float | None
    passed: bool | None
    note: str = ""
    acceptable: bool = False

    @property
    def verdict(self) -> str:
        """The result in words: "passed", "acceptable", "failed" or "not evaluated"."""
        return (
            "acceptable" if self.acceptable else {True: "passed", False: "failed", None: "not evaluated"}[self.passed]
        )


def evaluate_goals(
    goals: Iterable[Goal | str],
    dvhs: Mapping[str, Dvh],
    prescription_Gy: float | None = None,
    body: IsodoseVolumeSource | None = None,
) -> list[GoalResult]:
    """Judge every goal.

    A goal that cannot be evaluated (no such structure, no prescription, no isodose volumes, a volume larger than the
    structure, a structure partly outside the dose grid) gets ``passed=None`` and a note; it never passes.

    Parameters
    ----------
    goals : iterable of Goal or str
        Texts are read by `parse_goal`; a bad one raises `EvaluationError`.
    dvhs : mapping of structure name to Dvh
        Names are compared exactly.
    prescription_Gy : float, optional
        Prescribed dose of the course.
    body : IsodoseVolumeSource, optional
        Isodose volumes of the whole body (`DoseEngineLib.isodose_volume.IsodoseVolumes`, or the body's DVH), for
        conformity, gradient and spillage.
    """
    read = (parse_goal(goal) if isinstance(goal, str) else goal for goal in goals)
    return [_judge(goal, dvhs, prescription_Gy, body) for goal in read]


def _judge(
    goal: Goal, dvhs: Mapping[str, Dvh], prescription_Gy: float | None, body: IsodoseVolumeSource | None
) -> GoalResult:
    dvh = dvhs.get(goal.structure)
    if dvh is None:
        return GoalResult(goal, None, None, f"There is no DVH of a structure named {goal.structure}.")
    try:
        value, _ = goal.metric.evaluate(dvh, prescription_Gy, body)
        if goal.metric.is_dose and goal.metric.unit == "Gy" and goal.unit == "%":
            value *= 100.0 / checked_prescription(prescription_Gy, str(goal))
        elif goal.unit == "cGy":
            value *= 100.0
    except EvaluationError as error:
        return GoalResult(goal, None, None, str(error))
    if dvh.covered_fraction < 1.0:
        note = f"Only {dvh.covered_percent_text} % of the structure lie inside the dose grid."
        return GoalResult(goal, value, None, note)
    if _meets(value, goal.operator, goal.limit):
        return GoalResult(goal, value, True)
    acceptable = goal.acceptable_limit is not None and _meets(value, goal.operator, goal.acceptable_limit)
    return GoalResult(goal, value, False, "Within the acceptable variation." if acceptable else "", acceptable)


def _meets(value: float, operator: str, limit: float) -> bool:
    tolerance = _ROUNDING * limit
    return {
        ">=": value >= limit - tolerance,
        "<=": value <= limit + tolerance,
        ">": value > limit,
        "<": value < limit,
    }[operator]
