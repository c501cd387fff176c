"""Gamma index of curves (Low et al., Med. Phys. 25 (1998) 656), exact for a piecewise linear evaluated curve."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.errors import PlanningError

_SEGMENTS_AT_ONCE = 2_000_000


def curve_gamma(
    reference_mm: np.ndarray,
    reference_dose: np.ndarray,
    evaluated_mm: np.ndarray,
    evaluated_dose: np.ndarray,
    *,
    dose_criterion: float,
    distance_mm: float,
) -> np.ndarray:
    """Gamma of every reference point: its distance from the evaluated curve in units of the criteria.

    Parameters
    ----------
    reference_mm, reference_dose : (n,) arrays
        Points to be judged.
    evaluated_mm, evaluated_dose : (m,) arrays, positions rising, m >= 2
        The curve they are judged by, straight between its points.
    dose_criterion : float
        In the unit of the doses (a global criterion).
    distance_mm : float

    Returns
    -------
    (n,) array

    Raises
    ------
    PlanningError
        Criteria that are not positive, or a curve of less than two points or of falling positions.
    """
    if not (dose_criterion > 0 and distance_mm > 0):
        raise PlanningError(f"Gamma criteria must be positive; got {dose_criterion:g} and {distance_mm:g} mm.")
    if len(evaluated_mm) < 2 or (np.diff(evaluated_mm) <= 0).any():
        raise PlanningError("The evaluated curve of a gamma index needs at least two points at rising positions.")
    point = np.stack([reference_mm, reference_dose], axis=-1) / (distance_mm, dose_criterion)
    curve = np.stack([evaluated_mm, evaluated_dose], axis=-1) / (distance_mm, dose_criterion)
    start, along = curve[:-1], np.diff(curve, axis=0)
    length2 = (along**2).sum(axis=-1)
    gamma = np.empty(len(point))
    chunk = max(_SEGMENTS_AT_ONCE // len(start), 1)
    for first in range(0, len(point), chunk):
        offset = point[first : first + chunk, None] - start
        share = np.clip((offset * along).sum(axis=-1) / length2, 0.0, 1.0)
        gamma[first : first + chunk] = np.sqrt(((offset - share[..., None] * along) ** 2).sum(axis=-1).min(axis=1))
    return gamma
