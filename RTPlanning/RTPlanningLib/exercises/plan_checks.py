"""Checks of the case and of what a plan asks for: prescription, fields, engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from DoseEngineLib.engine import engine_options
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.plan import ControlPoint, Plan
from RTPlanningLib.exercises.check import Check, Comparison, PlanCheck, PlanKind, in_words
from RTPlanningLib.exercises.learner_work import Finding, LearnerPlan, LearnerWork
from RTPlanningLib.samples import available_samples

_SAME_DOSE_Gy = 0.005
_PARTS = ("prescription", "directions", "apertures")


@dataclass(frozen=True)
class CaseCheck(Check):
    """The case of this name is the one that is worked on, with these structures.

    Attributes
    ----------
    name : str
    structures : tuple of str
    """

    kind: ClassVar[str] = "case"
    name: str
    structures: tuple[str, ...] = ()

    def find(self, work: LearnerWork, plans: Mapping[str, PlanKind]) -> Finding:
        """Look at the case."""
        title = _sample_title(self.name)
        if work.case is None:
            return Finding(False, "No case is loaded.", f"Load the sample {title}.")
        if work.case != self.name:
            return Finding(False, f"The case is {work.case}.", f"Load the sample {title}, or choose its CT.")
        missing = [name for name in self.structures if name not in work.structures]
        if missing:
            return Finding(
                False,
                f"The case {self.name} lacks {in_words(missing)}.",
                "Choose the sample's own structures, or load the sample again.",
            )
        return Finding(True, f"The case is {self.name}, with {in_words(work.structures)}.")


@dataclass(frozen=True)
class PrescriptionCheck(PlanCheck):
    """What is prescribed; whatever is not given here is free.

    Attributes
    ----------
    target : str or None
    dose_Gy : float or None
    fractions : int or None
    """

    kind: ClassVar[str] = "prescription"
    target: str | None = None
    dose_Gy: float | None = None
    fractions: int | None = None

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Look at the prescription."""
        has = learner.plan.prescription
        if has is None:
            return Finding(False, f"{learner.name} has no prescription.", f"Prescribe {self._wanted()}.")
        found = f"{learner.name} prescribes {has.dose_Gy:g} Gy in {has.fractions} fractions"
        found += f" to {has.target}." if has.target else "."
        wrong = (
            (self.target is not None and has.target != self.target)
            or (self.dose_Gy is not None and abs(has.dose_Gy - self.dose_Gy) > _SAME_DOSE_Gy)
            or (self.fractions is not None and has.fractions != self.fractions)
        )
        return Finding(not wrong, found, f"Prescribe {self._wanted()}." if wrong else "")

    def _wanted(self) -> str:
        parts = [f"{self.dose_Gy:g} Gy" if self.dose_Gy is not None else "the dose"]
        parts += [f"in {self.fractions} fractions"] if self.fractions is not None else []
        parts += [f"to {self.target}"] if self.target is not None else []
        return " ".join(parts)


@dataclass(frozen=True)
class FieldsCheck(PlanCheck):
    """How many fields a plan has.

    Attributes
    ----------
    minimum, maximum : int
        Both allowed.
    """

    kind: ClassVar[str] = "fields"
    minimum: int = 1
    maximum: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"minimum {self.minimum} and maximum {self.maximum} must rise from 1.")

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Count the fields."""
        number = len(learner.plan.beams)
        found = f"{learner.name} has {number} field{'s' if number != 1 else ''}."
        if number < self.minimum:
            return Finding(False, found, f"Add {self.minimum - number} more.")
        if number > self.maximum:
            return Finding(False, found, f"Remove {number - self.maximum}.")
        return Finding(True, found)


@dataclass(frozen=True)
class GantryAnglesCheck(PlanCheck):
    """The fields come from these gantry angles and no others.

    Attributes
    ----------
    angles_deg : tuple of float
        IEC 61217; 360 is 0.
    tolerance_deg : float
    """

    kind: ClassVar[str] = "gantry_angles"
    angles_deg: tuple[float, ...]
    tolerance_deg: float = 1.0

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Compare the gantry angles."""
        has = gantry_angles_deg(learner.plan)
        left = list(has)
        missing = []
        for angle in self.angles_deg:
            near = [other for other in left if _turn_deg(other, angle) <= self.tolerance_deg]
            if near:
                left.remove(near[0])
            else:
                missing.append(angle)
        found = f"{learner.name} has gantry angles of {in_words(has)} degrees."
        to_do = f"Add a field at {in_words(missing)} degrees." if missing else ""
        if left:
            to_do = f"{to_do} Remove the field at {in_words(left)} degrees.".strip()
        return Finding(not to_do, found, to_do)


@dataclass(frozen=True)
class OpposedPairsCheck(PlanCheck):
    """So many pairs of fields look at each other: gantry angles half a turn apart, the couch as it was.

    Attributes
    ----------
    number : int
    tolerance_deg : float
    """

    kind: ClassVar[str] = "opposed_pairs"
    number: int
    tolerance_deg: float = 1.0

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Count the pairs."""
        left = [(point.gantry_deg, point.couch_deg) for point in (b.control_points[0] for b in learner.plan.beams)]
        pairs = []
        while left:
            gantry, couch = left.pop(0)
            for other in left:
                turned = _turn_deg(other[0], gantry + 180.0) <= self.tolerance_deg
                if turned and _turn_deg(other[1], couch) <= self.tolerance_deg:
                    left.remove(other)
                    pairs.append(f"{gantry:g} and {other[0]:g}")
                    break
        number = len(pairs)
        found = f"{learner.name} has {number} opposed pair{'s' if number != 1 else ''} of fields"
        found += f" ({'; '.join(pairs)} degrees)." if pairs else "."
        if number == self.number:
            return Finding(True, found)
        if number < self.number:
            return Finding(False, found, "Give every field of a pair a partner at a gantry angle 180 degrees on.")
        return Finding(False, found, f"Keep {self.number}, and remove the others.")


@dataclass(frozen=True)
class EngineCheck(PlanCheck):
    """The plan's dose engine is one of these.

    Attributes
    ----------
    labels : tuple of str
    """

    kind: ClassVar[str] = "engine"
    labels: tuple[str, ...]

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Look at the engine."""
        passed = learner.plan.engine in self.labels
        to_do = "" if passed else f"Choose {' or '.join(self.labels)}."
        return Finding(passed, f"{learner.name} is calculated by {learner.plan.engine}.", to_do)


@dataclass(frozen=True)
class EngineOptionCheck(PlanCheck):
    """An option of the plan's engine has this value, set or by default.

    Attributes
    ----------
    name : str
    value : bool, int, float, str or None
    """

    kind: ClassVar[str] = "engine_option"
    name: str
    value: Any

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Look at the option."""
        try:
            declared = {option.name: option for option in engine_options(learner.plan.engine)}
        except PlanningError as error:
            return Finding(False, str(error), "Choose another dose engine.")
        if self.name not in declared:
            return Finding(
                False,
                f"{learner.name} is calculated by {learner.plan.engine}, which has no option {self.name}.",
                "Choose an engine that has it.",
            )
        option = declared[self.name]
        value = learner.plan.engine_options.get(self.name, option.default)
        passed = value == self.value
        found = f"{learner.name}: {option.title} is {_option_in_words(value)}."
        return Finding(passed, found, "" if passed else f"Set {option.title} to {_option_in_words(self.value)}.")


@dataclass(frozen=True)
class AperturesCheck(PlanCheck):
    """How many different apertures the fields have: one is a plain field, several are modulated fluence.

    Attributes
    ----------
    minimum : int
        In more than half of the fields; what is optimized may leave some of them plain.
    maximum : int
        In every field.
    """

    kind: ClassVar[str] = "apertures"
    minimum: int = 1
    maximum: int = 10000

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"minimum {self.minimum} and maximum {self.maximum} must rise from 1.")

    def find_in(self, learner: LearnerPlan) -> Finding:
        """Count the apertures of each field."""
        numbers = {beam.name: len({p.aperture for p in beam.control_points}) for beam in learner.plan.beams}
        least, most = min(numbers.values()), max(numbers.values())
        found = f"{learner.name} has {least} to {most} apertures a field."
        if least == most:
            found = f"{learner.name} has {least} aperture{'s' if least != 1 else ''} in every field."
        few = [name for name, number in numbers.items() if number < self.minimum]
        many = [name for name, number in numbers.items() if number > self.maximum]
        if 2 * len(few) >= len(numbers):
            to_do = f"Optimize the fluence: {in_words(few)} should have {self.minimum} apertures or more."
            return Finding(False, found, to_do)
        if many:
            return Finding(False, found, f"Give {in_words(many)} a plain aperture, fitted to the target.")
        return Finding(True, found)


@dataclass(frozen=True)
class SameAsCheck(Comparison):
    """The plan shares these with the other one, so that the rest can be compared.

    Attributes
    ----------
    parts : tuple of str
        Of "prescription", "directions" (gantry, collimator and couch about the isocentre), "apertures".
    """

    kind: ClassVar[str] = "same_as"
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in _PARTS]
        if unknown or not self.parts:
            raise ValueError(f"parts are some of {', '.join(_PARTS)}; got {self.parts}.")

    def compare(self, learner: LearnerPlan, other: LearnerPlan) -> Finding:
        """Compare part by part."""
        differ = [part for part in self.parts if _part(learner.plan, part) != _part(other.plan, part)]
        if differ:
            return Finding(
                False,
                f"{learner.name} and {other.name} differ in {in_words(differ)}.",
                f"Make {in_words(differ)} the same; the easiest way is to copy {other.name} and change only what is "
                "asked for.",
            )
        return Finding(True, f"{learner.name} and {other.name} have the same {in_words(self.parts)}.")


def _sample_title(name: str) -> str:
    """How a sample is listed, with its name."""
    titles = {sample: title for sample, title, _description in available_samples()}
    return f"'{titles[name]}' ({name})" if name in titles else name


def gantry_angles_deg(plan: Plan) -> tuple[float, ...]:
    """Return the gantry angles of a plan's fields in 0..360, in their order; an arc's is where it begins."""
    return tuple(beam.control_points[0].gantry_deg % 360.0 for beam in plan.beams)


def _part(plan: Plan, part: str) -> object:
    if part == "prescription":
        return plan.prescription
    if part == "apertures":
        return [list(dict.fromkeys(point.aperture for point in beam.control_points)) for beam in plan.beams]
    # a static field has one direction, however many apertures it goes through
    return [
        (
            tuple(round(x, 1) for x in beam.isocenter_RAS_mm),
            tuple(dict.fromkeys(_angles_deg(point) for point in beam.control_points)),
        )
        for beam in plan.beams
    ]


def _angles_deg(point: ControlPoint) -> tuple[float, float, float]:
    return point.gantry_deg % 360.0, point.collimator_deg % 360.0, point.couch_deg % 360.0


def _turn_deg(one: float, other: float) -> float:
    return abs((one - other + 180.0) % 360.0 - 180.0)


def _option_in_words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "left to the engine" if value is None else str(value)
