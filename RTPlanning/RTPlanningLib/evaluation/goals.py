"""Clinical goals judged: what the plan achieves for each, and whether that is enough.

The goals' grammar is `DoseEngineLib.clinical_goals`, which objectives share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from DoseEngineLib.clinical_goals import GOAL_EXAMPLE, OPERATORS, Goal, parse_goal
from DoseEngineLib.dose_metrics import checked_prescription
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError

__all__ = ["GOAL_EXAMPLE", "OPERATORS", "Goal", "GoalResult", "evaluate_goals", "parse_goal"]

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
    """

    goal: Goal
    value: float | None
    passed: bool | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """The result in words: "passed", "failed" or "not evaluated"."""
        return {True: "passed", False: "failed", None: "not evaluated"}[self.passed]


def evaluate_goals(
    goals: Iterable[Goal | str], dvhs: Mapping[str, Dvh], prescription_Gy: float | None = None
) -> list[GoalResult]:
    """Judge every goal.

    A goal that cannot be evaluated (no such structure, no prescription, a volume larger than the structure, a structure
    partly outside the dose grid) gets ``passed=None`` and a note; it never passes.

    Parameters
    ----------
    goals : iterable of Goal or str
        Texts are read by `parse_goal`; a bad one raises `EvaluationError`.
    dvhs : mapping of structure name to Dvh
        Names are compared exactly.
    prescription_Gy : float, optional
        Prescribed dose of the course.
    """
    return [_judge(parse_goal(goal) if isinstance(goal, str) else goal, dvhs, prescription_Gy) for goal in goals]


def _judge(goal: Goal, dvhs: Mapping[str, Dvh], prescription_Gy: float | None) -> GoalResult:
    dvh = dvhs.get(goal.structure)
    if dvh is None:
        return GoalResult(goal, None, None, f"There is no DVH of a structure named {goal.structure}.")
    try:
        value, _ = goal.metric.evaluate(dvh, prescription_Gy)
        if goal.metric.is_dose and goal.unit == "%":
            value *= 100.0 / checked_prescription(prescription_Gy, str(goal))
        elif goal.unit == "cGy":
            value *= 100.0
    except EvaluationError as error:
        return GoalResult(goal, None, None, str(error))
    if dvh.covered_fraction < 1.0:
        note = f"Only {100.0 * dvh.covered_fraction:.1f} % of the structure lie inside the dose grid."
        return GoalResult(goal, value, None, note)
    tolerance = _ROUNDING * goal.limit
    passed = {
        ">=": value >= goal.limit - tolerance,
        "<=": value <= goal.limit + tolerance,
        ">": value > goal.limit,
        "<": value < goal.limit,
    }[goal.operator]
    return GoalResult(goal, value, bool(passed))
