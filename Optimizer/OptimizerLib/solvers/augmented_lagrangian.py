"""Hard constraints, brought into any solver by an augmented Lagrangian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from DoseEngineLib.progress import Progress, part
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, optimality

if TYPE_CHECKING:
    from OptimizerLib.solvers.solver import Solver

_ROUNDS = 40
# rounds with ever larger penalties that changed nothing: the constraints contradict each other
_STUCK = 5
_TOLERANCE_GY = 1e-5


class PenalizedConstraint:
    r"""What a constraint adds to the augmented Lagrangian, in the form of an objective.

    :math:`\frac{1}{2\rho}\sum_i \left(\max(0, \lambda_i + \rho c_i)^2 - \lambda_i^2\right)` for excesses :math:`c`,
    multipliers :math:`\lambda` and penalty :math:`\rho`.
    """

    def __init__(self, constraint: Any, multipliers: np.ndarray, penalty: float) -> None:
        self.structure = constraint.structure
        self._constraint, self._multipliers, self._penalty = constraint, multipliers, penalty
        if multipliers.size == 1:
            # a single excess: its curvature is one outer product
            self.rank_one = self._rank_one

    def pressure(self, dose_Gy: np.ndarray) -> np.ndarray:
        """What the multipliers become at some dose."""
        excess = np.atleast_1d(self._constraint.excess_Gy(dose_Gy))
        return np.maximum(self._multipliers + self._penalty * excess, 0.0)

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value at the doses (n,) of the structure's voxels."""
        pressure = self.pressure(dose_Gy)
        return float(pressure @ pressure - self._multipliers @ self._multipliers) / (2.0 * self._penalty)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative by each voxel's dose (n,)."""
        return self._constraint.pullback(dose_Gy, self.pressure(dose_Gy))

    def _rank_one(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        active = self.pressure(dose_Gy)[0] > 0
        return (self._penalty if active else 0.0), self._constraint.pullback(dose_Gy, np.ones(1))


class AugmentedProblem(Problem):
    """A problem whose constraints have become penalties.

    Parameters
    ----------
    problem : Problem
    multipliers : sequence of array
        Of each constraint.
    penalty : float
    """

    def __init__(self, problem: Problem, multipliers: tuple[np.ndarray, ...], penalty: float) -> None:
        # the same matrix, terms and rows, checked once when the problem was made
        self.__dict__.update(problem.__dict__)
        self._inner = problem
        self.constraints = ()
        self.penalties = tuple(PenalizedConstraint(c, m, penalty) for c, m in zip(problem.constraints, multipliers))

    @property
    def has_coupling(self) -> bool:
        """See `Problem.has_coupling`."""
        return self._inner.has_coupling

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

    First without the constraints, unless multipliers are known; where that meets them, it is the answer. Otherwise
    with penalties, the multipliers updated and the penalty raised until every excess and every product of multiplier
    and slack is within 1e-5 Gy.

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

    def relay(state: IterationState) -> None:
        nonlocal stopped
        # every round begins where the last one ended
        if state.iteration == 0 and history:
            return
        inner = problem.evaluate(problem.seen_dose_Gy(state.weights), state.weights)[0]
        history.append(inner)
        if callback is not None:
            outer = IterationState(problem, len(history) - 1, inner, state.weights)
            callback(outer)
            if outer.is_stopped:
                stopped = True
                state.stop()

    excesses = problem.excesses_Gy(start)
    first = abs(problem.evaluate(problem.seen_dose_Gy(start), start)[0])
    known = len(multipliers) == len(excesses) and all(m.shape == e.shape for m, e in zip(multipliers, excesses))
    weights, inner_converged = start, True
    if not (known and any(m.any() for m in multipliers)):
        multipliers = tuple(np.zeros(excess.shape) for excess in excesses)
        free = AugmentedProblem(problem, (), 1.0)
        found = solver._minimize(free, weights, part(progress, 0.0, 0.3), relay)
        weights, inner_converged = found.weights, found.converged
    penalty, worst, rounds, stuck = 0.0, np.inf, 0, 0
    while True:
        excesses = problem.excesses_Gy(weights)
        miss = max(
            float(np.abs(np.maximum(e, -m / penalty if penalty else np.minimum(e, 0.0))).max())
            for e, m in zip(excesses, multipliers)
        )
        stuck = stuck + 1 if miss > 0.9 * worst else 0
        if stopped or miss <= _TOLERANCE_GY or rounds == _ROUNDS or stuck == _STUCK:
            break
        squares = sum(float((np.maximum(e, 0.0) ** 2).sum()) for e in excesses)
        if not penalty:
            largest = max(float(m.max()) for m in multipliers)
            value = abs(problem.evaluate(problem.seen_dose_Gy(weights), weights)[0])
            penalty = max(10.0 * value / squares if squares else 0.0, largest, 1e-6 * (first or 1.0))
        elif miss > 0.25 * worst:
            penalty *= 10.0
        worst = miss
        augmented = AugmentedProblem(problem, multipliers, penalty)
        span = part(progress, 1.0 - 0.7 * 0.8**rounds, 1.0 - 0.7 * 0.8 ** (rounds + 1))
        found = solver._minimize(augmented, weights, span, relay)
        weights, inner_converged = found.weights, found.converged
        dose = augmented.seen_dose_Gy(weights)
        multipliers = tuple(term.pressure(dose[augmented.rows(term)]) for term in augmented.penalties)
        rounds += 1
    violation = problem.violation_Gy(weights)
    dose = problem.seen_dose_Gy(weights)
    value, by_dose, by_weights = problem.evaluate(dose, weights)
    for constraint, pressure in zip(problem.constraints, multipliers):
        rows = problem.rows(constraint)
        by_dose[rows] += constraint.pullback(dose[rows], pressure)
    gradient = problem.gradient_of(by_dose) + by_weights
    iterations = len(history) - 1
    converged = False
    if stopped:
        message = f"Stopped on request after {iterations} iterations; largest excess {violation:.3g} Gy."
    elif miss > _TOLERANCE_GY:
        which = max(zip(problem.constraints, problem.excesses_Gy(weights)), key=lambda pair: float(pair[1].max()))[0]
        message = (
            f"The constraints could not be met together after {iterations} iterations: {type(which).__name__} of "
            f"{which.structure} is exceeded by {violation:.3g} Gy; relax it or another."
        )
    elif not inner_converged:
        message = f"Constraints met after {iterations} iterations, the optimum is not reached; allow more."
    else:
        converged, message = True, f"Optimum within the constraints found after {iterations} iterations."
    progress(1.0, message)
    return Solution(
        weights,
        float(value),
        tuple(history),
        optimality(weights, gradient / first if first > 0 else gradient),
        converged,
        message,
        multipliers,
        violation,
    )
