"""How far a set of plans and their mixtures can be from the best that is possible.

What can be reached lies between two polyhedra. The inner one holds the values of the plans, of their convex
combinations and all that is worse; the outer one what no computed plan's weighted sum rules out. The gap between the
two is the largest distance, along all axes at once, by which a point of the outer one is better than every point of the
inner one; it is attained at a vertex of the outer one.

Rennen, van Dam and den Hertog, INFORMS J. Comput. 23 (2011) 493 (the measure); Bokrantz and Forsgren, INFORMS J.
Comput. 25 (2013) 377 (vertices of the outer polyhedron, weights from the dual of the linear program); Craft et al.,
Med. Phys. 33 (2006) 3399 (for IMRT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection, QhullError

from OptimizerLib.errors import OptimizationError

_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Shortfall:
    """The place where the plans fall short of the outer bound the most.

    Attributes
    ----------
    gap : float
        By how much, in units of the axes.
    vertex : (goals,) array
        Point of the outer polyhedron.
    normal : (goals,) array
        Weights, not negative, of sum one: of the inner polyhedron's face that is nearest.
    mixture : (plans,) array
        Shares of the plans, of sum one, that come nearest.
    """

    gap: float
    vertex: np.ndarray
    normal: np.ndarray
    mixture: np.ndarray


def outer_vertices(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Vertices (vertices, goals) of the points of the unit cube with ``normals @ point >= offsets``.

    Parameters
    ----------
    normals : (planes, goals) array
        Not negative.
    offsets : (planes,) array

    Raises
    ------
    OptimizationError
        When no point of the cube is in.
    """
    goals = normals.shape[1]
    identity = np.eye(goals)
    # rows (a, b) with a x + b <= 0
    halfspaces = np.vstack(
        [
            np.column_stack([-normals, offsets]),
            np.column_stack([-identity, np.zeros(goals)]),
            np.column_stack([identity, -np.ones(goals)]),
        ]
    )
    inside, radius = _center(halfspaces)
    if radius < -1e-6:
        raise OptimizationError(
            "The plans contradict each other's bounds; solve with a smaller tolerance or more iterations."
        )
    if radius < 1e-7:
        return inside[None]
    try:
        corners = HalfspaceIntersection(halfspaces, inside).intersections
    except QhullError:
        corners = HalfspaceIntersection(halfspaces, inside, qhull_options="QJ").intersections
    corners = np.clip(corners[np.isfinite(corners).all(axis=1)], 0.0, 1.0)
    _, first = np.unique(np.round(corners / _SAME), axis=0, return_index=True)
    return corners[first]


def _center(halfspaces: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the largest ball that fits; a negative radius where nothing does."""
    lengths = np.linalg.norm(halfspaces[:, :-1], axis=1)
    goals = halfspaces.shape[1] - 1
    found = linprog(
        np.r_[np.zeros(goals), -1.0],
        A_ub=np.column_stack([halfspaces[:, :-1], lengths]),
        b_ub=-halfspaces[:, -1],
        bounds=[(None, None)] * (goals + 1),
        method="highs",
    )
    return found.x[:-1], float(found.x[-1])


def shortfall(points: np.ndarray, vertex: np.ndarray) -> Shortfall:
    """How far the mixtures of some points (plans, goals), and all that is worse, are from a vertex (goals,)."""
    plans, goals = points.shape
    found = linprog(
        np.r_[np.zeros(plans), 1.0],
        A_ub=np.column_stack([points.T, -np.ones(goals)]),
        b_ub=vertex,
        A_eq=np.r_[np.ones(plans), 0.0][None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * plans + [(None, None)],
        method="highs",
    )
    if found.status != 0:
        raise OptimizationError(f"The distance between plans and bounds could not be found: {found.message}")
    normal = np.maximum(-found.ineqlin.marginals, 0.0)
    return Shortfall(float(found.fun), vertex, normal / normal.sum(), np.maximum(found.x[:-1], 0.0))


class Sandwich:
    """Inner and outer polyhedron, with the distances already measured remembered.

    A vertex's distance can only fall while plans are added: old distances are upper bounds, so that few are measured
    anew.
    """

    def __init__(self) -> None:
        self._at_most: dict[bytes, float] = {}

    def worst(
        self, points: np.ndarray, normals: np.ndarray, offsets: np.ndarray, given_up: set[bytes]
    ) -> tuple[float, Shortfall | None]:
        """The gap, and the shortfall that is the largest of those not given up.

        Parameters
        ----------
        points : (plans, goals) array
            Values of the plans.
        normals, offsets : (planes, goals), (planes,) arrays
            Of the outer polyhedron; see `outer_vertices`.
        given_up : set of bytes
            Keys of vertices where nothing better can be found.
        """
        vertices = outer_vertices(normals, offsets)
        keys = [self.key(vertex) for vertex in vertices]
        bounds = np.array([self._at_most.get(key, np.inf) for key in keys])
        gap, best = -np.inf, None
        for index in np.argsort(-bounds, kind="stable"):
            # the rest is no larger than what was found already
            if bounds[index] <= gap and (best is not None and bounds[index] <= best.gap):
                break
            found = shortfall(points, vertices[index])
            self._at_most[keys[index]] = found.gap
            gap = max(gap, found.gap)
            if keys[index] not in given_up and (best is None or found.gap > best.gap):
                best = found
        return max(gap, 0.0), best

    @staticmethod
    def key(vertex: np.ndarray) -> bytes:
        """What tells a vertex from others."""
        return np.round(vertex / 1e-7).astype(np.int64).tobytes()
