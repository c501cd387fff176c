"""What an objective row asks for: a clinical goal, a uniform dose, a fall-off, an extreme, or smooth fluence.

An aim is data: it knows how it is written, and which structures it speaks of. `row_terms` makes objectives of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import Metric, format_number
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.dose_falloff import SHAPES

DOSE_UNITS = ("Gy", "cGy", "%")
FLUENCE_TERMS = ("smoothness", "total variation")


@dataclass(frozen=True)
class Dose:
    """A dose as written: in Gy, in cGy, or in % of the prescribed dose.

    Attributes
    ----------
    value : float
    unit : {"Gy", "cGy", "%"}
    """

    value: float
    unit: str = "Gy"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0.0):
            raise OptimizationError(f"A dose must be a finite number of 0 or more; got {self.value!r}.")
        if self.unit not in DOSE_UNITS:
            raise OptimizationError(
                f"A dose is in {', '.join(DOSE_UNITS)} (of the prescribed dose); got {self.unit!r}."
            )

    def __str__(self) -> str:
        return f"{format_number(self.value)} {self.unit}"


@dataclass(frozen=True)
class UniformDose:
    """``PTV uniform 60 Gy``: this dose everywhere in the structure."""

    structure: str
    dose: Dose

    def __post_init__(self) -> None:
        _check_name(self.structure, "A uniform dose")

    def __str__(self) -> str:
        return f"{self.structure} uniform {self.dose}"


@dataclass(frozen=True)
class Falloff:
    """``Body falloff 60 Gy -> 20 Gy in 30 mm from PTV``: dose that falls with the distance from a target.

    Attributes
    ----------
    structure : str
        The tissue, often the whole body.
    near, far : Dose
        At the target's surface, and beyond the reach.
    reach_mm : float
    target : str
    shape : {"linear", "exponential"}
    """

    structure: str
    near: Dose
    far: Dose
    reach_mm: float
    target: str
    shape: str = "linear"

    def __post_init__(self) -> None:
        _check_name(self.structure, "A fall-off")
        _check_name(self.target, "A fall-off from a target")
        if not (math.isfinite(self.reach_mm) and self.reach_mm > 0.0):
            raise OptimizationError(
                f"The fall-off in {self.structure} needs a distance above 0 mm; got {self.reach_mm}."
            )
        if self.shape not in SHAPES:
            raise OptimizationError(f"A fall-off is {' or '.join(SHAPES)}; got {self.shape!r}.")
        if (self.near.unit == "%") == (self.far.unit == "%") and self._in_near_unit(self.far) >= self.near.value:
            raise OptimizationError(
                f"The fall-off in {self.structure} must go from a higher to a lower dose; got {self.near} -> "
                f"{self.far}."
            )

    def __str__(self) -> str:
        reach = format_number(self.reach_mm)
        text = f"{self.structure} falloff {self.near} -> {self.far} in {reach} mm from {self.target}"
        return text if self.shape == "linear" else f"{text}, {self.shape}"

    def _in_near_unit(self, dose: Dose) -> float:
        factor = {("Gy", "cGy"): 100.0, ("cGy", "Gy"): 0.01}.get((dose.unit, self.near.unit), 1.0)
        return dose.value * factor


@dataclass(frozen=True)
class Extreme:
    """``minimize Lung Mean``: a value as low, or as high, as the rest allows.

    Attributes
    ----------
    direction : {"minimize", "maximize"}
    structure : str
    metric : Metric
        Mean, Max or gEUD with a >= 1 to minimize; Min or gEUD with a < 1 to maximize.
    """

    direction: str
    structure: str
    metric: Metric

    def __post_init__(self) -> None:
        _check_name(self.structure, "An aim")
        kind, a = self.metric.kind, self.metric.amount
        low = kind in ("Mean", "Max") or (kind == "gEUD" and a >= 1)
        high = kind == "Min" or (kind == "gEUD" and a < 1)
        offered = {"minimize": low, "maximize": high}.get(self.direction, False)
        if not offered or self.metric.unit != "Gy":
            raise OptimizationError(
                f"{self.structure}: {self.direction} {self.metric} is not offered; minimize Mean, Max or gEUD with a "
                "of 1 or more, maximize Min or gEUD with a below 1, or write a goal with a limit."
            )

    def __str__(self) -> str:
        return f"{self.direction} {self.structure} {self.metric}"


@dataclass(frozen=True)
class FluenceAim:
    """``fluence smoothness`` or ``fluence total variation``: bixels that differ little from their neighbours."""

    term: str

    def __post_init__(self) -> None:
        if self.term not in FLUENCE_TERMS:
            raise OptimizationError(
                f"A fluence row is fluence {' or fluence '.join(FLUENCE_TERMS)}; got {self.term!r}."
            )

    def __str__(self) -> str:
        return f"fluence {self.term}"


Aim = Goal | UniformDose | Falloff | Extreme | FluenceAim


def _check_name(name: str, what: str) -> None:
    if not name.strip():
        raise OptimizationError(f"{what} needs the name of a structure.")
