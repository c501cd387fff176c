"""L-BFGS-B of scipy (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16 (1995) 1190)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from DoseEngineLib.progress import Progress, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Solution, Solver, optimality


class BoundedLBFGS(Solver):
    """Quasi-Newton method with limited memory and bounds.

    Parameters
    ----------
    max_iterations : int
    tolerance : float
        Optimality to reach, relative to the objective at the start.
    """

    def __init__(self, max_iterations: int = 500, tolerance: float = 1e-7) -> None:
        if max_iterations < 1 or not tolerance > 0:
            raise OptimizationError(
                f"max_iterations and tolerance must be positive; got {max_iterations} and {tolerance}."
            )
        self.max_iterations = int(max_iterations)
        self.tolerance = float(tolerance)

    def solve(self, problem: Problem, start: np.ndarray, progress: Progress | None = None) -> Solution:
        """Minimize; see `Solver.solve`."""
        report = progress or silent
        start = np.asarray(start, dtype=float)
        if start.shape != (problem.variables,) or not np.isfinite(start).all() or (start < 0).any():
            raise OptimizationError(
                f"The start must be {problem.variables} finite weights, not negative; got shape {start.shape}."
            )
        first, _ = problem.value_and_gradient(start)
        if not np.isfinite(first):
            raise OptimizationError("The objectives are not finite at the start; check doses and weights.")
        # the method's tolerances are absolute: let the objective begin at one
        scale = 1.0 / first if first > 0 else 1.0
        history = [first]

        def scaled(weights: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = problem.value_and_gradient(weights)
            return scale * value, scale * gradient

        def after_iteration(intermediate_result) -> None:
            history.append(float(intermediate_result.fun) / scale)
            done = min(len(history) - 1, self.max_iterations)
            report(done / self.max_iterations, f"Iteration {done}: objective {history[-1]:.5g}")

        report(0.0, f"Start: objective {first:.5g}")
        found = minimize(
            scaled,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * problem.variables,
            callback=after_iteration,
            options={
                "maxiter": self.max_iterations,
                "maxfun": 20 * self.max_iterations,
                "ftol": 0.0,
                "gtol": self.tolerance,
            },
        )
        weights = np.maximum(found.x, 0.0)
        value, gradient = problem.value_and_gradient(weights)
        if not np.isfinite(value):
            raise OptimizationError("The optimization ran into numbers that are not finite; check doses and weights.")
        violation = optimality(weights, scale * gradient)
        converged = violation <= 10 * self.tolerance
        if converged:
            message = f"Optimum found after {len(history) - 1} iterations."
        elif len(history) - 1 >= self.max_iterations:
            message = f"Stopped at {self.max_iterations} iterations before the optimum; allow more."
        else:
            message = f"Stopped after {len(history) - 1} iterations short of the tolerance: {found.message}"
        report(1.0, message)
        return Solution(weights, float(value), tuple(history), violation, converged, message)
