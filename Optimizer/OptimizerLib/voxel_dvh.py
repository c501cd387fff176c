"""DVHs of the voxels that an optimization sees, each with the volume it stands for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from DoseEngineLib.dvh import Dvh
from OptimizerLib.errors import OptimizationError
from OptimizerLib.problem import Problem

# Samples of equal volume that a DVH is made of.
_SAMPLES = 4000
# Points of a curve.
_POINTS = 161


def cumulative_percent(dose_Gy: np.ndarray, volumes: np.ndarray | None, at_Gy: np.ndarray) -> np.ndarray:
    """Volume in % that receives at least some doses.

    Parameters
    ----------
    dose_Gy : (n,) array
    volumes : (n,) array, optional
        What each voxel stands for, in any unit; all alike by default.
    at_Gy : (m,) array

    Returns
    -------
    (m,) float64 array

    Raises
    ------
    OptimizationError
        No voxel, or volumes that do not fit the doses.
    """
    dose, shares = _checked(dose_Gy, volumes)
    order = np.argsort(dose)
    below = np.concatenate(([0.0], np.cumsum(shares[order])))
    return 100.0 * (1.0 - below[np.searchsorted(dose[order], at_Gy, side="left")] / below[-1])


def curve_doses_Gy(largest_Gy: float) -> np.ndarray:
    """Doses (points,) at which curves up to a largest dose are drawn: from 0 to a little beyond it."""
    step = max(float(largest_Gy), 1.0) * 1.05 / (_POINTS - 1)
    return np.arange(_POINTS) * step


def voxel_dvh(structure: str, dose_Gy: np.ndarray, volumes: np.ndarray | None, volume_cm3: float) -> Dvh:
    """The DVH of doses (n,) in voxels that stand for volumes (n,): samples of equal volume, for metrics.

    Raises
    ------
    OptimizationError
        No voxel, or volumes that do not fit the doses.
    """
    dose, shares = _checked(dose_Gy, volumes)
    order = np.argsort(dose)
    up_to = np.cumsum(shares[order])
    middles = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * up_to[-1]
    places = np.minimum(np.searchsorted(up_to, middles), dose.size - 1)
    return Dvh(structure, volume_cm3, dose[order][places])


def problem_doses_Gy(problem: Problem, weights: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Doses (n,), and volumes (n,) or None, of every structure that a problem's terms name, in their order."""
    dose = problem.seen_dose_Gy(weights)
    found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for term in (*problem.objectives, *problem.constraints):
        if term.structure not in found:
            found[term.structure] = dose[problem.rows(term)], term.voxel_weights
    return found


def dvh_curves(
    doses: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Doses (points,) in Gy, and of every structure the volume (points,) in % that receives at least those."""
    at_Gy = curve_doses_Gy(max((float(dose.max()) for dose, _ in doses.values()), default=0.0))
    return at_Gy, {name: cumulative_percent(dose, volumes, at_Gy) for name, (dose, volumes) in doses.items()}


def _checked(dose_Gy: np.ndarray, volumes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    dose = np.asarray(dose_Gy)
    shares = np.ones(dose.shape) if volumes is None else np.asarray(volumes, dtype=float)
    if dose.ndim != 1 or not dose.size or shares.shape != dose.shape or not shares.sum() > 0.0:
        raise OptimizationError(
            f"A DVH needs doses of voxels and a volume for each; got {dose.size} doses and {shares.size} volumes."
        )
    return dose, shares
