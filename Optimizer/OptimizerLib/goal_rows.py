"""Objective rows to begin with, from a plan's clinical goals and its prescription.

Goals say what is good enough, rows what to search for; the rows made here are the goals themselves, with what goals
leave unsaid: a uniform dose to the target, dose that falls off around it, and fluence without needless peaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from DoseEngineLib.clinical_goals import Goal, parse_goal
from DoseEngineLib.dose_metrics import format_number
from OptimizerLib.aims import Dose, Falloff, FluenceAim, UniformDose
from OptimizerLib.objective_rows import ObjectiveRow

# Weights that lead to sensible first plans of the TG-119 cases; a person changes them from there.
_TARGET_WEIGHT, _ORGAN_WEIGHT, _FALLOFF_WEIGHT, _SMOOTH_WEIGHT = 100.0, 20.0, 5.0, 0.01
# A target is aimed at with a little more than its coverage asks for: the dose falls off at its rim.
_ABOVE_COVERAGE = 1.03
# Fall-off of the body: from the prescribed dose to this part of it in this distance.
_FAR_PART, _REACH_MM = 0.3, 40.0
_OPTIMIZED = ("Mean", "Max", "Min", "gEUD", "D", "DC", "V", "CV", "Coverage")


@dataclass(frozen=True)
class GoalRows:
    """Rows made of goals.

    Attributes
    ----------
    rows : tuple of ObjectiveRow
    left_out : tuple of (str, str)
        Goals without a row, and why.
    """

    rows: tuple[ObjectiveRow, ...]
    left_out: tuple[tuple[str, str], ...]


def rows_from_goals(
    goals: Iterable[Goal | str],
    *,
    target: str | None = None,
    prescription_Gy: float | None = None,
    targets: Sequence[str] = (),
    structures: Sequence[str] | None = None,
    body: str | None = None,
) -> GoalRows:
    """Turn goals into rows.

    Parameters
    ----------
    goals : iterable of Goal or str
    target : str, optional
        Of the prescription.
    prescription_Gy : float, optional
        Of the course.
    targets : sequence of str
        Others that are targets; their goals get the weight of targets.
    structures : sequence of str, optional
        Names that the case has: goals of others are left out. By default any may be named.
    body : str, optional
        The outline of the patient; dose falls off in it.

    Raises
    ------
    EvaluationError
        A goal that cannot be read.
    """
    read = [parse_goal(goal) if isinstance(goal, str) else goal for goal in goals]
    named = set(targets) | ({target} if target else set())
    rows: list[ObjectiveRow] = []
    left_out: list[tuple[str, str]] = []
    if target and prescription_Gy:
        covered = any(g.structure == target and g.wants_more and _is_coverage(g, prescription_Gy) for g in read)
        dose_Gy = round(prescription_Gy * (_ABOVE_COVERAGE if covered else 1.0), 2)
        rows.append(ObjectiveRow(UniformDose(target, Dose(dose_Gy)), _TARGET_WEIGHT))
    for goal in read:
        reason = _without_row(goal, structures, prescription_Gy)
        if reason:
            left_out.append((str(goal), reason))
        else:
            rows.append(ObjectiveRow(goal, _TARGET_WEIGHT if goal.structure in named else _ORGAN_WEIGHT))
    if target and prescription_Gy and body:
        near, far = Dose(float(prescription_Gy)), Dose(round(_FAR_PART * prescription_Gy, 2))
        rows.append(ObjectiveRow(Falloff(body, near, far, _REACH_MM, target), _FALLOFF_WEIGHT))
    if rows:
        rows.append(ObjectiveRow(FluenceAim("smoothness"), _SMOOTH_WEIGHT))
    return GoalRows(tuple(dict.fromkeys(rows)), tuple(left_out))


def _is_coverage(goal: Goal, prescription_Gy: float) -> bool:
    """Whether a goal wants about the prescribed dose, so that a target aimed at with just that would miss it."""
    if goal.metric.kind == "Coverage":
        return True
    if goal.metric.kind not in ("D", "Min") or goal.metric.unit != "Gy":
        return False
    in_Gy = {"Gy": 1.0, "cGy": 0.01, "%": prescription_Gy / 100.0}[goal.unit] * goal.limit
    return in_Gy > 0.97 * prescription_Gy


def _without_row(goal: Goal, structures: Sequence[str] | None, prescription_Gy: float | None) -> str:
    """Why a goal has no row; empty where it has one."""
    if structures is not None and goal.structure not in structures:
        return f"there is no structure {goal.structure}"
    kind, more = goal.metric.kind, goal.wants_more
    if kind not in _OPTIMIZED:
        return f"{goal.metric} is judged, not optimized: a uniform dose and a fall-off serve it"
    if (kind == "Max" and more) or (kind == "Min" and not more):
        return f"a {'higher maximum' if kind == 'Max' else 'lower minimum'} is nothing to optimize for"
    if kind == "gEUD" and (goal.metric.amount < 1.0 if not more else goal.metric.amount > 1.0):
        return f"gEUD with a = {format_number(goal.metric.amount)} cannot be searched for in this direction"
    if goal.needs_prescription and not prescription_Gy:
        return "it is in % of the prescribed dose, and there is no prescription"
    return ""
