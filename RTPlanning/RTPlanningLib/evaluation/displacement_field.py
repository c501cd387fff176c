"""A deformation as displacement vectors on a grid: where each point of one anatomy lies in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Maps a point x of the anatomy it is drawn on to x + u(x) in the other anatomy; linear between voxel centres.

    This is the direction in which images are resampled: the field of a registration with the planning CT as the fixed
    and the CT of the day as the moving image.

    Attributes
    ----------
    vectors_mm : (k, j, i, 3) array
        Displacements u along R, A, S. Kept as float32, read-only.
    grid : Grid

    Raises
    ------
    EvaluationError
        A shape that is not the grid's, NaN or infinite vectors.
    """

    vectors_mm: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors_mm)
        if vectors.shape != (*self.grid.shape, 3):
            raise EvaluationError(
                f"The displacement field has the shape {vectors.shape}; it must be {(*self.grid.shape, 3)}: "
                "k, j, i of its grid, then R, A, S."
            )
        bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=-1)))
        if bad:
            raise EvaluationError(f"The displacement field has {bad} NaN or infinite vectors; repair it first.")
        vectors = np.array(vectors, dtype=np.float32, order="C")
        vectors.setflags(write=False)
        object.__setattr__(self, "vectors_mm", vectors)

    def displaced(self, points_RAS_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map points (n, 3).

        Returns
        -------
        points : (n, 3) array
        inside : (n,) bool array
            Which points the field's grid covers; the others are not displaced.
        """
        points = np.asarray(points_RAS_mm, float)
        inside = self.grid.contains(points)
        at = self.grid.ras_to_index(points[inside])[:, ::-1].T
        moved = points.copy()
        for axis in range(3):
            moved[inside, axis] += ndimage.map_coordinates(
                self.vectors_mm[..., axis], at, order=1, mode="nearest", output=np.float64
            )
        return moved, inside

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Volume of the other anatomy a volume of this one, at the voxel centres; (k, j, i), by central differences."""
        return self._determinants(lambda vectors, axis: np.gradient(vectors, axis=axis))

    @property
    def jacobian_range(self) -> tuple[float, float]:
        """Least and largest Jacobian determinant at the eight corners of every cell between voxel centres.

        A least one of 0 or below means that the field folds: it cannot be inverted.
        """
        return self._corner_figures[:2]

    @property
    def folded_share(self) -> float:
        """Share of the cells that have a corner with a Jacobian determinant of 0 or below."""
        return self._corner_figures[2]

    def inverse_error_mm(self, backward: DisplacementField) -> np.ndarray:
        """How far each voxel centre ends from itself after this field and then ``backward``; (k, j, i), NaN outside."""
        points = self.grid.centres_RAS_mm().reshape(-1, 3)
        there, _ = self.displaced(points)
        back, inside = backward.displaced(there)
        error = np.linalg.norm(back - points, axis=1)
        error[~inside] = np.nan
        return error.reshape(self.grid.shape)

    @cached_property
    def _corner_figures(self) -> tuple[float, float, float]:
        low, high, folded = np.inf, -np.inf, False
        for corner in np.ndindex(2, 2, 2):
            determinants = self._determinants(lambda vectors, axis, c=corner: _edge_steps(vectors, axis, c))
            low, high = min(low, float(determinants.min())), max(high, float(determinants.max()))
            folded = folded | (determinants <= 0.0)
        return low, high, float(np.mean(folded))

    def _determinants(self, steps: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """det(1 + du/dx) from what gives the change of the vectors for one voxel along an array axis."""
        vectors = self.vectors_mm.astype(np.float64)
        # columns i, j, k; across a single layer the field does not change
        changes = {axis: steps(vectors, axis) for axis in (2, 1, 0) if self.grid.shape[axis] > 1}
        shape = next(iter(changes.values())).shape if changes else vectors.shape
        columns = [changes.get(axis, np.zeros(shape)) for axis in (2, 1, 0)]
        return np.linalg.det(np.eye(3) + np.stack(columns, axis=-1) @ self.grid.inverse_affine[:3, :3])


def _edge_steps(values: np.ndarray, axis: int, corner: tuple[int, int, int]) -> np.ndarray:
    """Change along the edge of each cell that meets this corner."""
    steps = np.diff(values, axis=axis)
    index = []
    for other in range(3):
        size = values.shape[other]
        whole = other == axis or size == 1
        index.append(slice(None) if whole else slice(corner[other], size - 1 + corner[other]))
    return steps[tuple(index)]
