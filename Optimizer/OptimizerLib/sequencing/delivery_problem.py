"""A problem as the refinement of apertures sees it: constraints as penalties, and a dose that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from OptimizerLib.errors import OptimizationError

if TYPE_CHECKING:
    from OptimizerLib.problem import Problem


class DeliveryProblem:
    """Terms of a problem on the dose of its influence plus a dose that does not change.

    Leaves cannot always keep what any fluence can, so that constraints are not enforced: the mean of their squared
    excesses, where positive, counts with a weight.

    Parameters
    ----------
    problem : Problem
    difference_Gy : (seen,) array, optional
        Added to `Problem.seen_dose_Gy`; none by default.
    constraint_weight : float
        Of the mean squared excess of each constraint, in the objectives' unit a Gy2.
    """

    def __init__(
        self, problem: Problem, difference_Gy: np.ndarray | None = None, constraint_weight: float = 1000.0
    ) -> None:
        if not constraint_weight >= 0:
            raise OptimizationError(f"constraint_weight must not be negative; got {constraint_weight}.")
        self.problem = problem
        self.constraint_weight = float(constraint_weight)
        self._difference = 0.0 if difference_Gy is None else difference_Gy

    @classmethod
    def corrected(
        cls,
        problem: Problem,
        weights: np.ndarray,
        dose_of: Mapping[str, np.ndarray],
        constraint_weight: float = 1000.0,
    ) -> DeliveryProblem:
        """Make a problem whose dose at some weights is that of an engine.

        Parameters
        ----------
        weights : (variables,) array
            What the leaves of a plan give.
        dose_of : mapping of structure name to (n,) array
            What an engine computes for that plan, in Gy of the course, at the voxels of each structure that a term
            names, in their order.

        Raises
        ------
        OptimizationError
            A structure without a dose, or with one of another length.
        """
        seen = problem.seen_dose_Gy(weights)
        difference = np.zeros(seen.shape)
        for term in (*problem.objectives, *problem.constraints):
            rows = problem.rows(term)
            dose = np.asarray(dose_of.get(term.structure, ()), dtype=float)
            if dose.shape != seen[rows].shape or not np.isfinite(dose).all():
                raise OptimizationError(
                    f"Give a finite dose for each of the {seen[rows].size} voxels of {term.structure}; got "
                    f"{dose.size} values."
                )
            difference[rows] = dose - seen[rows]
        return cls(problem, difference, constraint_weight)

    @property
    def variables(self) -> int:
        """Number of weights."""
        return self.problem.variables

    def dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose (seen,) at some weights, where the problem's terms see it."""
        return self.problem.seen_dose_Gy(weights) + self._difference

    def _missed(self, dose: np.ndarray) -> list[tuple[Any, np.ndarray, np.ndarray]]:
        """Each constraint with its doses and the positive part of its excesses."""
        found = []
        for constraint in self.problem.constraints:
            seen = dose[self.problem.rows(constraint)]
            found.append((constraint, seen, np.maximum(np.atleast_1d(constraint.excess_Gy(seen)), 0.0)))
        return found

    def values(self, weights: np.ndarray) -> tuple[float, ...]:
        """Value of each objective, of each fluence term, and of the penalty of each constraint."""
        dose = self.dose_Gy(weights)
        return (
            *(float(o.value(dose[self.problem.rows(o)])) for o in self.problem.objectives),
            *(float(term.value(weights)) for term in self.problem.fluence_terms),
            *(self.constraint_weight * float(np.mean(missed**2)) for _, _, missed in self._missed(dose)),
        )

    def value(self, weights: np.ndarray) -> float:
        """Sum of `values`."""
        return float(sum(self.values(weights)))

    def violation_Gy(self, weights: np.ndarray) -> float:
        """Largest excess over any constraint; zero when all are met."""
        return max([0.0, *(float(missed.max()) for _, _, missed in self._missed(self.dose_Gy(weights)))])

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of the terms at some weights (variables,), and its gradient (variables,)."""
        dose = self.dose_Gy(weights)
        value, by_dose, by_weights = self.problem.evaluate(dose, weights)
        for constraint, seen, missed in self._missed(dose):
            value += self.constraint_weight * float(np.mean(missed**2))
            multipliers = 2.0 * self.constraint_weight / missed.size * missed
            by_dose[self.problem.rows(constraint)] += constraint.pullback(seen, multipliers)
        return value, self.problem.gradient_of(by_dose) + by_weights
