"""The optimization problem: weights -> dose -> objectives, and the gradient back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective


class Problem:
    """Minimize a sum of objectives over weights that are not negative.

    Parameters
    ----------
    influence : (voxels, variables) array or scipy sparse matrix
        Dose in Gy of each variable (beam, bixel, spot) at weight 1 to each voxel that an objective sees.
    voxels_of : mapping of structure name to (n,) int array
        Rows of ``influence`` that belong to a structure, each once; structures may share rows.
    objectives : sequence of Objective

    Raises
    ------
    OptimizationError
        No objective, an objective of an unknown structure or one without voxels, or an influence that is not finite.
    """

    def __init__(
        self,
        influence: np.ndarray | sparse.spmatrix | sparse.sparray,
        voxels_of: Mapping[str, np.ndarray],
        objectives: Sequence[Objective],
    ) -> None:
        if not objectives:
            raise OptimizationError("There are no objectives; give at least one, e.g. SquaredDeviation('PTV', 50.0).")
        self.influence = influence
        self.objectives = tuple(objectives)
        self._voxels = []
        for objective in self.objectives:
            if objective.structure not in voxels_of:
                raise OptimizationError(
                    f"{type(objective).__name__}: there is no structure {objective.structure!r}; choose one of: "
                    f"{', '.join(voxels_of) or 'none'}."
                )
            voxels = np.asarray(voxels_of[objective.structure], dtype=np.intp)
            if voxels.size == 0:
                raise OptimizationError(
                    f"{type(objective).__name__}: structure {objective.structure} has no voxel; contour it or drop the "
                    "objective."
                )
            self._voxels.append(voxels)
        stored = influence.data if sparse.issparse(influence) else influence
        if not np.isfinite(stored).all():
            raise OptimizationError("The influence matrix has NaN or infinite doses; calculate the dose again.")

    @property
    def variables(self) -> int:
        """Number of weights."""
        return self.influence.shape[1]

    def dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose (voxels,) at some weights (variables,)."""
        return self.influence @ weights

    def values(self, weights: np.ndarray) -> tuple[float, ...]:
        """Value of each objective at some weights."""
        dose = self.dose_Gy(weights)
        return tuple(o.value(dose[voxels]) for o, voxels in zip(self.objectives, self._voxels))

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of the objectives at some weights (variables,), and its gradient (variables,)."""
        dose = self.dose_Gy(weights)
        by_dose = np.zeros(dose.shape)
        value = 0.0
        for objective, voxels in zip(self.objectives, self._voxels):
            seen = dose[voxels]
            value += objective.value(seen)
            by_dose[voxels] += objective.gradient(seen)
        return value, self.influence.T @ by_dose
