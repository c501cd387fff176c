"""Measured curves as a machine's beam model computes them."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.commissioning.curve_normalization import Normalization
from DoseEngineLib.commissioning.measured_curve import MeasuredCurve
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.water_dose import dose_for_fluence
from DoseEngineLib.plan import Aperture

# Points a curve counts for in a fit; denser scans are thinned, where the dose changes least.
MOST_POINTS = 60
# Beside the field's edge on either side: penumbra; farther in: the open field; farther out: what reaches past the jaws.
_PENUMBRA_MM = 12.0
_INNER_MARGIN_MM = 18.0
# Shallower points are not fitted: a cylindrical chamber, 3 mm in radius as a rule, is partly out of the water there.
SHALLOWEST_MM = 3.0
# The phantom's dose knows the primary collimator as a square, so that corners of large fields are not fitted: what lies
# beyond this share of its radius.
CORNER_SHARE = 0.85


def open_field(field_mm: np.ndarray | tuple[float, float]) -> Aperture:
    """Jaws symmetric about the axis, MLC parked."""
    x, y = (float(side) / 2 for side in field_mm)
    return Aperture((-x, x), (-y, y))


def curve_dose(machine: Machine, curve: MeasuredCurve, position_mm: np.ndarray | None = None) -> np.ndarray:
    """Dose at a curve's positions, in Gy cm2: for one photon/cm2 in air on the axis at the SAD with jaws wide open.

    Curves are relative, so that the machine's calibration does not matter.

    Parameters
    ----------
    position_mm : (m,) array, optional
        Other depths or off-axis positions than the measured ones; not for output factors.
    """
    if curve.kind == "output_factor":
        point = np.array([[0.0, 0.0, curve.depth_mm]])
        return np.array([dose_for_fluence(machine, open_field(f), curve.ssd_mm, point)[0] for f in curve.fields_mm])
    position = curve.position_mm if position_mm is None else np.asarray(position_mm, float)
    points = np.zeros((len(position), 3))
    if curve.kind == "pdd":
        points[:, 2] = position
    else:
        points[:, :2] = position[:, None] * curve.direction()
        points[:, 2] = curve.depth_mm
    return dose_for_fluence(machine, open_field(curve.field_mm), curve.ssd_mm, points)


class CurveModel:
    """A measured curve made ready for a fit: normalized, thinned, weighted, its points sorted by what they tell.

    Parameters
    ----------
    curve : MeasuredCurve
    machine : Machine
        For the geometry.

    Attributes
    ----------
    normalization : Normalization
    measured_percent : (n,) array
    sigma_percent : (n,) array
        One standard deviation: the stated share of the curve's maximum (of output factors, of each), and the position's
        uncertainty times the slope, in quadrature.
    used : (n,) bool array
        Points that take part in the fit.
    stage : dict of str to (n,) bool array
        Points that tell most about the parameters of a stage.
    left_out : (n,) bool array
        Depths too shallow for a chamber; points of a diagonal profile in the corner that the primary collimator shapes.
    off_axis_reach_mm : float
        Radius at the isocentre plane to which a profile shows the open field; 0 for other curves.
    """

    def __init__(self, curve: MeasuredCurve, machine: Machine) -> None:
        self.curve = curve
        self.normalization = Normalization(curve)
        self.measured_percent = self.normalization.percent(curve.dose)
        self.sigma_percent = self._sigma()
        self.used = self._thinned(np.ones(len(curve.position_mm), bool))
        self.off_axis_reach_mm = 0.0
        self.left_out = np.zeros(len(curve.position_mm), bool)
        if curve.kind == "pdd":
            self.left_out = curve.position_mm < SHALLOWEST_MM
            self.used = self._thinned(~self.left_out)
        nothing = np.zeros(len(curve.position_mm), bool)
        self.stage = dict.fromkeys(("spectrum", "contamination", "off_axis", "penumbra", "head_scatter"), nothing)
        if curve.kind == "pdd":
            self.depth_of_maximum_mm = float(curve.position_mm[int(np.argmax(curve.dose))])
            self.stage["spectrum"] = curve.position_mm >= max(self.depth_of_maximum_mm + 10.0, 30.0)
            self.stage["contamination"] = curve.position_mm < self.depth_of_maximum_mm + 5.0
        elif curve.kind == "profile":
            self._sort_profile(machine)
        else:
            self.stage["head_scatter"] = ~nothing

    def residuals(self, machine: Machine, points: np.ndarray, free_scale: bool) -> np.ndarray:
        """Computed minus measured at the chosen points (bool mask), in standard deviations.

        Parameters
        ----------
        free_scale : bool
            Scale the computed curve to fit best, rather than to the normalization point: its noise is then no error
            that all points of the curve share.
        """
        needed = points.copy()
        needed[self.normalization.index] = True
        dose = np.full(len(points), np.nan)
        if self.curve.kind == "output_factor":
            dose = curve_dose(machine, self.curve)
        else:
            dose[needed] = curve_dose(machine, self.curve, self.curve.position_mm[needed])
        percent = self.normalization.percent(dose)
        computed, measured = percent[points] / self.sigma_percent[points], self.measured_percent[points]
        measured = measured / self.sigma_percent[points]
        if free_scale:
            computed = computed * ((computed @ measured) / (computed @ computed))
        return computed - measured

    def _sigma(self) -> np.ndarray:
        curve = self.curve
        if curve.kind == "output_factor":
            return curve.uncertainty_percent * self.measured_percent / 100.0
        slope = np.gradient(self.measured_percent, curve.position_mm)
        dose = curve.uncertainty_percent * self.measured_percent.max() / 100.0
        return np.hypot(dose, slope * curve.position_uncertainty_mm)

    def _thinned(self, wanted: np.ndarray) -> np.ndarray:
        place = np.flatnonzero(wanted)
        position, percent = self.curve.position_mm[place], self.measured_percent[place]
        if self.curve.kind == "output_factor" or len(position) <= MOST_POINTS:
            return wanted
        # half of the points evenly along the curve, half evenly along its rise and fall
        length = np.diff(position) / np.ptp(position)
        climb = np.abs(np.diff(percent))
        way = np.concatenate(([0.0], np.cumsum(length + climb / max(climb.sum(), 1e-9))))
        chosen = np.searchsorted(way, np.linspace(0.0, way[-1], MOST_POINTS))
        used = np.zeros(len(wanted), bool)
        used[place[np.minimum(chosen, len(position) - 1)]] = True
        return used

    def _sort_profile(self, machine: Machine) -> None:
        curve = self.curve
        magnification = (curve.ssd_mm + curve.depth_mm) / machine.sad_mm
        x, y = curve.field_mm
        half = {"crossline": x / 2, "inline": y / 2, "diagonal": np.hypot(x, y) / 2}[curve.axis]
        half = min(half, machine.field_radius_mm) * magnification
        distance = np.abs(curve.position_mm)
        self.stage["off_axis"] = distance < half - _INNER_MARGIN_MM
        self.stage["penumbra"] = np.abs(distance - half) <= _PENUMBRA_MM
        self.stage["head_scatter"] = distance > half + _PENUMBRA_MM
        if self.stage["off_axis"].sum() >= 5:
            self.off_axis_reach_mm = float(min(distance.max(), half) / magnification)
        corner = CORNER_SHARE * machine.field_radius_mm
        if curve.axis == "diagonal" and self.off_axis_reach_mm > corner:
            self.off_axis_reach_mm = corner
            self.left_out = distance > corner * magnification
            self.used = self._thinned(~self.left_out)
