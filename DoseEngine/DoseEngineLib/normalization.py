"""Scaling a plan's dose to its prescription."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan

_VOLUME_PERCENT = {"D50": 50.0, "D95": 95.0}


def dose_at_points(dose_Gy: np.ndarray, grid: Grid, points_RAS_mm: np.ndarray) -> np.ndarray:
    """Trilinear dose (n,) in Gy at RAS points (n, 3).

    Within half a voxel of the grid's faces the edge value holds; beyond them the dose is zero.
    """
    points = np.atleast_2d(points_RAS_mm)
    index = grid.ras_to_index(points)
    dose = ndimage.map_coordinates(dose_Gy, index[:, ::-1].T, order=1, mode="nearest")
    return np.where(grid.contains(points), dose, 0.0)


def normalization_value_Gy(plan: Plan, patient: Patient, dose_Gy: np.ndarray, grid: Grid) -> tuple[float, str]:
    """Return the dose that the prescription refers to, and in words what it is.

    Volume metrics are those of the target's DVH (`DoseEngineLib.dvh`), the same that the evaluation shows.

    Raises
    ------
    PlanError, EvaluationError
        When the point or target is not where dose was computed.
    """
    prescription = plan.prescription
    if prescription.normalization == "point":
        point = np.array(prescription.point_RAS_mm or plan.beams[0].isocenter_RAS_mm)
        where = "R {:.1f}, A {:.1f}, S {:.1f} mm".format(*point)
        if not grid.contains(point):
            raise PlanError(f"The normalization point ({where}) lies outside the dose grid; move it into the patient.")
        return float(dose_at_points(dose_Gy, grid, point)[0]), f"dose at the point {where}"
    target = patient.structure(prescription.target)
    if target.is_empty:
        raise PlanError(f"The target {target.name} is empty; contour it or normalize to a point.")
    dvh = calculate_dvh(dose_Gy, grid, target)
    if prescription.normalization == "mean":
        return dvh.mean_Gy, f"mean dose of {target.name}"
    percent = _VOLUME_PERCENT[prescription.normalization]
    return dvh.dose_at_volume_percent(percent), f"{prescription.normalization}% of {target.name}"


def normalization_factor(plan: Plan, patient: Patient, dose_Gy: np.ndarray, grid: Grid) -> tuple[float, str]:
    """Return the factor that brings the dose to the prescription, and in words what was done."""
    value, what = normalization_value_Gy(plan, patient, dose_Gy, grid)
    wanted = plan.prescription.dose_Gy
    if not value > 1e-6 * max(float(dose_Gy.max()), 1e-30):
        raise PlanError(
            f"The plan cannot be normalized: {what} is {value:.3g} Gy. Do the beams reach it? Check isocentre, jaws "
            "and the normalization point."
        )
    return wanted / value, f"{what} = {wanted:g} Gy"
