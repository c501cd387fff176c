"""Sliding window: leaves that sweep at their greatest speed while the beam is on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.sequencing.leaf_sweep import leaf_sweep


@dataclass(frozen=True, eq=False)
class LeafMotion:
    """Radiation edges of leaf pairs while the beam is on.

    Attributes
    ----------
    time_MU : (n,) array
        Rising from zero.
    low_mm, high_mm : (n, rows) arrays
        Edges behind the trailing and the leading leaf, moving evenly between the times.
    """

    time_MU: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray


def crossing_exposure(opening_mm: float, mm_per_MU: float) -> float:
    """MU that a place gets at least when an opening of some width passes over it."""
    return opening_mm / mm_per_MU


def sliding_window(
    exposure: np.ndarray,
    x_edges_mm: np.ndarray,
    mm_per_MU: float,
    *,
    least_opening_mm: float = 0.0,
    interdigitation: bool = True,
    control_points: int = 100,
) -> LeafMotion:
    """Find the motion of least beam-on time.

    Leaves move at full speed or wait at an edge between two columns, so that the times are those of `leaf_sweep` plus
    the way to each column. The least beam-on time is the greatest sum of rises plus the time to cross the field: S. V.
    Spirou and C. S. Chui, Med. Phys. 21 (1994) 1031; J. Stein, T. Bortfeld, B. Dörschel, W. Schlegel, Radiother. Oncol.
    32 (1994) 163.

    Parameters
    ----------
    exposure : (rows, columns) array
        MU. At least what the least opening gives in passing, see `crossing_exposure`.
    x_edges_mm : (columns + 1,) array
        Evenly spaced.
    mm_per_MU : float
        Speed of the leaves over the dose rate.
    least_opening_mm : float
        Between the radiation edges of a pair, not wider than a column. Beyond the field's ends, where pairs start and
        stop, the jaws must cover so much.
    interdigitation : bool
    control_points : int
        Times, evenly spaced, at which the motion is sampled.
    """
    exposure = np.asarray(exposure, dtype=float)
    rows, columns = exposure.shape
    x = np.asarray(x_edges_mm, dtype=float)
    crossing = (x[1] - x[0]) / mm_per_MU
    sweep = leaf_sweep(exposure, interdigitation=interdigitation)
    way = crossing * np.arange(columns)
    uncovered, covered = sweep.uncovered + way, sweep.covered + way
    time = np.linspace(0.0, float(covered.max()) + crossing, control_points)
    low, high = np.empty((control_points, rows)), np.empty((control_points, rows))
    hidden = least_opening_mm / mm_per_MU
    place = np.stack((x[:-1], x[1:]), axis=1).ravel()
    for row in range(rows):
        leading = np.stack((uncovered[row], uncovered[row] + crossing), axis=1).ravel()
        trailing = np.stack((covered[row], covered[row] + crossing), axis=1).ravel()
        high[:, row] = np.interp(
            time, np.append(leading, leading[-1] + hidden), np.append(place, place[-1] + least_opening_mm)
        )
        low[:, row] = np.interp(
            time, np.insert(trailing, 0, trailing[0] - hidden), np.insert(place, 0, place[0] - least_opening_mm)
        )
    return LeafMotion(time, low, high)
