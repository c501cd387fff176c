"""The contract of a solver, and the measure of how near to an optimum it came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from DoseEngineLib.progress import Progress, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.problem import Problem


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found; give it back as ``start`` to go on from there.

    Attributes
    ----------
    weights : (variables,) array
        Not negative.
    value : float
        Sum of the objectives there.
    history : tuple of float
        The sum at the start and after each iteration.
    optimality : float
        Largest violation of the conditions of an optimum, see `optimality`, of the objective divided by its value at
        the start; with constraints, of their Lagrangian. Zero at the optimum.
    converged : bool
        Whether the solver's own tolerance was met; else ``message`` says why it stopped.
    message : str
    multipliers : tuple of array
        Of each constraint, one number for each of its excesses: what a Gy more of the limit would gain, zero where the
        limit is not reached.
    violation_Gy : float
        Largest excess over a constraint; zero when all are met or there are none.
    """

    weights: np.ndarray
    value: float
    history: tuple[float, ...]
    optimality: float
    converged: bool
    message: str
    multipliers: tuple[np.ndarray, ...] = ()
    violation_Gy: float = 0.0

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.history) - 1


@dataclass(eq=False)
class IterationState:
    """An iteration, as a solver's callback sees it. What costs time is computed when asked for.

    Attributes
    ----------
    problem : Problem
    iteration : int
        0 at the start.
    value : float
        Sum of the objectives, without what solvers add for constraints.
    weights : (variables,) array
        A copy.
    """

    problem: Problem
    iteration: int
    value: float
    weights: np.ndarray
    _stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """Make the solver return what it has, with ``converged`` False."""
        self._stopped = True

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    @cached_property
    def values(self) -> tuple[float, ...]:
        """Value of each objective, then of each fluence term."""
        return self.problem.values(self.weights)

    @property
    def violation_Gy(self) -> float:
        """Largest excess over any constraint."""
        return self.problem.violation_Gy(self.weights)

    def dose_Gy(self) -> np.ndarray:
        """Dose in every row of the influence matrix."""
        return self.problem.dose_Gy(self.weights)

    def structure_dose_Gy(self, structure: str) -> np.ndarray:
        """Dose (n,) in a structure of the problem, e.g. for its histogram."""
        return self.problem.structure_dose_Gy(structure, self.weights)


Callback = Callable[[IterationState], None]


class Solver(ABC):
    """Minimizes a problem over weights that are not negative.

    A method derives from this class and implements `_minimize` for problems without constraints. Constraints are
    brought in by an augmented Lagrangian around it, see `augmented_lagrangian`, unless the method says that it
    `handles_constraints` itself.
    """

    handles_constraints = False

    def solve(
        self,
        problem: Problem,
        start: np.ndarray | Solution,
        progress: Progress | None = None,
        callback: Callback | None = None,
    ) -> Solution:
        """Minimize.

        Parameters
        ----------
        problem : Problem
        start : (variables,) array or Solution
            Weights to begin with, not negative; of a Solution its multipliers are taken up, too.
        progress : callable, optional
            ``progress(fraction, text)``, called once an iteration; it may raise `Cancelled`.
        callback : callable, optional
            Called with an `IterationState` at the start and after each iteration.

        Raises
        ------
        OptimizationError
            When the start is unusable or no descent is possible because of numbers that are not finite.
        """
        from OptimizerLib.solvers.augmented_lagrangian import minimize_with_constraints

        multipliers = start.multipliers if isinstance(start, Solution) else ()
        weights = checked_start(problem, start.weights if isinstance(start, Solution) else start)
        if problem.constraints and not self.handles_constraints:
            return minimize_with_constraints(self, problem, weights, multipliers, progress or silent, callback)
        return self._minimize(problem, weights, progress or silent, callback)

    def _set_limits(self, max_iterations: int, tolerance: float) -> None:
        """Keep when to end, for methods that are asked to."""
        if max_iterations < 1 or not tolerance > 0:
            raise OptimizationError(
                f"max_iterations and tolerance must be positive; got {max_iterations} and {tolerance}."
            )
        self.max_iterations = int(max_iterations)
        self.tolerance = float(tolerance)

    @abstractmethod
    def _minimize(self, problem: Problem, start: np.ndarray, progress: Progress, callback: Callback | None) -> Solution:
        """Minimize from a checked start; without constraints, unless the method handles them."""


def checked_start(problem: Problem, start: np.ndarray) -> np.ndarray:
    """The start as a float64 copy, or an error that says what is wrong with it."""
    start = np.array(start, dtype=float)
    if start.shape != (problem.variables,) or not np.isfinite(start).all() or (start < 0).any():
        raise OptimizationError(
            f"The start must be {problem.variables} finite weights, not negative; got shape {start.shape}."
        )
    return start


def optimality(weights: np.ndarray, gradient: np.ndarray) -> float:
    """Largest violation of the Karush-Kuhn-Tucker conditions of a minimum over weights >= 0.

    At a minimum the gradient is zero where a weight is positive and not negative where it is zero. The violation is the
    distance that a projected gradient step of length one would go.
    """
    return float(np.abs(weights - np.maximum(weights - gradient, 0.0)).max())


def require_finite(value: float, where: str) -> None:
    """Raise when an objective is no number: steps could not be compared any more."""
    if not np.isfinite(value):
        raise OptimizationError(f"The objectives are not finite {where}; check doses and weights.")
