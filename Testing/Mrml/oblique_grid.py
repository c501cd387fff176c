"""Voxel axes and masks for tests on oblique grids."""

import numpy as np

from DoseEngineLib.geometry import Grid

_OBLIQUE_RAD = 0.3


def directions(*, left_handed: bool = False) -> np.ndarray:
    """Voxel axes turned about two axes, so that every element of the affine matters."""
    c, s = np.cos(_OBLIQUE_RAD), np.sin(_OBLIQUE_RAD)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return turned @ np.diag((1.0, 1.0, -1.0)) if left_handed else turned


def box(grid: Grid, k: slice, j: slice, i: slice) -> np.ndarray:
    """A mask that is true in a range of indices."""
    mask = np.zeros(grid.shape, dtype=bool)
    mask[k, j, i] = True
    return mask
