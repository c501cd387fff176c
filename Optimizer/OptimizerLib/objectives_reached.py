"""What a plan reaches of its objective rows, ideally and as delivered: the figures of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import checked_prescription
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from OptimizerLib.aims import Extreme, UniformDose
from OptimizerLib.objective_rows import ObjectiveRow

# Doses are computed in single precision: a value this close to its limit (relative) meets it.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Reached:
    """What a dose reaches of a row.

    Attributes
    ----------
    text : str
        The value with its unit, or why there is none; empty for rows that no value of a DVH tells of.
    met : bool or None
        None where the row has no limit, or there is no value.
    """

    text: str
    met: bool | None = None


@dataclass(frozen=True)
class RowOutcome:
    """A row, and what came of it.

    Attributes
    ----------
    row : ObjectiveRow
    ideal : Reached
        With the fluence as it was found, before leaves and before any scaling to the prescription.
    delivered : Reached
        In the dose of the plan.
    """

    row: ObjectiveRow
    ideal: Reached
    delivered: Reached


def row_outcomes(
    rows: Sequence[ObjectiveRow],
    ideal: Mapping[str, Dvh],
    delivered: Mapping[str, Dvh],
    prescription_Gy: float | None,
    fractions: int,
) -> tuple[RowOutcome, ...]:
    """Judge rows by the DVHs of two doses; structures without a DVH are told in the outcome.

    Parameters
    ----------
    rows : sequence of ObjectiveRow
    ideal, delivered : mapping of structure name to Dvh
    prescription_Gy : float, optional
        Of the course.
    fractions : int
        For rows per fraction.
    """
    return tuple(
        RowOutcome(row, *(reached(row, dvhs, prescription_Gy, fractions) for dvhs in (ideal, delivered)))
        for row in rows
    )


def reached(row: ObjectiveRow, dvhs: Mapping[str, Dvh], prescription_Gy: float | None, fractions: int) -> Reached:
    """What the dose of some DVHs reaches of a row."""
    if row.structure is None:
        return Reached("")
    dvh = dvhs.get(row.structure)
    if dvh is None:
        return Reached("no dose of this structure")
    aim = row.aim
    try:
        if isinstance(aim, Goal):
            return _of_goal(aim, dvh, prescription_Gy, fractions if row.per == "fraction" else 1)
        if isinstance(aim, UniformDose):
            low, high = dvh.dose_at_volume_percent(98.0), dvh.dose_at_volume_percent(2.0)
            return Reached(f"mean {dvh.mean_Gy:.4g} Gy, D98% {low:.4g}, D2% {high:.4g}")
        if isinstance(aim, Extreme):
            value, unit = aim.metric.evaluate(dvh, prescription_Gy)
            return Reached(f"{value:.4g} {unit}".strip())
    except EvaluationError as error:
        return Reached(str(error).splitlines()[-1])
    # a fall-off is a level a voxel: its mean dose says at least how much there is
    return Reached(f"mean {dvh.mean_Gy:.4g} Gy")


def _of_goal(goal: Goal, dvh: Dvh, prescription_Gy: float | None, fractions: int) -> Reached:
    value, unit = goal.metric.evaluate(dvh, prescription_Gy)
    if goal.metric.kind in ("V", "CV") and fractions != 1:
        # the level is one of a fraction
        return Reached("judged per course only")
    if unit == "Gy":
        value /= fractions
        if goal.unit == "cGy":
            value *= 100.0
        elif goal.unit == "%":
            value *= 100.0 / checked_prescription(prescription_Gy, str(goal)) * fractions
    slack = _ROUNDING * max(abs(goal.limit), 1e-9)
    met = value >= goal.limit - slack if goal.wants_more else value <= goal.limit + slack
    return Reached(f"{value:.4g} {goal.unit}".strip(), met)
