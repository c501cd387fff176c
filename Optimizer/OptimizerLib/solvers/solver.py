"""The contract of a solver, and the measure of how near to an optimum it came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.progress import Progress
from OptimizerLib.problem import Problem


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found.

    Attributes
    ----------
    weights : (variables,) array
        Not negative.
    value : float
        Sum of the objectives there.
    history : tuple of float
        The sum at the start and after each iteration.
    optimality : float
        Largest violation of the conditions of an optimum, see `optimality`; zero at the optimum.
    converged : bool
        Whether the solver's own tolerance was met; else ``message`` says why it stopped.
    message : str
    """

    weights: np.ndarray
    value: float
    history: tuple[float, ...]
    optimality: float
    converged: bool
    message: str

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.history) - 1


class Solver(ABC):
    """Minimizes a problem over weights that are not negative."""

    @abstractmethod
    def solve(self, problem: Problem, start: np.ndarray, progress: Progress | None = None) -> Solution:
        """Minimize.

        Parameters
        ----------
        problem : Problem
        start : (variables,) array
            Weights to begin with, not negative.
        progress : callable, optional
            ``progress(fraction, text)``, called once an iteration; it may raise `Cancelled`.

        Raises
        ------
        OptimizationError
            When the start is unusable or no descent is possible because of numbers that are not finite.
        """


def optimality(weights: np.ndarray, gradient: np.ndarray) -> float:
    """Largest violation of the Karush-Kuhn-Tucker conditions of a minimum over weights >= 0.

    At a minimum the gradient is zero where a weight is positive and not negative where it is zero. The violation is the
    distance that a projected gradient step of length one would go.
    """
    return float(np.abs(weights - np.maximum(weights - gradient, 0.0)).max())
