"""Whether a machine can deliver a beam: leaves, gaps, interdigitation, carriages and speed."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import Machine, MlcLimits
from DoseEngineLib.plan import Beam
from OptimizerLib.errors import OptimizationError

# Positions that agree within this are the same.
_SAME_MM = 1e-6


def required_limits(machine: Machine) -> MlcLimits:
    """Limits of a machine's MLC; raises `OptimizationError` when there is no MLC or its limits are not stated."""
    if machine.mlc is None:
        raise OptimizationError(f"{machine.name} has no MLC for modulated fields; choose another machine.")
    if machine.mlc.limits is None or machine.maximum_dose_rate_MU_min is None:
        raise OptimizationError(
            f"The file of machine {machine.name} does not state mlc/limits and maximum_dose_rate_MU_min; without them "
            "nobody knows what it can deliver. Add them."
        )
    return machine.mlc.limits


def check_deliverable(beam: Beam, machine: Machine, dose_rate_MU_min: float | None = None) -> None:
    """Check every limit of a machine at and between the control points of a beam.

    Leaves move evenly between control points, so that a limit on distances, met at two control points, is met between
    them. The carriages stand still during a beam: the spread of a bank is taken over all control points.

    Parameters
    ----------
    beam : Beam
        With MU and a leaf position for each pair.
    machine : Machine
    dose_rate_MU_min : float, optional
        At which the speed of the leaves is judged; the machine's greatest by default.

    Raises
    ------
    PlanError
        The first limit that is exceeded, where and by how much.
    OptimizationError
        A machine whose limits are not stated.
    """
    limits = required_limits(machine)
    owner = f"Beam {beam.name}"
    dose_rate = _dose_rate(machine, dose_rate_MU_min)
    for number, point in enumerate(beam.control_points):
        machine.check_aperture(point.aperture, f"{owner}, control point {number}")
    if beam.meterset_MU is None or any(p.aperture.leaf_positions_mm is None for p in beam.control_points):
        raise PlanError(f"{owner}: a modulated beam needs MU, and leaves at every control point.")
    tips = np.array([point.aperture.leaf_positions_mm for point in beam.control_points])
    MU = beam.meterset_MU * np.diff([point.cumulative_meterset_weight for point in beam.control_points])
    step = np.abs(np.diff(tips, axis=0))
    lit = MU > 0

    gap = tips[..., 1] - tips[..., 0]
    _at_least(gap, limits.minimum_gap_mm, f"{owner}: gap of a leaf pair")
    moves = (step.max(axis=2) > _SAME_MM) & lit[:, None]
    _at_least(gap[:-1][moves], limits.minimum_moving_gap_mm, f"{owner}: gap of a moving leaf pair")
    _at_least(gap[1:][moves], limits.minimum_moving_gap_mm, f"{owner}: gap of a moving leaf pair")
    if not limits.interdigitation and tips.shape[1] > 1:
        across = np.minimum(tips[:, 1:, 1] - tips[:, :-1, 0], tips[:, :-1, 1] - tips[:, 1:, 0])
        _at_least(across, limits.minimum_gap_mm, f"{owner}: distance to the opposing leaf of the next pair")
    spread = (tips.max(axis=(0, 1)) - tips.min(axis=(0, 1))).max()
    if spread > limits.maximum_spread_mm + _SAME_MM:
        raise PlanError(
            f"{owner}: tips of one bank are {spread:.1f} mm apart, {machine.name} allows {limits.maximum_spread_mm:g} "
            "mm; split the field, or turn the collimator so that it is narrower along the leaves."
        )
    seconds = MU[lit] * 60.0 / dose_rate
    way = np.maximum(step[lit].max(axis=(1, 2)) - 2 * _SAME_MM, 0.0)
    speed = (way / seconds).max(initial=0.0)
    if speed > limits.maximum_speed_mm_s * (1 + 1e-9):
        raise PlanError(
            f"{owner}: leaves move at {speed:.2f} mm/s at {dose_rate:g} MU/min, {machine.name} allows "
            f"{limits.maximum_speed_mm_s:g} mm/s; lower the dose rate."
        )


def _dose_rate(machine: Machine, dose_rate_MU_min: float | None) -> float:
    greatest = machine.maximum_dose_rate_MU_min
    if dose_rate_MU_min is None:
        return greatest
    if not 0 < dose_rate_MU_min <= greatest:
        raise OptimizationError(f"{machine.name} delivers up to {greatest:g} MU/min; got {dose_rate_MU_min:g} MU/min.")
    return float(dose_rate_MU_min)


def _at_least(values: np.ndarray, least: float, what: str) -> None:
    if values.size and values.min() < least - _SAME_MM:
        raise PlanError(f"{what} is {values.min():.2f} mm, less than the machine's {least:g} mm.")
