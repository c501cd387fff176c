"""L-BFGS-B of scipy (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16 (1995) 1190)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from DoseEngineLib.progress import Progress
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, Solver, optimality, require_finite


class BoundedLBFGS(Solver):
    """Quasi-Newton method with limited memory and bounds.

    Parameters
    ----------
    max_iterations : int
    tolerance : float
        Optimality to reach, relative to the objective at the start.
    """

    def __init__(self, max_iterations: int = 500, tolerance: float = 1e-7) -> None:
        self._set_limits(max_iterations, tolerance)

    def _minimize(self, problem: Problem, start: np.ndarray, progress: Progress, callback: Callback | None) -> Solution:
        first, _ = problem.value_and_gradient(start)
        require_finite(first, "at the start")
        # the method's tolerances are absolute: let the objective begin at one
        scale = 1.0 / first if first > 0 else 1.0
        history = [first]

        def scaled(weights: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = problem.value_and_gradient(weights)
            return scale * value, scale * gradient

        def after_iteration(intermediate_result) -> None:
            history.append(float(intermediate_result.fun) / scale)
            done = min(len(history) - 1, self.max_iterations)
            progress(done / self.max_iterations, f"Iteration {done}: objective {history[-1]:.5g}")
            tell(np.maximum(intermediate_result.x, 0.0))

        def tell(weights: np.ndarray) -> None:
            if callback is not None:
                state = IterationState(problem, len(history) - 1, history[-1], weights)
                callback(state)
                if state.is_stopped:
                    stopped.append(weights)
                    raise StopIteration

        stopped: list[np.ndarray] = []
        progress(0.0, f"Start: objective {first:.5g}")
        try:
            tell(start.copy())
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
            weights, reason = found.x, found.message
        except StopIteration:
            weights, reason = start, "stopped on request"
        if stopped:
            weights = stopped[0]
        weights = np.maximum(weights, 0.0)
        value, gradient = problem.value_and_gradient(weights)
        require_finite(value, "where the solver came to")
        violation = optimality(weights, scale * gradient)
        converged = violation <= 10 * self.tolerance
        if stopped:
            converged = False
            message = f"Stopped on request after {len(history) - 1} iterations."
        elif converged:
            message = f"Optimum found after {len(history) - 1} iterations."
        elif len(history) - 1 >= self.max_iterations:
            message = f"Stopped at {self.max_iterations} iterations before the optimum; allow more."
        else:
            message = f"Stopped after {len(history) - 1} iterations short of the tolerance: {reason}"
        progress(1.0, message)
        return Solution(weights, float(value), tuple(history), violation, converged, message)
