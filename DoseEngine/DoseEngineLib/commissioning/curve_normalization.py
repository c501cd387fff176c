"""What relative curves are normalized to."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.commissioning.measured_curve import MeasuredCurve

_REFERENCE_DEPTH_MM = 100.0
# A parabola follows a depth dose over this on either side to 0.03 %.
_REFERENCE_WINDOW_MM = 25.0
_LEAST_BEHIND_MM = 10.0
_AXIS_WINDOW_MM, _AXIS_WINDOW_SHARE = 20.0, 0.12


class Normalization:
    """The rule by which a measured curve and the computed one at the same points become per cent.

    Depth doses: 100 % at 10 cm depth, or at their own maximum where they do not reach 1 cm beyond 10 cm. Profiles:
    100 % on the axis. Output factors: 100 % for the field of the header. A parabola through the points around the place
    takes the noise of a single point out; it is laid through measured and computed doses alike.

    Parameters
    ----------
    curve : MeasuredCurve

    Attributes
    ----------
    text : str
        The rule in words.
    index : (m,) int array
        Points of the curve that are used.
    weights : (m,) array
        The value of the parabola as a weighted sum of the doses at those points.
    """

    def __init__(self, curve: MeasuredCurve) -> None:
        position = curve.position_mm
        if curve.kind == "output_factor":
            same = np.abs(curve.fields_mm - np.array(curve.field_mm)).max(axis=1) < 0.05
            if not same.any():
                x, y = curve.field_mm
                raise curve.error(
                    f"the field of the header, {x:g} x {y:g} mm, is not among the output factors; add it (1.0), or "
                    "name in the header the field they are relative to."
                )
            self.text = f"relative to {curve.field_mm[0] / 10:g} x {curve.field_mm[1] / 10:g} cm"
            self.index = np.flatnonzero(same)[:1]
            self.weights = np.ones(1)
            return
        if curve.kind == "profile":
            if not position[0] <= 0.0 <= position[-1]:
                raise curve.error("the profile does not cross the axis; it must, to be normalized there.")
            at, window = 0.0, min(_AXIS_WINDOW_MM, _AXIS_WINDOW_SHARE * min(curve.field_mm))
            self.text = "100 % on the axis"
        elif position[0] <= _REFERENCE_DEPTH_MM <= position[-1] - _LEAST_BEHIND_MM:
            at, window = _REFERENCE_DEPTH_MM, _REFERENCE_WINDOW_MM
            self.text = "100 % at 10 cm depth"
        else:
            at, window = position[int(np.argmax(curve.dose))], 6.0
            self.text = "100 % at its maximum"
        near = np.flatnonzero(np.abs(position - at) <= window)
        if len(near) < 5:
            near = np.sort(np.argsort(np.abs(position - at), kind="stable")[:5])
        self.index = near
        # value at ``at`` of the least squares parabola, linear in the doses
        scale = max(np.abs(position[near] - at).max(), 1e-9)
        powers = np.vander((position[near] - at) / scale, 3, increasing=True)
        self.weights = np.linalg.pinv(powers)[0]

    def value(self, dose: np.ndarray) -> float:
        """The dose that counts as 100 %, of doses at all points of the curve."""
        return float(self.weights @ dose[self.index])

    def percent(self, dose: np.ndarray) -> np.ndarray:
        """Doses at all points of the curve as per cent."""
        return 100.0 * dose / self.value(dose)
