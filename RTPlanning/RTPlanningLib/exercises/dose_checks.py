"""Checks of a plan's dose: that it is there, its goals, and how it compares with that of another plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from DoseEngineLib.clinical_goals import parse_goal
from DoseEngineLib.dose_metrics import format_number, parse_metric
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError, PlanningError
from RTPlanningLib.evaluation.goals import evaluate_goals
from RTPlanningLib.exercises.check import Comparison, PlanCheck
from RTPlanningLib.exercises.learner_work import Finding, LearnerPlan
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.tissue import Tissue

DIRECTIONS = ("lower", "higher")


@dataclass(frozen=True)
class DoseCurrentCheck(PlanCheck):
    """The plan has a dose, and was not changed after it."""

    kind: ClassVar[str] = "dose_current"

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Look whether there is a dose, and of what."""
        if learner.dose_is_current:
            return Finding(True, f"{learner.name} has a dose, calculated for the plan as it is.")
        if learner.has_dose:
            return Finding(
                False, f"{learner.name} was changed after its dose was calculated.", "Calculate the dose again."
            )
        return Finding(False, f"{learner.name} has no dose yet.", "Calculate the dose.")


@dataclass(frozen=True)
class GoalCheck(PlanCheck):
    """A clinical goal is met, in physical dose or in EQD2.

    Attributes
    ----------
    goal : str
        In the grammar of `DoseEngineLib.clinical_goals`; % is of the prescribed dose.
    alpha_beta_Gy : float or None
        The DVH is one of EQD2 with this alpha/beta. The goal's limit is then in Gy.
    """

    kind: ClassVar[str] = "goal"
    goal: str
    alpha_beta_Gy: float | None = None

    def __post_init__(self) -> None:
        goal = _checked(parse_goal, self.goal)
        _no_body(goal.metric)
        if self.alpha_beta_Gy is not None:
            if goal.needs_prescription:
                raise ValueError("a goal in EQD2 cannot be in % of the prescribed, physical dose; write it in Gy.")
            _checked(lambda value: Tissue("Tissue", value), self.alpha_beta_Gy)

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Judge the goal."""
        goal = parse_goal(self.goal)
        try:
            dvh = dvh_in_terms(learner, goal.structure, self.alpha_beta_Gy)
        except PlanningError as error:
            return Finding(False, str(error), "Calculate the dose of the plan and check again.")
        prescription = learner.plan.prescription
        result = evaluate_goals([goal], {goal.structure: dvh}, prescription.dose_Gy if prescription else None)[0]
        biology = "" if self.alpha_beta_Gy is None else f" in EQD2 with alpha/beta {self.alpha_beta_Gy:g} Gy"
        if result.passed is None:
            return Finding(False, f"{self.goal} cannot be judged: {result.note}", "Mend that and check again.")
        found = f"{learner.name}: {goal.structure} {goal.metric} is {result.value:.4g} {goal.unit}{biology}."
        return Finding(result.passed, found, "" if result.passed else f"Aim at {self.goal}{biology}.")


@dataclass(frozen=True)
class MetricComparedCheck(Comparison):
    """A metric of the plan is lower or higher than the other plan's, by so many per cent of that at least.

    Attributes
    ----------
    structure, metric : str
    direction : {"lower", "higher"}
    by_percent : float
    alpha_beta_Gy : float or None
        Both DVHs are of EQD2 with this alpha/beta.
    """

    kind: ClassVar[str] = "metric_compared"
    structure: str
    metric: str
    direction: str
    by_percent: float = 0.0
    alpha_beta_Gy: float | None = None

    def __post_init__(self) -> None:
        metric = _checked(parse_metric, self.metric)
        _no_body(metric)
        check_direction(self.direction, self.by_percent)
        if self.alpha_beta_Gy is not None and metric.needs_prescription:
            raise ValueError("a metric in EQD2 cannot refer to the prescribed, physical dose; write it in Gy.")

    def compare(self, learner: LearnerPlan, other: LearnerPlan) -> Finding:
        """Compare the metric."""
        metric, values = parse_metric(self.metric), []
        for one in (learner, other):
            try:
                dvh = dvh_in_terms(one, self.structure, self.alpha_beta_Gy)
                prescription = one.plan.prescription
                values.append(metric.evaluate(dvh, prescription.dose_Gy if prescription else None)[0])
            except PlanningError as error:
                return Finding(False, f"{one.name}: {error}", f"Calculate the dose of {one.name} and check again.")
        biology = "" if self.alpha_beta_Gy is None else f" in EQD2 with alpha/beta {self.alpha_beta_Gy:g} Gy"
        what = f"{self.structure} {metric}{biology}"
        return compared(what, metric.unit, learner.name, other.name, values, self.direction, self.by_percent)


@dataclass(frozen=True)
class MonitorUnitsComparedCheck(Comparison):
    """The MU of a fraction, all fields together, are lower or higher than the other plan's.

    Attributes
    ----------
    direction : {"lower", "higher"}
    by_percent : float
    """

    kind: ClassVar[str] = "monitor_units_compared"
    direction: str
    by_percent: float = 0.0

    def __post_init__(self) -> None:
        check_direction(self.direction, self.by_percent)

    def compare(self, learner: LearnerPlan, other: LearnerPlan) -> Finding:
        """Compare the MU."""
        values = []
        for one in (learner, other):
            if not one.dose_is_current:
                return Finding(
                    False, f"{one.name} has no current dose, so its MU are not known.", f"Calculate it of {one.name}."
                )
            values.append(sum(beam.meterset_MU for beam in one.plan.beams))
        return compared("the MU of a fraction", "MU", learner.name, other.name, values, self.direction, self.by_percent)


def compared(
    what: str, unit: str, name: str, other: str, values: list[float], direction: str, by_percent: float
) -> Finding:
    """Judge two values: the plan's and the other's."""
    mine, theirs = values
    found = f"{what}: {_number(mine)}{unit and ' ' + unit} in {name}, {_number(theirs)}{unit and ' ' + unit} in {other}"
    if theirs != 0.0:
        found += f" ({100.0 * (mine - theirs) / theirs:+.1f} %)"
    wanted = theirs * (1.0 + (by_percent if direction == "higher" else -by_percent) / 100.0)
    passed = mine < wanted if direction == "lower" else mine > wanted
    if by_percent and mine == wanted:
        passed = True
    least = f" by {format_number(by_percent)} % at least" if by_percent else ""
    to_do = "" if passed else f"It should be {direction} in {name}{least}; check that {name} is the plan to be judged."
    return Finding(passed, found[0].upper() + found[1:] + ".", to_do)


def dvh_in_terms(learner: LearnerPlan, structure: str, alpha_beta_Gy: float | None) -> Dvh:
    """Return a DVH of physical dose, or with an alpha/beta of EQD2 after the plan's number of fractions."""
    dvh = learner.dvh_of(structure)
    if alpha_beta_Gy is None:
        return dvh
    return Tissue(structure, alpha_beta_Gy).eqd2_dvh(dvh, Fractionation(learner.plan.fractions))


def check_direction(direction: str, by_percent: float) -> None:
    """Raise `ValueError` unless it is a direction and a share that can be asked for."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is lower or higher; got {direction!r}.")
    if not 0.0 <= by_percent < (100.0 if direction == "lower" else 1e4):
        raise ValueError(f"by_percent {by_percent} cannot be asked for.")


def _checked(read, value):
    try:
        return read(value)
    except EvaluationError as error:
        raise ValueError(str(error)) from error


def _no_body(metric) -> None:
    if metric.needs_body:
        raise ValueError(f"{metric} asks for isodose volumes of the body, which exercises do not calculate.")


def _number(value: float) -> str:
    return f"{value:.4g}"
