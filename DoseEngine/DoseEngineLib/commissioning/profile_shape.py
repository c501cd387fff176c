"""Edges, centre, width and symmetry of a dose profile, flattened or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

_STEP_MM = 0.5
_SMOOTHING_MM = 1.5
# Inner part of the field in which symmetry is judged (IEC 60976: the flattened area of mid-size fields).
_FLATTENED_SHARE = 0.8


@dataclass(frozen=True)
class ProfileShape:
    """Field edges, at the dose halfway up the steepest part of each side, in mm at the profile's depth."""

    left_mm: float
    right_mm: float

    @property
    def centre_mm(self) -> float:
        """Midway between the edges."""
        return (self.left_mm + self.right_mm) / 2

    @property
    def width_mm(self) -> float:
        """Distance between the edges."""
        return self.right_mm - self.left_mm


def profile_shape(position_mm: np.ndarray, dose: np.ndarray) -> ProfileShape | None:
    """Find both edges; None where the profile does not cover them.

    The inflection points mark the edges of unflattened beams too, where half the dose on the axis does not. The level
    between them is the mean dose at the two, which makes the centre independent of noise in the steepest part.
    """
    grid = np.arange(position_mm[0], position_mm[-1] + _STEP_MM / 2, _STEP_MM)
    if len(grid) < 10:
        return None
    curve = gaussian_filter1d(np.interp(grid, position_mm, dose), _SMOOTHING_MM / _STEP_MM, mode="nearest")
    slope = np.gradient(curve, _STEP_MM)
    rise, fall = int(np.argmax(slope)), int(np.argmin(slope))
    top = curve.max()
    if rise >= fall or slope[rise] <= 0 or slope[fall] >= 0:
        return None
    # an edge is covered when the scan goes on to less than half of what it reaches inside
    inside = curve[rise : fall + 1].max()
    if curve[0] > 0.5 * inside or curve[-1] > 0.5 * inside or top > inside * 1.001:
        return None
    level = (curve[rise] + curve[fall]) / 2
    left = _crossing(grid[: fall + 1], curve[: fall + 1], level, rising=True)
    right = _crossing(grid[rise:], curve[rise:], level, rising=False)
    return ProfileShape(left, right) if left is not None and right is not None else None


def asymmetry_percent(position_mm: np.ndarray, dose: np.ndarray, shape: ProfileShape) -> float:
    """Greatest difference of the doses at equal distances left and right of the centre, per cent of the centre's.

    Within the inner 80 % of the field; the point-difference quotient without its noise (smoothed by 1.5 mm).
    """
    reach = _FLATTENED_SHARE * shape.width_mm / 2
    distance = np.arange(0.0, reach, _STEP_MM)
    grid = np.arange(position_mm[0], position_mm[-1] + _STEP_MM / 2, _STEP_MM)
    curve = gaussian_filter1d(np.interp(grid, position_mm, dose), _SMOOTHING_MM / _STEP_MM, mode="nearest")
    right = np.interp(shape.centre_mm + distance, grid, curve)
    left = np.interp(shape.centre_mm - distance, grid, curve)
    return float(100 * np.abs(right - left).max() / np.interp(shape.centre_mm, grid, curve))


def _crossing(position: np.ndarray, curve: np.ndarray, level: float, *, rising: bool) -> float | None:
    above = curve >= level
    # the outermost crossing: nothing outside the field comes back to this level
    index = int(np.argmax(above)) if rising else len(above) - 1 - int(np.argmax(above[::-1]))
    outside = index - 1 if rising else index + 1
    if not 0 <= outside < len(curve):
        return None
    share = (level - curve[outside]) / (curve[index] - curve[outside])
    return float(position[outside] + share * (position[index] - position[outside]))
