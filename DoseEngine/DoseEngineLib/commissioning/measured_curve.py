"""One measured curve in a water phantom: depth dose, profile or table of output factors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from DoseEngineLib.errors import PlanningError

KINDS = ("pdd", "profile", "output_factor")
AXES = ("crossline", "inline", "diagonal")

# Standard deviations assumed where a file states none: reading and set-up of a scanning water phantom.
DEFAULT_UNCERTAINTY_PERCENT = 0.5
DEFAULT_POSITION_UNCERTAINTY_MM = 0.5

# What a water phantom and a photon beam can be.
_SSD_MM = (400.0, 5000.0)
_DEEPEST_MM = 600.0
_WIDEST_MM = 500.0
# Logarithmic fall of a depth dose per mm behind its maximum: small cobalt-60 fields at short distance reach 0.007, high
# energies at long distance 0.002; a slip of ten is far outside.
_FALL_PER_MM = (0.0007, 0.02)


class MeasurementError(PlanningError):
    """A measured curve or file of curves that cannot be used; the text names file and line."""


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """A relative dose curve of a symmetric open field in water, surface flat and normal to the axis.

    Attributes
    ----------
    kind : {"pdd", "profile", "output_factor"}
    ssd_mm : float
        Source to water surface.
    field_mm : (float, float)
        Jaw setting X, Y at the isocentre plane; of output factors the field they are relative to.
    depth_mm : float or None
        Depth of a profile or of output factors; None for a depth dose.
    axis : {"crossline", "inline", "diagonal"} or None
        Direction of a profile: along X, along Y, or from the corner (-X, -Y) to (+X, +Y).
    position_mm : (n,) float array, rising
        Depth, off-axis position at depth, or equivalent square side 2xy/(x+y) of output factors.
    dose : (n,) float array
        As in the file, in any unit.
    fields_mm : (n, 2) float array or None
        Jaw settings of output factors.
    lines : (n,) int array
        Lines of the file the points stand on.
    file, line : str, int
        Where the curve begins.
    uncertainty_percent, position_uncertainty_mm : float
        One standard deviation of a point: per cent of the curve's maximum (of each output factor), and in position.
    """

    kind: str
    ssd_mm: float
    field_mm: tuple[float, float]
    depth_mm: float | None
    axis: str | None
    position_mm: np.ndarray
    dose: np.ndarray
    fields_mm: np.ndarray | None
    lines: np.ndarray
    file: str
    line: int
    detector: str = ""
    uncertainty_percent: float = DEFAULT_UNCERTAINTY_PERCENT
    position_uncertainty_mm: float = DEFAULT_POSITION_UNCERTAINTY_MM

    def __post_init__(self) -> None:
        self._check_conditions()
        self._check_points()
        object.__setattr__(self, "position_mm", _frozen(self.position_mm))
        object.__setattr__(self, "dose", _frozen(self.dose))
        if self.kind == "pdd":
            self._check_fall()

    @property
    def where(self) -> str:
        """File and first line."""
        return f"{self.file}, line {self.line}"

    @property
    def title(self) -> str:
        """What the curve is, in words."""
        x, y = (f"{side / 10:g}" for side in self.field_mm)
        ssd = f"SSD {self.ssd_mm / 10:g} cm"
        if self.kind == "pdd":
            return f"Depth dose {x} x {y} cm, {ssd}"
        if self.kind == "profile":
            return f"{self.axis.capitalize()} profile {x} x {y} cm, depth {self.depth_mm / 10:g} cm, {ssd}"
        return f"Output factors relative to {x} x {y} cm, depth {self.depth_mm / 10:g} cm, {ssd}"

    @property
    def conditions(self) -> tuple:
        """What makes two curves the same measurement."""
        return self.kind, self.ssd_mm, self.field_mm, self.depth_mm, self.axis

    def direction(self) -> np.ndarray:
        """Unit vector (x, y) of a profile."""
        if self.axis == "crossline":
            return np.array([1.0, 0.0])
        if self.axis == "inline":
            return np.array([0.0, 1.0])
        return np.array(self.field_mm) / np.hypot(*self.field_mm)

    def shifted(self, shift_mm: float) -> MeasuredCurve:
        """The same curve with its positions moved by ``shift_mm``."""
        return replace(self, position_mm=self.position_mm + shift_mm)

    def error(self, text: str, index: int | None = None) -> MeasurementError:
        """An error that names the file and the line of a point, or of the curve."""
        line = self.line if index is None else int(self.lines[index])
        return MeasurementError(f"{self.file}, line {line}: {text}")

    def _check_conditions(self) -> None:
        if self.kind not in KINDS:
            raise self.error(f"kind {self.kind!r} is unknown; use one of {', '.join(KINDS)}.")
        if not _SSD_MM[0] <= self.ssd_mm <= _SSD_MM[1]:
            hint = " It looks like cm; give mm." if _SSD_MM[0] <= 10 * self.ssd_mm <= _SSD_MM[1] else ""
            raise self.error(f"ssd_mm is {self.ssd_mm:g}, outside {_SSD_MM[0]:g}..{_SSD_MM[1]:g} mm.{hint}")
        for name, side in zip(("field_x_mm", "field_y_mm"), self.field_mm):
            if not 2.0 <= side <= 1000.0:
                hint = " It looks like cm; give mm." if 0 < side < 2.0 else ""
                raise self.error(f"{name} is {side:g}, outside 2..1000 mm.{hint}")
        if self.kind == "profile" and self.axis not in AXES:
            raise self.error(f"axis {self.axis!r} is unknown; use one of {', '.join(AXES)}.")
        if self.kind != "pdd" and not 0.0 < self.depth_mm <= _DEEPEST_MM:
            raise self.error(f"depth_mm is {self.depth_mm:g}, outside 0..{_DEEPEST_MM:g} mm.")
        if not 0.01 <= self.uncertainty_percent <= 20.0:
            raise self.error(f"uncertainty_percent is {self.uncertainty_percent:g}, outside 0.01..20.")
        if not 0.0 <= self.position_uncertainty_mm <= 5.0:
            raise self.error(f"position_uncertainty_mm is {self.position_uncertainty_mm:g}, outside 0..5.")

    def _check_points(self) -> None:
        least = {"pdd": 8, "profile": 8, "output_factor": 2}[self.kind]
        if len(self.position_mm) < least:
            raise self.error(f"the curve has {len(self.position_mm)} points; a {self.kind} needs at least {least}.")
        position, dose = np.asarray(self.position_mm, float), np.asarray(self.dose, float)
        for values, name in ((position, "position"), (dose, "dose")):
            if not np.isfinite(values).all():
                raise self.error(f"the {name} is not a number.", int(np.argmax(~np.isfinite(values))))
        if (dose < 0).any():
            index = int(np.argmax(dose < 0))
            raise self.error(f"the dose is negative ({dose[index]:g}); subtract the background or leave it out.", index)
        if (dose == 0).any() and (self.kind != "profile" or not dose.any()):
            raise self.error("the dose is zero; leave the point out.", int(np.argmax(dose == 0)))
        if self.kind == "output_factor":
            return
        if (np.diff(position) <= 0).any():
            index = int(np.argmax(np.diff(position) <= 0)) + 1
            same = position[index] == position[index - 1]
            text = (
                f"position {position[index]:g} mm is there twice; keep one."
                if same
                else f"positions turn back at {position[index]:g} mm; a scan goes one way, or a 'kind' line is missing."
            )
            raise self.error(text, index)
        if self.kind == "pdd" and (position[0] < 0 or position[-1] > _DEEPEST_MM):
            index = 0 if position[0] < 0 else -1
            raise self.error(
                f"depth {position[index]:g} mm is not within 0..{_DEEPEST_MM:g} mm; check sign and unit (mm or cm).",
                index,
            )
        if self.kind == "profile" and np.abs(position).max() > _WIDEST_MM:
            index = int(np.argmax(np.abs(position)))
            raise self.error(
                f"position {position[index]:g} mm is beyond {_WIDEST_MM:g} mm; check the unit (mm or cm).", index
            )

    def _check_fall(self) -> None:
        top = int(np.argmax(self.dose))
        if self.position_mm[-1] - self.position_mm[top] <= 0:
            raise self.error("the dose rises to the last point; a depth dose must reach beyond its maximum.")
        fall = np.log(self.dose[top] / self.dose[-1]) / (self.position_mm[-1] - self.position_mm[top])
        if fall > _FALL_PER_MM[1]:
            raise self.error(
                f"the dose falls by {100 * (1 - np.exp(-fall)):.1f} % a mm, more than any photon beam does; "
                "the depths look like cm: name the column depth_cm, or give mm."
            )
        # noise alone can hide the fall over a short stretch
        if fall < _FALL_PER_MM[0] and self.position_mm[-1] - self.position_mm[top] > 60.0:
            raise self.error(
                f"the dose falls by only {100 * (1 - np.exp(-fall)):.3f} % a mm; the depths look ten times too large: "
                "check the unit (mm or cm)."
            )


def _frozen(values: np.ndarray) -> np.ndarray:
    array = np.array(values, float)
    array.setflags(write=False)
    return array
