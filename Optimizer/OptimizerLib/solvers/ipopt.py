"""IPOPT, an interior-point method (Wächter and Biegler, Math. Program. 106 (2006) 25), when it is installed."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.progress import Progress
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, Solver, optimality, require_finite

# IPOPT keeps away from the bounds by a part of the distance; nearer than this, relative to the largest weight, is zero
_ZERO = 1e-9


class Ipopt(Solver):
    """Interior-point method with curvature learnt from the gradients (limited memory).

    Parameters
    ----------
    max_iterations : int
    tolerance : float
        IPOPT's own, of the objective divided by its value at the start.
    """

    def __init__(self, max_iterations: int = 1000, tolerance: float = 1e-9) -> None:
        self._set_limits(max_iterations, tolerance)

    def _minimize(self, problem: Problem, start: np.ndarray, progress: Progress, callback: Callback | None) -> Solution:
        import ipyopt

        first, _ = problem.value_and_gradient(start)
        require_finite(first, "at the start")
        scale = 1.0 / first if first > 0 else 1.0
        history: list[float] = []
        state: dict[str, np.ndarray] = {}
        stopped: list[bool] = []
        failure: list[BaseException] = []

        def evaluated(weights: np.ndarray) -> tuple[float, np.ndarray]:
            if "at" not in state or not np.array_equal(state["at"], weights):
                state["at"] = weights.copy()
                value, gradient = problem.value_and_gradient(weights)
                state["value"], state["gradient"] = np.array(scale * value), scale * gradient
            return float(state["value"]), state["gradient"]

        def slope(weights: np.ndarray, out: np.ndarray) -> None:
            out[()] = evaluated(weights)[1]
            # gradients are asked for at iterates only
            state["iterate"] = weights.copy()

        def after_iteration(mode, iteration, value, *_) -> bool:
            # exceptions must not travel through IPOPT's own code
            try:
                history.append(value / scale)
                done = iteration / self.max_iterations
                progress(min(done, 0.99), f"Iteration {iteration}: objective {history[-1]:.5g}")
                if callback is not None:
                    told = IterationState(problem, iteration, history[-1], np.maximum(state["iterate"], 0.0))
                    callback(told)
                    if told.is_stopped:
                        stopped.append(True)
                        return False
            except BaseException as error:
                failure.append(error)
                return False
            return True

        count = problem.variables
        nowhere = (np.zeros(0, dtype=int), np.zeros(0, dtype=int))
        method = ipyopt.Problem(
            count,
            np.zeros(count),
            np.full(count, 2e19),
            0,
            np.zeros(0),
            np.zeros(0),
            nowhere,
            nowhere,
            lambda weights: evaluated(weights)[0],
            slope,
            lambda weights, out: None,
            lambda weights, out: None,
            intermediate_callback=after_iteration,
            ipopt_options={
                "print_level": 0,
                "sb": "yes",
                "tol": self.tolerance,
                "max_iter": self.max_iterations,
                "hessian_approximation": "limited-memory",
                "limited_memory_max_history": 20,
                "mu_strategy": "adaptive",
                "bound_relax_factor": 0.0,
            },
        )
        found, _, status = method.solve(start.copy())
        if failure:
            raise failure[0]
        weights = np.maximum(np.asarray(found), 0.0)
        weights[weights < _ZERO * weights.max(initial=0.0)] = 0.0
        value, gradient = problem.value_and_gradient(weights)
        require_finite(value, "where the solver came to")
        iterations = max(len(history) - 1, 0)
        # 0: solved, 1: solved to IPOPT's acceptable level
        converged = status == 0 and not stopped
        if stopped:
            message = f"Stopped on request after {iterations} iterations."
        elif converged:
            message = f"Optimum found after {iterations} iterations."
        elif status == -1:
            message = f"Stopped at {iterations} iterations before the optimum; allow more."
        else:
            message = f"IPOPT stopped after {iterations} iterations short of the tolerance (status {status})."
        progress(1.0, message)
        return Solution(
            weights, float(value), tuple(history or [first]), optimality(weights, scale * gradient), converged, message
        )
