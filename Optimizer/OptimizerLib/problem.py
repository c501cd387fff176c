"""The optimization problem: weights -> dose -> objectives, and the gradient back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective

if TYPE_CHECKING:
    from collections.abc import Iterator


class Problem:
    """Minimize a sum of objectives over weights that are not negative, within constraints.

    Parameters
    ----------
    influence : (voxels, variables) array or scipy sparse matrix
        Dose in Gy of each variable (beam, bixel, spot) at weight 1 to each voxel that a term sees.
    voxels_of : mapping of structure name to (n,) int array
        Rows of ``influence`` that belong to a structure, each once; structures may share rows.
    objectives : sequence of Objective
    constraints : sequence of Constraint
        Each names its ``structure``; ``excess_Gy(dose)`` is not positive where it is met.
    fluence_terms : sequence of FluenceTerm
        Penalties on the weights themselves, ``value(weights)`` and ``gradient(weights)``, added to the objectives.
    scale : float
        Factor from ``influence @ weights`` to the dose that objectives see: the number of fractions.

    Raises
    ------
    OptimizationError
        No objective, an objective or constraint of an unknown structure or one without voxels, an influence that is
        not finite, a scale that is not positive.
    """

    def __init__(
        self,
        influence: np.ndarray | sparse.spmatrix | sparse.sparray,
        voxels_of: Mapping[str, np.ndarray],
        objectives: Sequence[Objective],
        constraints: Sequence[Any] = (),
        fluence_terms: Sequence[Any] = (),
        scale: float = 1.0,
    ) -> None:
        if not objectives:
            raise OptimizationError("There are no objectives; give at least one, e.g. SquaredDeviation('PTV', 50.0).")
        if not (math.isfinite(scale) and scale > 0):
            raise OptimizationError(f"The scale (number of fractions) must be positive and finite; got {scale!r}.")
        self.influence = influence
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.fluence_terms = tuple(fluence_terms)
        self.scale = float(scale)
        self._voxels = tuple(self._rows(term, voxels_of) for term in self.objectives)
        self._constrained = tuple(self._rows(term, voxels_of) for term in self.constraints)
        stored = influence.data if sparse.issparse(influence) else influence
        if not np.isfinite(stored).all():
            raise OptimizationError("The influence matrix has NaN or infinite doses; calculate the dose again.")

    @staticmethod
    def _rows(term: Any, voxels_of: Mapping[str, np.ndarray]) -> np.ndarray:
        if term.structure not in voxels_of:
            raise OptimizationError(
                f"{type(term).__name__}: there is no structure {term.structure!r}; choose one of: "
                f"{', '.join(voxels_of) or 'none'}."
            )
        voxels = np.asarray(voxels_of[term.structure], dtype=np.intp)
        if voxels.size == 0:
            raise OptimizationError(
                f"{type(term).__name__}: structure {term.structure} has no voxel; contour it or drop the objective."
            )
        return voxels

    @property
    def variables(self) -> int:
        """Number of weights."""
        return self.influence.shape[1]

    def dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose (voxels,) at some weights (variables,)."""
        return self.scale * (self.influence @ weights)

    def _objective_doses(self, dose: np.ndarray) -> Iterator[tuple[Objective, np.ndarray, np.ndarray]]:
        for objective, voxels in zip(self.objectives, self._voxels):
            yield objective, voxels, dose[voxels]

    def values(self, weights: np.ndarray) -> tuple[float, ...]:
        """Value of each objective, then of each fluence term, at some weights."""
        dose = self.dose_Gy(weights)
        return (
            *(objective.value(seen) for objective, _, seen in self._objective_doses(dose)),
            *(float(term.value(weights)) for term in self.fluence_terms),
        )

    def excesses_Gy(self, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """What each constraint exceeds its limit by; not positive where it is met."""
        dose = self.dose_Gy(weights)
        return tuple(
            np.atleast_1d(constraint.excess_Gy(dose[voxels]))
            for constraint, voxels in zip(self.constraints, self._constrained)
        )

    def violation_Gy(self, weights: np.ndarray) -> float:
        """Largest excess over any constraint; zero when all are met."""
        return max(0.0, *(float(excess.max()) for excess in self.excesses_Gy(weights)), 0.0)

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of objectives and fluence terms at some weights (variables,), and its gradient (variables,)."""
        dose = self.dose_Gy(weights)
        by_dose = np.zeros(dose.shape)
        value = 0.0
        for objective, voxels, seen in self._objective_doses(dose):
            value += objective.value(seen)
            by_dose[voxels] += objective.gradient(seen)
        gradient = self.scale * (self.influence.T @ by_dose)
        for term in self.fluence_terms:
            value += float(term.value(weights))
            gradient += term.gradient(weights)
        return value, gradient
