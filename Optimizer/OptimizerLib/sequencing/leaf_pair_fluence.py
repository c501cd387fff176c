"""Fluence of bixels carried over to the leaf pairs that have to deliver it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.machine import Mlc
from OptimizerLib.errors import OptimizationError


@dataclass(frozen=True, eq=False)
class LeafPairFluence:
    """Wanted fluence under each leaf pair that takes part in a field.

    Attributes
    ----------
    values : (pairs, columns) float64 array
        MU of open fluence.
    x_edges_mm : (columns + 1,) array
        Along the leaves, evenly spaced, rising.
    first_pair : int
        Index in the MLC of the first of the pairs; the others follow it.
    jaw_x_mm, jaw_y_mm : (float, float)
        The smallest rectangle that holds all fluence.
    """

    values: np.ndarray
    x_edges_mm: np.ndarray
    first_pair: int
    jaw_x_mm: tuple[float, float]
    jaw_y_mm: tuple[float, float]

    @property
    def pairs(self) -> slice:
        """Leaf pairs of the MLC that take part."""
        return slice(self.first_pair, self.first_pair + len(self.values))

    @property
    def width_mm(self) -> float:
        """Width of a column."""
        return float(self.x_edges_mm[1] - self.x_edges_mm[0])


def leaf_pair_fluence(
    values: np.ndarray, x_edges_mm: np.ndarray, y_edges_mm: np.ndarray, mlc: Mlc, owner: str = "Fluence"
) -> LeafPairFluence | None:
    """Average a map of bixels over the strips of the leaf pairs, by area.

    Rows of bixels and leaves need not agree: a pair gets the mean over that part of its strip which lies between the
    Y jaws, so that the fluence summed over the field is kept. Where they agree nothing changes.

    Parameters
    ----------
    values : (y, x) array
        Not negative, any unit (MU).
    x_edges_mm, y_edges_mm : (x + 1,), (y + 1,) arrays
        Edges of the bixels in the collimator frame.
    mlc : Mlc

    Returns
    -------
    LeafPairFluence or None
        None for a map of zeros.

    Raises
    ------
    OptimizationError
        Negative or infinite values, or fluence where there are no leaves.
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all() or (values < 0).any():
        raise OptimizationError(f"{owner}: bixel weights must be finite and not negative; optimize them with bounds.")
    rows, columns = np.flatnonzero(values.any(axis=1)), np.flatnonzero(values.any(axis=0))
    if rows.size == 0:
        return None
    values = values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x = np.asarray(x_edges_mm, dtype=float)[columns[0] : columns[-1] + 2]
    y = np.asarray(y_edges_mm, dtype=float)[rows[0] : rows[-1] + 2]
    sides = np.asarray(mlc.boundaries_mm)
    if y[0] < sides[0] - 1e-6 or y[-1] > sides[-1] + 1e-6:
        raise OptimizationError(
            f"{owner}: fluence from y = {y[0]:g} to {y[-1]:g} mm reaches beyond the leaves of {mlc.model}, "
            f"{sides[0]:g}..{sides[-1]:g} mm; turn the collimator or move the isocentre."
        )
    # length of each strip that each row of bixels covers
    shared = np.clip(np.minimum(sides[1:, None], y[None, 1:]) - np.maximum(sides[:-1, None], y[None, :-1]), 0.0, None)
    length = shared.sum(axis=1)
    taking_part = np.flatnonzero(length > 1e-9)
    mean = shared[taking_part] @ values / length[taking_part, None]
    return LeafPairFluence(mean, x, int(taking_part[0]), (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1])))
