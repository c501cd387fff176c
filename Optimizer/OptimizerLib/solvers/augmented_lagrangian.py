"""Hard constraints, brought into any solver by an augmented Lagrangian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from DoseEngineLib.progress import Progress, part
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.penalized_constraint import initial_multipliers, penalized, reported_multipliers
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, optimality

if TYPE_CHECKING:
    from OptimizerLib.solvers.solver import Solver

_ROUNDS = 40
# rounds with ever larger penalties that changed nothing: the constraints contradict each other
_STUCK = 5
_TOLERANCE_GY = 1e-5


class AugmentedProblem(Problem):
    """A problem whose constraints have become penalties.

    Parameters
    ----------
    problem : Problem
    penalties : sequence
        Of `penalized`.
    """

    def __init__(self, problem: Problem, penalties: list[Any]) -> None:
        # the same matrix, terms and rows, checked once when the problem was made
        self.__dict__.update(problem.__dict__)
        self._inner = problem
        self.constraints = ()
        self.penalties = tuple(penalties)

    @property
    def has_coupling(self) -> bool:
        """See `Problem.has_coupling`."""
        return self._inner.has_coupling or not all(term.has_exact_curvature for term in self.penalties)

    def evaluate(self, dose: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value and derivatives; see `Problem.evaluate`."""
        value, by_dose, by_weights = self._inner.evaluate(dose, weights)
        for term in self.penalties:
            rows = self.rows(term)
            value += term.value(dose[rows])
            by_dose[rows] += term.gradient(dose[rows])
        return value, by_dose, by_weights

    def weighted_objectives(self, dose: np.ndarray, weights: np.ndarray) -> list[tuple[float, Any]]:
        """Objectives and penalties; see `Problem.weighted_objectives`."""
        return [*self._inner.weighted_objectives(dose, weights), *((1.0, term) for term in self.penalties)]


def minimize_with_constraints(
    solver: Solver,
    problem: Problem,
    start: np.ndarray,
    multipliers: tuple[np.ndarray, ...],
    progress: Progress,
    callback: Callback | None,
) -> Solution:
    """Minimize within constraints (Nocedal and Wright, Numerical Optimization, 2nd ed. 2006, section 17.4).

    First without the constraints, unless multipliers are known; where that meets them, it is the answer. Otherwise with
    penalties, the multipliers updated and the penalty raised until excesses are no more than 1e-5 Gy and constraints
    with a multiplier are met as closely.

    Parameters
    ----------
    solver : Solver
        For the problems without constraints.
    problem : Problem
    start : (variables,) array
    multipliers : tuple of array
        As `Solution.multipliers`; empty when nothing is known.
    progress : callable
    callback : callable, optional

    Returns
    -------
    Solution
        ``converged`` is False when the constraints could not be met together.
    """
    history: list[float] = []
    stopped = False

    def value_at(weights: np.ndarray) -> float:
        return problem.evaluate(problem.seen_dose_Gy(weights), weights)[0]

    def relay(state: IterationState) -> None:
        nonlocal stopped
        # every round begins where the last one ended
        if state.iteration == 0 and history:
            return
        history.append(value_at(state.weights))
        if callback is not None:
            outer = IterationState(problem, len(history) - 1, history[-1], state.weights)
            callback(outer)
            if outer.is_stopped:
                stopped = True
                state.stop()

    weights, converged = start, True
    first = abs(value_at(start)) or 1.0
    known = [m.shape for m in multipliers] == [excess.shape for excess in problem.excesses_Gy(start)]
    if not (known and any(m.any() for m in multipliers)):
        found = solver._minimize(AugmentedProblem(problem, []), weights, part(progress, 0.0, 0.3), relay)
        weights, converged = found.weights, found.converged
        multipliers = tuple(np.zeros(excess.shape) for excess in problem.excesses_Gy(weights))
    dose = problem.seen_dose_Gy(weights)
    pressures = [
        initial_multipliers(constraint, dose[problem.rows(constraint)], multiplier)
        for constraint, multiplier in zip(problem.constraints, multipliers)
    ]
    # how far the answer is from constraints met, and met closely by those that push
    miss = worst = problem.violation_Gy(weights)
    pushing = any(pressure.any() for pressure in pressures)
    squares = sum(float((np.maximum(excess, 0.0) ** 2).sum()) for excess in problem.excesses_Gy(weights))
    penalty = 10.0 * max(abs(value_at(weights)), 0.01 * first) / max(squares, 1.0)
    rounds = stuck = 0
    while not stopped and (miss > _TOLERANCE_GY or pushing) and rounds < _ROUNDS and stuck < _STUCK:
        terms = [penalized(c, pressure, penalty) for c, pressure in zip(problem.constraints, pressures)]
        augmented = AugmentedProblem(problem, terms)
        span = part(progress, 1.0 - 0.7 * 0.8**rounds, 1.0 - 0.7 * 0.8 ** (rounds + 1))
        found = solver._minimize(augmented, weights, span, relay)
        weights, converged = found.weights, found.converged
        dose = problem.seen_dose_Gy(weights)
        pressures = [term.pressure(dose[problem.rows(term)]) for term in terms]
        miss = max(float(np.abs(p - t.multipliers).max()) / t.penalty for p, t in zip(pressures, terms))
        if miss > 0.25 * worst:
            penalty *= 10.0
        stuck = stuck + 1 if miss > 0.9 * worst else 0
        worst, pushing = miss, False
        rounds += 1
    multipliers = tuple(reported_multipliers(c, pressure) for c, pressure in zip(problem.constraints, pressures))
    excesses = problem.excesses_Gy(weights)
    violation = problem.violation_Gy(weights)
    value, by_dose, by_weights = problem.evaluate(dose, weights)
    for constraint, pressure in zip(problem.constraints, pressures):
        term = penalized(constraint, pressure, 1.0)
        rows = problem.rows(constraint)
        by_dose[rows] += term.lagrangian_gradient(dose[rows])
    gradient = problem.gradient_of(by_dose) + by_weights
    iterations = len(history) - 1
    if stopped:
        converged = False
        message = f"Stopped on request after {iterations} iterations; largest excess {violation:.3g} Gy."
    elif miss > _TOLERANCE_GY and violation > 10 * _TOLERANCE_GY:
        converged = False
        which = max(zip(problem.constraints, excesses), key=lambda pair: float(pair[1].max()))[0]
        message = (
            f"The constraints could not be met together after {iterations} iterations: {type(which).__name__} of "
            f"{which.structure} is exceeded by {violation:.3g} Gy; relax it or another."
        )
    elif miss > _TOLERANCE_GY or not converged:
        converged = False
        message = f"Constraints met after {iterations} iterations, the optimum is not reached; allow more."
    else:
        message = f"Optimum within the constraints found after {iterations} iterations."
    progress(1.0, message)
    return Solution(
        weights,
        float(value),
        tuple(history),
        optimality(weights, gradient / first),
        converged,
        message,
        multipliers,
        violation,
    )
