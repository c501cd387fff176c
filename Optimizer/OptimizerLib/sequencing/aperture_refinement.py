"""Direct aperture refinement: leaves and MU of step-and-shoot segments moved downhill on a plan's objectives.

The dose is linear in the exposure of the bixels, and the exposure is known exactly for any position of the leaves: see
`SegmentedField`. Apertures have been searched for by the slope with the leaves before: B. Hårdemark, A. Liander, H.
Rehbinder, J. Löf, Direct machine parameter optimization, RaySearch white paper (2003); A. Cassioli, J. Unkelbach, Phys.
Med. Biol. 58 (2013) 301.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.delivery_problem import DeliveryProblem
from OptimizerLib.sequencing.modulated_beams import delivered_weights, split_by_beam
from OptimizerLib.sequencing.segmented_field import SegmentedField

if TYPE_CHECKING:
    from DoseEngineLib.influence import DoseInfluence
    from OptimizerLib.problem import Problem

# A round of the search that gains less than this is the last.
_WORTH_A_ROUND = 2e-3


@dataclass(frozen=True)
class DeliveryLosses:
    """What objectives, fluence terms and penalties of constraints add up to on the way from wish to delivery.

    Attributes
    ----------
    ideal : float or None
        Any fluence; None when it was not given.
    sequenced, refined : float
        What the leaves deliver before and after refinement.
    ideal_terms, sequenced_terms, refined_terms : tuple of float
        The same for each term of the problem: objectives, fluence terms, constraints.
    sequenced_violation_Gy, refined_violation_Gy : float
        Largest excess over any constraint.
    """

    ideal: float | None
    sequenced: float
    refined: float
    ideal_terms: tuple[float, ...]
    sequenced_terms: tuple[float, ...]
    refined_terms: tuple[float, ...]
    sequenced_violation_Gy: float = 0.0
    refined_violation_Gy: float = 0.0

    @property
    def recovered(self) -> float | None:
        """Share of the loss from ideal to sequenced that refinement won back; above one where it beat the ideal."""
        if self.ideal is None or self.sequenced <= self.ideal:
            return None
        return (self.sequenced - self.refined) / (self.sequenced - self.ideal)


@dataclass(frozen=True, eq=False)
class RefinementResult:
    """A refined plan.

    Attributes
    ----------
    plan : Plan
    weights : (bixels,) array
        MU of open fluence that it gives the bixels.
    history : tuple of float
        Sum of the objectives as the search saw it, at the start and after each iteration.
    losses : DeliveryLosses
    """

    plan: Plan
    weights: np.ndarray
    history: tuple[float, ...]
    losses: DeliveryLosses


def refine_apertures(
    problem: Problem | DeliveryProblem,
    influence: DoseInfluence,
    plan: Plan,
    *,
    ideal_weights: np.ndarray | None = None,
    rounds: int = 5,
    iterations: int = 30,
    step_mm: float = 5.0,
    least_segment_MU: float = 1.0,
    constraint_weight: float = 1000.0,
    progress: Progress | None = None,
) -> RefinementResult:
    """Refine leaf positions and MU of a step-and-shoot plan.

    Each round lets every leaf move up to ``step_mm`` within the limits of the machine and searches with L-BFGS-B (Byrd,
    Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16 (1995) 1190) for lower objectives; its outcome is kept when what the
    leaves then deliver, computed anew from the control points, is better. Closed pairs stay closed and pairs that are
    open stay open. Constraints count as penalties and may be missed by a little, see `DeliveryProblem`.

    Parameters
    ----------
    problem : Problem or DeliveryProblem
        On the weights of the influence's bixels.
    influence : DoseInfluence
        Only its ``beams`` are used.
    plan : Plan
        Sequenced for the same bixels by step and shoot.
    ideal_weights : (bixels,) array, optional
        The weights that were sequenced, to report what was lost.
    rounds, iterations : int
        At most, and at most in a round.
    step_mm : float
    least_segment_MU : float
        Segments that come out of the first round with less are dropped.
    constraint_weight : float
        See `DeliveryProblem`; not used where one is given.
    progress : callable, optional
        ``progress(fraction, text)``, called once an iteration; it may raise `Cancelled`.

    Returns
    -------
    RefinementResult
        Never worse than the plan given, in the sum of the terms of what the leaves deliver.

    Raises
    ------
    OptimizationError
        A plan with moving leaves, or one that does not fit the influence or the problem.
    """
    if rounds < 1 or iterations < 1 or not step_mm > 0 or not least_segment_MU >= 0:
        raise OptimizationError("rounds, iterations and step_mm must be positive and least_segment_MU not negative.")
    if problem.variables != sum(bixels.size for bixels in influence.beams):
        raise OptimizationError(
            f"The problem has {problem.variables} weights, the influence "
            f"{sum(bixels.size for bixels in influence.beams)} bixels; build the problem on this influence."
        )
    if not isinstance(problem, DeliveryProblem):
        problem = DeliveryProblem(problem, constraint_weight=constraint_weight)
    report = progress or silent
    start = delivered_weights(influence, plan)
    start_value = problem.value(start)
    current, weights, value = plan, start, start_value
    history = [start_value]
    for number in range(rounds):
        search = _Search(influence, current, step_mm, least_segment_MU if number > 0 else 0.0)
        if search.dropped:
            current = search.plan(current)
            weights = delivered_weights(influence, current)
            value = problem.value(weights)

        def after_iteration(found: float, iteration: int, number: int = number) -> None:
            history.append(found)
            done = (number + min(iteration / iterations, 1.0)) / rounds
            report(done, f"Apertures, round {number + 1}: objective {found:.5g}")

        search.run(problem, iterations, after_iteration)
        candidate = search.plan(current)
        found = delivered_weights(influence, candidate)
        gained = value - problem.value(found)
        if gained > 0:
            current, weights, value = candidate, found, value - gained
        else:
            step_mm *= 0.5
        if number > 0 and 0 <= gained <= _WORTH_A_ROUND * abs(value):
            break
    if value > start_value:
        current, weights, value = plan, start, start_value
    ideal = None if ideal_weights is None else np.asarray(ideal_weights, dtype=float)
    losses = DeliveryLosses(
        None if ideal is None else problem.value(ideal),
        start_value,
        value,
        () if ideal is None else tuple(problem.values(ideal)),
        tuple(problem.values(start)),
        tuple(problem.values(weights)),
        problem.violation_Gy(start),
        problem.violation_Gy(weights),
    )
    report(1.0, f"Apertures refined: objective {start_value:.5g} to {value:.5g}")
    return RefinementResult(current, weights, tuple(history), losses)


class _Search:
    """All beams of a plan as one vector of variables between bounds."""

    def __init__(self, influence: DoseInfluence, plan: Plan, step_mm: float, least_segment_MU: float) -> None:
        pieces = split_by_beam(influence, np.zeros(sum(bixels.size for bixels in influence.beams)), plan)
        # of each beam of the influence the fields of its parts; what has no MU has no field
        self.parts = []
        for parts, bixels, _ in pieces:
            fields = [
                SegmentedField.from_beam(beam, bixels, load_beam_machine(beam), step_mm, least_segment_MU)
                for beam in parts
            ]
            self.parts.append([field for field in fields if field is not None])
        self.sizes = [bixels.size for _, bixels, _ in pieces]
        self.lit = [field for fields in self.parts for field in fields]
        self.dropped = any(field.dropped for field in self.lit)
        self.least_segment_MU = least_segment_MU

    def run(self, problem: DeliveryProblem, iterations: int, after: Callable[[float, int], None]) -> None:
        """Search downhill and leave the fields where the search ended."""
        if not self.lit:
            return
        start = np.concatenate([field.variables() for field in self.lit])
        bounds = [field.bounds(self.least_segment_MU) for field in self.lit]
        low, high = (np.concatenate(side) for side in zip(*bounds, strict=True))
        ends = np.cumsum([field.variables().size for field in self.lit])[:-1]
        scale = None

        def exposure(variables: np.ndarray) -> np.ndarray:
            own = iter(np.split(variables, ends))
            return np.concatenate(
                [
                    sum((field.exposure(next(own)) for field in fields), np.zeros(size))
                    for fields, size in zip(self.parts, self.sizes, strict=True)
                ]
            )

        def scaled(variables: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal scale
            value, by_bixel = problem.value_and_gradient(exposure(variables))
            if not np.isfinite(value):
                raise OptimizationError("The objectives are not finite for these apertures; check doses and weights.")
            scale = scale or (1.0 / abs(value) if value else 1.0)
            by_beam = np.split(by_bixel, np.cumsum(self.sizes)[:-1])
            slopes = [
                field.slope(by_own) for fields, by_own in zip(self.parts, by_beam, strict=True) for field in fields
            ]
            return scale * value, scale * np.concatenate(slopes)

        count = 0

        def after_iteration(intermediate_result) -> None:
            nonlocal count
            count += 1
            after(float(intermediate_result.fun) / scale, count)

        found = minimize(
            scaled,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
            callback=after_iteration,
            options={"maxiter": iterations, "maxfun": 10 * iterations, "ftol": 1e-7, "gtol": 1e-9},
        )
        for field, part in zip(self.lit, np.split(np.clip(found.x, low, high), ends), strict=True):
            field.move_to(part)

    def plan(self, plan: Plan) -> Plan:
        """The plan with the fields as they are now."""
        by_name = {beam.name: beam for beam in plan.beams}
        for field in self.lit:
            by_name[field.beam.name] = field.to_beam()
        return replace(plan, beams=tuple(by_name[beam.name] for beam in plan.beams))
