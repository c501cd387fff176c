"""The optimization problem: weights -> dose -> objectives, and the gradient back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from OptimizerLib.dense_dose import DenseDose
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective

if TYPE_CHECKING:
    # with numba, which panels do without until an action asks for it
    from OptimizerLib.sparse_dose import SparseDose


class Problem:
    """Minimize a sum of objectives over weights that are not negative, within constraints.

    Parameters
    ----------
    influence : (voxels, variables) array, scipy sparse matrix or SparseDose
        Dose in Gy of each variable (beam, bixel, spot) at weight 1 to each voxel. Of a scipy matrix, the rows that a
        term sees are copied into a `SparseDose`; give a `SparseDose` to share one among problems.
    voxels_of : mapping of structure name to (n,) int array
        Rows of ``influence`` that belong to a structure, each once; structures may share rows.
    objectives : sequence of Objective
    constraints : sequence of Constraint
        Each names its ``structure``; ``excess_Gy(dose)`` is not positive where it is met.
    fluence_terms : sequence of FluenceTerm
        Penalties on the weights themselves, ``value(weights)`` and ``gradient(weights)``, added to the objectives.
    scale : float
        Factor from ``influence @ weights`` to the dose that objectives see: the number of fractions.

    Attributes
    ----------
    operator : SparseDose or DenseDose
        The rows that a term sees; those of one structure lie together where structures do not overlap.

    Raises
    ------
    OptimizationError
        No objective, an objective or constraint of an unknown structure or one without voxels, an influence that is
        not finite, a scale that is not positive.
    """

    def __init__(
        self,
        influence: np.ndarray | sparse.spmatrix | sparse.sparray | SparseDose,
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
        terms = (*self.objectives, *self.constraints)
        for term in terms:
            self._check_structure(term, voxels_of)
        self._voxels_of = {
            name: np.asarray(voxels_of[name], dtype=np.intp) for name in dict.fromkeys(t.structure for t in terms)
        }
        place = None
        if _is_sparse_dose(influence):
            self.operator = influence
        else:
            seen = _structure_by_structure(self._voxels_of.values(), influence.shape[0])
            place = np.empty(influence.shape[0], dtype=np.intp)
            place[seen] = np.arange(seen.size)
            if sparse.issparse(influence):
                from OptimizerLib.sparse_dose import SparseDose

                self.operator = SparseDose(influence, seen)
            else:
                if not np.isfinite(influence).all():
                    raise OptimizationError("The influence matrix has NaN or infinite doses; calculate the dose again.")
                self.operator = DenseDose(influence[seen])
        self._rows_of = {
            name: _as_slice(voxels if place is None else place[voxels]) for name, voxels in self._voxels_of.items()
        }

    @staticmethod
    def _check_structure(term: Any, voxels_of: Mapping[str, np.ndarray]) -> None:
        if term.structure not in voxels_of:
            raise OptimizationError(
                f"{type(term).__name__}: there is no structure {term.structure!r}; choose one of: "
                f"{', '.join(voxels_of) or 'none'}."
            )
        if np.size(voxels_of[term.structure]) == 0:
            raise OptimizationError(
                f"{type(term).__name__}: structure {term.structure} has no voxel; contour it or drop the objective."
            )

    @property
    def variables(self) -> int:
        """Number of weights."""
        return self.influence.shape[1]

    def _objective_doses(self, dose: np.ndarray) -> list[tuple[Objective, np.ndarray, np.ndarray]]:
        """Each objective with its rows of the influence matrix and its part of a dose of `dose_Gy`."""
        return [(o, self._voxels_of[o.structure], dose[self._voxels_of[o.structure]]) for o in self.objectives]

    def dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose (voxels,) at some weights (variables,), in every row of the influence matrix."""
        if _is_sparse_dose(self.influence):
            return self.seen_dose_Gy(weights)
        return self.scale * (self.influence @ weights)

    def seen_dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose at some weights (variables,) in the rows of `operator`."""
        return self.scale * self.operator.dose(weights)

    def structure_dose_Gy(self, structure: str, weights: np.ndarray) -> np.ndarray:
        """Dose (n,) in a structure that a term names, in the order of its rows."""
        if structure not in self._rows_of:
            raise OptimizationError(
                f"No objective or constraint names {structure!r}; choose one of: {', '.join(self._rows_of)}."
            )
        return self.seen_dose_Gy(weights)[self._rows_of[structure]]

    def values(self, weights: np.ndarray) -> tuple[float, ...]:
        """Value of each objective, then of each fluence term, at some weights."""
        dose = self.seen_dose_Gy(weights)
        return (
            *(float(objective.value(dose[self.rows(objective)])) for objective in self.objectives),
            *(float(term.value(weights)) for term in self.fluence_terms),
        )

    def excesses_Gy(self, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """What each constraint exceeds its limit by; not positive where it is met."""
        if not self.constraints:
            return ()
        dose = self.seen_dose_Gy(weights)
        return tuple(np.atleast_1d(c.excess_Gy(dose[self.rows(c)])) for c in self.constraints)

    def violation_Gy(self, weights: np.ndarray) -> float:
        """Largest excess over any constraint; zero when all are met."""
        return max([0.0, *(float(excess.max()) for excess in self.excesses_Gy(weights))])

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of objectives and fluence terms at some weights (variables,), and its gradient (variables,)."""
        value, by_dose, by_weights = self.evaluate(self.seen_dose_Gy(weights), weights)
        return value, self.gradient_of(by_dose) + by_weights

    def rows(self, term: Any) -> slice | np.ndarray:
        """Where in the rows of `operator` a term finds its structure."""
        return self._rows_of[term.structure]

    def evaluate(self, dose: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """What is to be minimized, as a function of dose and of weights.

        Solvers work through this method: dose is linear in the weights, so that all points of a line cost no more than
        two products with the matrix. A problem of another kind overrides it, and `weighted_objectives` with it.

        Parameters
        ----------
        dose : (seen,) array
            `seen_dose_Gy` of the weights.
        weights : (variables,) array

        Returns
        -------
        value : float
        by_dose : (seen,) array
            Its derivative by the dose.
        by_weights : (variables,) array
            Its derivative by the weights themselves, at the same dose.
        """
        by_dose = np.zeros(dose.shape)
        by_weights = np.zeros(self.variables)
        value = 0.0
        for objective in self.objectives:
            rows = self.rows(objective)
            value += float(objective.value(dose[rows]))
            by_dose[rows] += objective.gradient(dose[rows])
        for term in self.fluence_terms:
            value += float(term.value(weights))
            by_weights += term.gradient(weights)
        return value, by_dose, by_weights

    @property
    def has_coupling(self) -> bool:
        """Whether `evaluate` may have more curvature than the `weighted_objectives` by themselves."""
        return bool(self.fluence_terms) or type(self).evaluate is not Problem.evaluate

    def weighted_objectives(self, dose: np.ndarray, weights: np.ndarray) -> list[tuple[float, Any]]:
        """Objectives with the factors that their gradients have in that of the whole, at a dose of `seen_dose_Gy`."""
        return [(1.0, objective) for objective in self.objectives]

    def gradient_of(self, by_dose: np.ndarray) -> np.ndarray:
        """Derivative by the weights from that by the doses of `seen_dose_Gy`."""
        return self.scale * self.operator.gradient(by_dose)

    def with_objectives(self, objectives: Sequence[Any]) -> Problem:
        """The problem with other objectives and no constraints, on structures that it knows; the matrix is shared."""
        if not objectives:
            raise OptimizationError("There are no objectives; give at least one, e.g. SquaredDeviation('PTV', 50.0).")
        for objective in objectives:
            if objective.structure not in self._rows_of:
                raise OptimizationError(
                    f"{type(objective).__name__}: no term of the problem names {objective.structure!r}, so its voxels "
                    "were not kept; make a new Problem."
                )
        other = copy.copy(self)
        other.objectives = tuple(objectives)
        other.constraints = ()
        return other


def _is_sparse_dose(influence: Any) -> bool:
    # a class of ours is told by what it does, so that its module need not be there
    return hasattr(influence, "curvature_product")


def _structure_by_structure(structures, count: int) -> np.ndarray:
    """Rows of any of the structures, those that belong to the same structures together, ascending within."""
    # after each structure, rows are told apart by which of those before they belong to
    group = np.zeros(count, dtype=np.int64)
    for rows in structures:
        group *= 2
        group[rows] += 1
        if group.max() > 1 << 32:
            group = np.unique(group, return_inverse=True)[1].reshape(-1)
    seen = np.flatnonzero(group)
    return seen[np.argsort(group[seen], kind="stable")]


def _as_slice(rows: np.ndarray) -> slice | np.ndarray:
    """The rows as a slice where they follow each other, so that their doses need not be gathered."""
    if (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
