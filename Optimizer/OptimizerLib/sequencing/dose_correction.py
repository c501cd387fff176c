"""Refinement against the dose of an engine: what the influence matrix does not know is added to its dose and kept.

Influence matrices leave out what depends on the aperture as a whole, and leaves that stand inside a bixel light only a
part of it. The difference to the engine's dose hardly changes while leaves move a little. So it is calculated, held
fixed while the apertures are refined, and calculated anew; the plan whose engine's dose is best is taken. Fast doses
have long been corrected by their difference to accurate ones in this way: J. V. Siebers, M. Lauterbach, S. Tong, Q. Wu,
R. Mohan, Med. Phys. 29 (2002) 231.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.aperture_refinement import refine_apertures
from OptimizerLib.sequencing.modulated_beams import delivered_weights

if TYPE_CHECKING:
    from DoseEngineLib.influence import DoseInfluence
    from OptimizerLib.problem import Problem


class CorrectedProblem:
    """A problem whose dose is that of its influence plus a dose that does not change.

    Parameters
    ----------
    problem : Problem
    weights : (variables,) array
        Of a plan,
    dose_of : mapping of structure name to (n,) array
        and what an engine computes for it in Gy, at the voxels of each structure that a term names, in their order.

    Raises
    ------
    OptimizationError
        A structure without a dose, or with one of another length.
    """

    def __init__(self, problem: Problem, weights: np.ndarray, dose_of: Mapping[str, np.ndarray]) -> None:
        self._problem = problem
        self.variables = problem.variables
        seen = problem.seen_dose_Gy(weights)
        self._difference = np.zeros(seen.shape)
        for term in (*problem.objectives, *problem.constraints):
            rows = problem.rows(term)
            dose = np.asarray(dose_of.get(term.structure, ()), dtype=float)
            if dose.shape != seen[rows].shape or not np.isfinite(dose).all():
                raise OptimizationError(
                    f"Give a finite dose for each of the {seen[rows].size} voxels of {term.structure}; got "
                    f"{dose.shape} values."
                )
            self._difference[rows] = dose - seen[rows]

    def _dose(self, weights: np.ndarray) -> np.ndarray:
        return self._problem.seen_dose_Gy(weights) + self._difference

    def values(self, weights: np.ndarray) -> tuple[float, ...]:
        """Value of each objective, then of each fluence term; see `Problem.values`."""
        dose = self._dose(weights)
        return (
            *(float(o.value(dose[self._problem.rows(o)])) for o in self._problem.objectives),
            *(float(term.value(weights)) for term in self._problem.fluence_terms),
        )

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of the terms and its gradient; see `Problem.value_and_gradient`."""
        value, by_dose, by_weights = self._problem.evaluate(self._dose(weights), weights)
        return value, self._problem.gradient_of(by_dose) + by_weights


@dataclass(frozen=True, eq=False)
class CorrectedResult:
    """A plan refined against an engine's dose.

    Attributes
    ----------
    plan : Plan
        The best of all whose dose was calculated.
    value : float
        Sum of the terms for its dose by the engine.
    history : tuple of float
        The same for the plan given and after each correction.
    terms : tuple of float
        ``value`` term by term.
    """

    plan: Plan
    value: float
    history: tuple[float, ...]
    terms: tuple[float, ...]


def refine_to_dose(
    problem: Problem,
    influence: DoseInfluence,
    plan: Plan,
    dose_of: Callable[[Plan], Mapping[str, np.ndarray]],
    *,
    corrections: int = 2,
    rounds: int = 2,
    iterations: int = 20,
    step_mm: float = 2.5,
    least_segment_MU: float = 1.0,
    progress: Progress | None = None,
) -> CorrectedResult:
    """Refine a step-and-shoot plan until the dose of an engine meets the objectives.

    Parameters
    ----------
    problem, influence, plan
        As for `refine_apertures`, which comes first.
    dose_of : callable
        From a plan to the engine's dose in Gy of the course, a (n,) array for each structure that a term of the problem
        names, at the same voxels in the same order.
    corrections : int
        How often apertures are refined; the dose is calculated once more.
    rounds, iterations, step_mm, least_segment_MU
        See `refine_apertures`.
    progress : callable, optional

    Returns
    -------
    CorrectedResult
        Never worse than the plan given, by the engine's dose.

    Raises
    ------
    OptimizationError
        What `refine_apertures` and `CorrectedProblem` raise.
    """
    if corrections < 1:
        raise OptimizationError(f"corrections must be at least 1; got {corrections}.")
    best, history = None, []
    for number in range(corrections + 1):
        weights = delivered_weights(influence, plan)
        corrected = CorrectedProblem(problem, weights, dose_of(plan))
        terms = corrected.values(weights)
        value = float(sum(terms))
        history.append(value)
        if best is None or value < best[1]:
            best = (plan, value, terms)
        if number < corrections:
            plan = refine_apertures(
                corrected,
                influence,
                plan,
                rounds=rounds,
                iterations=iterations,
                step_mm=step_mm,
                least_segment_MU=least_segment_MU,
                progress=part(progress, number / corrections, (number + 1) / corrections),
            ).plan
    return CorrectedResult(best[0], best[1], tuple(history), best[2])
