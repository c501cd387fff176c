"""Checks of fractionation: EQD2 of what is prescribed, beside that of another plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.exercises.check import Comparison, PlanCheck
from RTPlanningLib.exercises.dose_checks import check_direction, compared
from RTPlanningLib.exercises.learner_work import Finding, LearnerPlan
from RTPlanningLib.radiobiology.linear_quadratic import eqd2_Gy


@dataclass(frozen=True)
class FractionDoseCheck(PlanCheck):
    """The prescribed dose a fraction lies in a range.

    Attributes
    ----------
    minimum_Gy, maximum_Gy : float
        Both allowed.
    """

    kind: ClassVar[str] = "fraction_dose"
    minimum_Gy: float
    maximum_Gy: float

    def __post_init__(self) -> None:
        if not 0.0 < self.minimum_Gy <= self.maximum_Gy:
            raise ValueError(f"{self.minimum_Gy} to {self.maximum_Gy} Gy is no range.")

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Divide the dose by the fractions."""
        has = learner.plan.prescription
        if has is None:
            return Finding(False, f"{learner.name} has no prescription.", "Prescribe a dose and fractions.")
        dose = has.dose_Gy / has.fractions
        passed = self.minimum_Gy <= dose <= self.maximum_Gy
        to_do = "" if passed else f"Choose {self.minimum_Gy:g} to {self.maximum_Gy:g} Gy a fraction."
        return Finding(passed, f"{learner.name} prescribes {dose:.4g} Gy a fraction.", to_do)


@dataclass(frozen=True)
class Eqd2ComparedCheck(Comparison):
    """EQD2 of the prescribed dose is lower or higher than the other plan's, or the same.

    Attributes
    ----------
    alpha_beta_Gy : float
    direction : {"lower", "higher", "same"}
    by_percent : float
        For "lower" and "higher".
    within_Gy : float
        For "same".
    """

    kind: ClassVar[str] = "eqd2_compared"
    alpha_beta_Gy: float
    direction: str
    by_percent: float = 0.0
    within_Gy: float = 0.0

    def __post_init__(self) -> None:
        if self.direction == "same":
            if self.within_Gy <= 0.0:
                raise ValueError(f"within_Gy must be above 0 where EQD2 is to be the same; got {self.within_Gy}.")
        else:
            check_direction(self.direction, self.by_percent)
        try:
            eqd2_Gy(2.0, 1, self.alpha_beta_Gy)
        except EvaluationError as error:
            raise ValueError(str(error)) from error

    def compare(self, learner: LearnerPlan, other: LearnerPlan) -> Finding:
        """Compare EQD2 of what is prescribed."""
        values = []
        for one in (learner, other):
            has = one.plan.prescription
            if has is None:
                return Finding(False, f"{one.name} has no prescription.", "Prescribe a dose and fractions.")
            values.append(float(eqd2_Gy(has.dose_Gy, has.fractions, self.alpha_beta_Gy)))
        what = f"EQD2 of the prescribed dose with alpha/beta {self.alpha_beta_Gy:g} Gy"
        if self.direction != "same":
            return compared(what, "Gy", learner.name, other.name, values, self.direction, self.by_percent)
        mine, theirs = values
        found = f"{what}: {mine:.2f} Gy in {learner.name}, {theirs:.2f} Gy in {other.name}."
        if abs(mine - theirs) <= self.within_Gy:
            return Finding(True, found)
        change = "lower" if mine > theirs else "raise"
        to_do = f"They should agree within {self.within_Gy:g} Gy: {change} the dose of {learner.name}."
        return Finding(False, found, to_do)
