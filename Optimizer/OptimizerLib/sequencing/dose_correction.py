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
from OptimizerLib.sequencing.delivery_problem import DeliveryProblem
from OptimizerLib.sequencing.modulated_beams import delivered_weights

if TYPE_CHECKING:
    from DoseEngineLib.influence import DoseInfluence
    from OptimizerLib.problem import Problem


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
    constraint_weight: float = 1000.0,
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
    rounds, iterations, step_mm, least_segment_MU, constraint_weight
        See `refine_apertures`.
    progress : callable, optional

    Returns
    -------
    CorrectedResult
        Never worse than the plan given, by the engine's dose.

    Raises
    ------
    OptimizationError
        What `refine_apertures` and `DeliveryProblem.corrected` raise.
    """
    if corrections < 1:
        raise OptimizationError(f"corrections must be at least 1; got {corrections}.")
    best, history = None, []
    for number in range(corrections + 1):
        weights = delivered_weights(influence, plan)
        corrected = DeliveryProblem.corrected(problem, weights, dose_of(plan), constraint_weight)
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
