"""Grids in the one orientation every DICOM reader understands: rows towards the patient's left, columns to the back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.geometry import Grid, lps_from_ras

# Directions may leave the patient's axes by this much: 0.05 mm over 500 mm.
_ALIGNED = 1e-4


@dataclass(frozen=True, eq=False)
class TurnedGrid:
    """A grid made of another by turning and mirroring its axes; every voxel stays where it is.

    Attributes
    ----------
    grid : Grid
    axes : (int, int, int)
        Array axes of the former grid, in the new order k, j, i.
    mirrored : (bool, bool, bool)
        Which of the new axes run against the former.
    """

    grid: Grid
    axes: tuple[int, int, int]
    mirrored: tuple[bool, bool, bool]

    def array(self, values: np.ndarray) -> np.ndarray:
        """Turn an array of the former grid; no value changes."""
        turned = np.transpose(values, self.axes)
        return turned[tuple(slice(None, None, -1 if mirror else 1) for mirror in self.mirrored)]


def axial_grid(grid: Grid) -> TurnedGrid | None:
    """Let i, j, k run to the patient's left, back and head; None where the grid is oblique to these."""
    directions = lps_from_ras(grid.directions.T)
    # the former index axis (i, j, k) that runs along L, P, S
    along = [int(np.argmax(np.abs(directions[:, axis]))) for axis in range(3)]
    if len(set(along)) < 3:
        return None
    signs = [float(np.sign(directions[index, axis])) for axis, index in enumerate(along)]
    wanted = np.array([signs[axis] * directions[along[axis]] for axis in range(3)])
    if np.abs(wanted - np.eye(3)).max() > _ALIGNED:
        return None
    sizes = grid.shape[::-1]
    affine = np.eye(4)
    start = np.zeros(3)
    for axis, index in enumerate(along):
        affine[:3, axis] = signs[axis] * grid.affine[:3, index]
        if signs[axis] < 0:
            start[index] = sizes[index] - 1
    affine[:3, 3] = grid.index_to_ras(start)
    shape = tuple(sizes[index] for index in reversed(along))
    axes = tuple(2 - index for index in reversed(along))
    return TurnedGrid(Grid(shape, affine), axes, tuple(sign < 0 for sign in reversed(signs)))


def dicom_grid(grid: Grid) -> TurnedGrid:
    """Turn a grid to axial slices, or where it is oblique let k run along rows x columns, as DICOM counts slices."""
    turned = axial_grid(grid)
    if turned is not None:
        return turned
    mirror = bool(np.linalg.det(grid.directions) < 0.0)
    affine = grid.affine.copy()
    if mirror:
        affine[:3, 2] *= -1.0
        affine[:3, 3] = grid.index_to_ras((0, 0, grid.shape[0] - 1))
    return TurnedGrid(Grid(grid.shape, affine), (0, 1, 2), (mirror, False, False))
