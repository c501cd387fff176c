"""A dense influence matrix with few columns, such as one of whole beams, for the optimizer."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from OptimizerLib.errors import OptimizationError


class DenseDose:
    """The same products as `SparseDose`, of an array; numpy does the work.

    Parameters
    ----------
    matrix : (voxels, variables) array
        Dose of each variable at weight 1 to each voxel; kept, not copied, when it is float64.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = np.asarray(matrix, dtype=np.float64)
        if self._matrix.ndim != 2:
            raise OptimizationError(f"An influence matrix has two axes (voxels, variables); got {self._matrix.shape}.")
        self.shape = self._matrix.shape

    def to_csr(self) -> sparse.csr_array:
        """The matrix as scipy's sparse one, a copy."""
        return sparse.csr_array(self._matrix)

    def dose(self, weights: np.ndarray) -> np.ndarray:
        """Dose (n,) at some weights (variables,)."""
        return self._matrix @ weights

    def gradient(self, by_dose: np.ndarray) -> np.ndarray:
        """Derivative by the weights (variables,) from that by the dose (n,)."""
        return self._matrix.T @ by_dose

    def curvature_product(self, curvature: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """``matrix.T @ (curvature * (matrix @ direction))``; (variables,)."""
        return self._matrix.T @ (curvature * (self._matrix @ direction))

    def add_curvature(self, curvature: np.ndarray, total: np.ndarray) -> None:
        """Add ``matrix.T @ diag(curvature) @ matrix`` to a (variables, variables) array in place."""
        active = np.flatnonzero(curvature)
        total += self._matrix[active].T @ (curvature[active, None] * self._matrix[active])
