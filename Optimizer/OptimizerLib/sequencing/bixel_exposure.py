"""Exposure of bixels through apertures: exactly how much of the beam each bixel gets, and its slope with the leaves.

What counts: jaws and leaves with their transmission, radiation edges behind rounded leaf ends, tongue and groove,
leaves that move at constant speed between control points, backscatter into the monitor. What is left to the final dose
calculation: extra-focal radiation, the size of the focal spot, and what gets through where there are no bixels.
"""

from __future__ import annotations

import numpy as np

from DoseEngineLib.machine import Machine, Mlc
from DoseEngineLib.photon.fluence import backscatter_factor
from DoseEngineLib.plan import Beam
from OptimizerLib.errors import OptimizationError

# A leaf that moves less counts as standing still.
_STANDING_MM = 1e-9


def swept_length(low: np.ndarray, high: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Mean length of ``low..high`` below an edge that moves evenly from ``start`` to ``stop``; arrays broadcast."""
    start, stop = np.asarray(start, dtype=float), np.asarray(stop, dtype=float)
    way = stop - start
    moving = np.abs(way) > _STANDING_MM

    def area(x: np.ndarray) -> np.ndarray:
        """Integral of the length below an edge, from far away to x."""
        inside = np.clip(x, low, high) - low
        return 0.5 * inside * inside + (high - low) * np.maximum(x - high, 0.0)

    still = np.clip(0.5 * (start + stop), low, high) - low
    return np.where(moving, (area(stop) - area(start)) / np.where(moving, way, 1.0), still)


def open_share(
    edges_mm: np.ndarray,
    jaw_x_mm: tuple[float, float],
    jaw_transmission: float,
    low: tuple[np.ndarray, np.ndarray],
    high: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Mean share (..., columns) of each column that is open between moving edges, seen through the X jaws.

    Parameters
    ----------
    edges_mm : (columns + 1,) array
    low, high : pairs of (...) arrays
        Radiation edges at the start and at the stop of the motion.
    """

    def between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return swept_length(left, right, high[0][..., None], high[1][..., None]) - swept_length(
            left, right, low[0][..., None], low[1][..., None]
        )

    inside = np.clip(edges_mm, *jaw_x_mm)
    share = (1.0 - jaw_transmission) * between(inside[:-1], inside[1:])
    if jaw_transmission > 0:
        share = share + jaw_transmission * between(edges_mm[:-1], edges_mm[1:])
    return share / np.diff(edges_mm)


def _shared(edges_mm: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Length (cells, n) that each cell shares with each of n intervals."""
    return np.clip(np.minimum(edges_mm[1:, None], high) - np.maximum(edges_mm[:-1, None], low), 0.0, None)


def jaw_share(edges_mm: np.ndarray, jaw_mm: tuple[float, float], transmission: float) -> np.ndarray:
    """Mean fluence (columns,) of each column behind a pair of jaws."""
    inside = _shared(edges_mm, np.array([jaw_mm[0]]), np.array([jaw_mm[1]]))[:, 0] / np.diff(edges_mm)
    return transmission + (1.0 - transmission) * inside


def strip_sides_mm(mlc: Mlc) -> np.ndarray:
    """Sides of the strips in which an MLC is open alike: of the pairs, or with tongue and groove 2 pairs - 1 strips.

    Strips of single pairs and strips in which two pairs overlap take turns; `DoseEngineLib.photon.fluence.leaf_strips`
    has the same.
    """
    sides = np.asarray(mlc.boundaries_mm, dtype=float)
    width = mlc.tongue_and_groove_mm
    if width == 0:
        return sides
    return np.concatenate((sides[:1], (sides[1:-1, None] + [-width, width]).ravel(), sides[-1:]))


def strip_edges(low: np.ndarray, high: np.ndarray, mlc: Mlc) -> tuple[np.ndarray, np.ndarray]:
    """Radiation edges (..., strips) of the strips from those of the pairs (..., pairs): open where both pairs are."""
    if mlc.tongue_and_groove_mm == 0:
        return low, high
    shape = (*low.shape[:-1], 2 * low.shape[-1] - 1)
    strip_low, strip_high = np.empty(shape), np.empty(shape)
    strip_low[..., ::2], strip_high[..., ::2] = low, high
    strip_low[..., 1::2] = np.maximum(low[..., :-1], low[..., 1:])
    strip_high[..., 1::2] = np.minimum(high[..., :-1], high[..., 1:])
    return strip_low, np.maximum(strip_low, strip_high)


def row_shares(
    y_edges_mm: np.ndarray, jaw_y_mm: tuple[float, float], machine: Machine
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each row of bixels lies in each strip and beside the leaves, seen through the Y jaws.

    Returns
    -------
    under : (rows, strips) array
    beside : (rows,) array
    """
    sides = strip_sides_mm(machine.mlc)
    height = np.diff(y_edges_mm)
    leak = machine.jaw_y.transmission
    low, high = sides[:-1], sides[1:]
    inside = _shared(y_edges_mm, np.clip(low, *jaw_y_mm), np.clip(high, *jaw_y_mm))
    under = (leak * _shared(y_edges_mm, low, high) + (1.0 - leak) * inside) / height[:, None]
    jaw = _shared(y_edges_mm, np.array([jaw_y_mm[0]]), np.array([jaw_y_mm[1]]))[:, 0] / height
    return under, np.maximum(leak + (1.0 - leak) * jaw - under.sum(axis=1), 0.0)


def beam_exposure(beam: Beam, x_edges_mm: np.ndarray, y_edges_mm: np.ndarray, machine: Machine) -> np.ndarray:
    """Exposure of a raster of bixels by a beam.

    Parameters
    ----------
    beam : Beam
        With MU; jaws that stand still.
    x_edges_mm, y_edges_mm : (x + 1,), (y + 1,) arrays
        Edges of the bixels in the collimator frame, rising.
    machine : Machine

    Returns
    -------
    (y, x) array
        MU of open fluence in each bixel, the mean over its area.

    Raises
    ------
    OptimizationError
        A beam without MU or leaves, or with jaws that move.
    """
    owner = f"Beam {beam.name}"
    points = beam.control_points
    if beam.meterset_MU is None:
        raise OptimizationError(f"{owner} has no MU; give it MU to see what its bixels get.")
    first = points[0].aperture
    if machine.mlc is None or any(point.aperture.leaf_positions_mm is None for point in points):
        raise OptimizationError(f"{owner}: leaves must be set at every control point, on a machine with an MLC.")
    if any((p.aperture.jaw_x_mm, p.aperture.jaw_y_mm) != (first.jaw_x_mm, first.jaw_y_mm) for p in points):
        raise OptimizationError(f"{owner}: jaws that move within a beam are not supported here; set them once.")
    mlc = machine.mlc
    share = np.diff([point.cumulative_meterset_weight for point in points])
    tips = np.array([point.aperture.leaf_positions_mm for point in points])
    lit = share > 0
    start, stop, share = tips[:-1][lit], tips[1:][lit], share[lit]
    is_open = (start[..., 1] > start[..., 0]) | (stop[..., 1] > stop[..., 0])
    offset = np.where(is_open, mlc.leaf_end_offset_mm, 0.0)
    x_edges_mm, y_edges_mm = np.asarray(x_edges_mm, dtype=float), np.asarray(y_edges_mm, dtype=float)
    under, beside = row_shares(y_edges_mm, first.jaw_y_mm, machine)
    seen = under.any(axis=0)
    at_start, at_stop = (
        [edge[:, seen] for edge in strip_edges(tip[..., 0] - offset, tip[..., 1] + offset, mlc)]
        for tip in (start, stop)
    )
    through = open_share(x_edges_mm, first.jaw_x_mm, machine.jaw_x.transmission, *zip(at_start, at_stop, strict=True))
    jaw = jaw_share(x_edges_mm, first.jaw_x_mm, machine.jaw_x.transmission)
    by_strip = mlc.transmission * jaw + (1.0 - mlc.transmission) * np.tensordot(share, through, axes=1)
    delivered = under[:, seen] @ by_strip + beside[:, None] * jaw
    return beam.meterset_MU * backscatter_factor(first, machine) * delivered
