"""Solids as inside/outside functions of RAS points in mm, evaluated exactly at voxel centres.

A solid takes the broadcastable coordinate arrays (r, a, s) in mm and returns a bool array. Combine them with ``&``,
``|`` and ``-``. Points on a face count as inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]
# Faces that fall on voxel centres must not depend on the last bit of a coordinate.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Solid:
    """A solid, by the function that tells which points (r, a, s) in mm are inside."""

    inside: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, r: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Tell which points are inside; the coordinates broadcast against one another."""
        return self.inside(r, a, s)

    def __and__(self, other: Solid) -> Solid:
        return Solid(lambda r, a, s: self(r, a, s) & other(r, a, s))

    def __or__(self, other: Solid) -> Solid:
        return Solid(lambda r, a, s: self(r, a, s) | other(r, a, s))

    def __sub__(self, other: Solid) -> Solid:
        return Solid(lambda r, a, s: self(r, a, s) & ~other(r, a, s))


def _within(value: np.ndarray, low: float, high: float) -> np.ndarray:
    return (value >= low - _TOLERANCE) & (value <= high + _TOLERANCE)


def box(centre_RAS_mm: tuple[float, float, float], size_RAS_mm: tuple[float, float, float]) -> Solid:
    """Box with faces across the R, A and S axes."""
    (cr, ca, cs), (wr, wa, ws) = centre_RAS_mm, size_RAS_mm
    return Solid(
        lambda r, a, s: (
            _within(r - cr, -wr / 2, wr / 2) & _within(a - ca, -wa / 2, wa / 2) & _within(s - cs, -ws / 2, ws / 2)
        )
    )


def ellipsoid(centre_RAS_mm: tuple[float, float, float], diameter_RAS_mm: tuple[float, float, float]) -> Solid:
    """Ellipsoid with these full diameters along R, A and S."""
    (cr, ca, cs), (dr, da, ds) = centre_RAS_mm, diameter_RAS_mm
    return Solid(
        lambda r, a, s: (
            ((r - cr) / (dr / 2)) ** 2 + ((a - ca) / (da / 2)) ** 2 + ((s - cs) / (ds / 2)) ** 2 <= 1 + _TOLERANCE
        )
    )


def sphere(centre_RAS_mm: tuple[float, float, float], radius_mm: float) -> Solid:
    """Sphere."""
    return ellipsoid(centre_RAS_mm, (2 * radius_mm,) * 3)


def elliptic_cylinder(
    centre_RA_mm: tuple[float, float], diameter_RA_mm: tuple[float, float], s_range_mm: tuple[float, float]
) -> Solid:
    """Elliptic cylinder along S, with these full diameters along R and A."""
    (cr, ca), (dr, da) = centre_RA_mm, diameter_RA_mm
    return Solid(
        lambda r, a, s: (
            (((r - cr) / (dr / 2)) ** 2 + ((a - ca) / (da / 2)) ** 2 <= 1 + _TOLERANCE) & _within(s, *s_range_mm)
        )
    )


def cylinder(centre_RA_mm: tuple[float, float], radius_mm: float, s_range_mm: tuple[float, float]) -> Solid:
    """Circular cylinder along S."""
    return elliptic_cylinder(centre_RA_mm, (2 * radius_mm, 2 * radius_mm), s_range_mm)


def anterior_sector(centre_RA_mm: tuple[float, float], opening_deg: float) -> Solid:
    """Everything within ``opening_deg / 2`` of the anterior direction, seen from an axis along S."""
    cr, ca = centre_RA_mm
    half = np.radians(opening_deg) / 2
    return Solid(lambda r, a, s: (np.abs(np.arctan2(r - cr, a - ca)) <= half + _TOLERANCE) & np.isfinite(s))


def margin_around(solid: Solid, surface_RAS_mm: np.ndarray, margin_mm: float) -> Solid:
    """Return a solid grown by a margin: all points no further than ``margin_mm`` from it.

    Parameters
    ----------
    solid : Solid
    surface_RAS_mm : (n, 3) array
        Points on its surface. With points a distance p apart the grown surface is short of the exact one by at most
        p**2 / (4 margin): 0.01 mm for points 0.5 mm apart and a margin of 6 mm.
    margin_mm : float
    """
    tree = cKDTree(surface_RAS_mm)
    low, high = surface_RAS_mm.min(axis=0) - margin_mm, surface_RAS_mm.max(axis=0) + margin_mm

    def inside(r: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        r, a, s = np.broadcast_arrays(r, a, s)
        result = np.array(solid(r, a, s))
        near = ~result & _within(r, low[0], high[0]) & _within(a, low[1], high[1]) & _within(s, low[2], high[2])
        points = np.column_stack((r[near], a[near], s[near]))
        distance, _ = tree.query(points, distance_upper_bound=margin_mm + 1.0)
        result[near] = distance <= margin_mm + _TOLERANCE
        return result

    return Solid(inside)
