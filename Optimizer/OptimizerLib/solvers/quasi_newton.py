"""Quasi-Newton method with bounds, made for dose: the default solver."""

from __future__ import annotations

import math

import numpy as np

from DoseEngineLib.progress import Progress
from OptimizerLib.errors import OptimizationError
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, Solver, optimality, require_finite


class QuasiNewton(Solver):
    """Minimizes a quadratic model over the bounds, then searches the line to its minimum; and again.

    The model takes the curvature of objectives that are sums over voxels from the dose, that of others from the steps
    taken (`CurvatureModel`). As dose is linear in the weights, a search along a line costs one product with the matrix.
    For objectives that are not convex the minimum found is a local one.

    Parameters
    ----------
    max_iterations : int
    tolerance : float
        Ends when the model promises a further decrease of the objective by less than this part of it.
    largest_dense : int
        Up to this number of weights the model is stored as a matrix, (n, n), and its minimum is exact; beyond, products
        with the influence matrix approach it.
    """

    def __init__(self, max_iterations: int = 200, tolerance: float = 1e-8, largest_dense: int = 4000) -> None:
        self._set_limits(max_iterations, tolerance)
        if largest_dense < 0:
            raise OptimizationError(f"largest_dense must not be negative; got {largest_dense}.")
        self.largest_dense = int(largest_dense)

    def _minimize(self, problem: Problem, start: np.ndarray, progress: Progress, callback: Callback | None) -> Solution:
        # with numba, which panels do without until an action asks for it
        from OptimizerLib.solvers.curvature_model import CurvatureModel

        if type(problem).value_and_gradient is not Problem.value_and_gradient:
            raise TypeError(f"{type(problem).__name__} must override evaluate, not value_and_gradient")
        weights = start
        dose = problem.seen_dose_Gy(weights)
        value, by_dose, by_weights = problem.evaluate(dose, weights)
        require_finite(value, "at the start")
        first = value
        scale = 1.0 / first if first > 0 else 1.0
        history = [value]
        progress(0.0, f"Start: objective {value:.5g}")
        message = "" if _goes_on(problem, history, weights, callback) else "Stopped on request at the start."
        converged = False
        fraction, first_gain, idle = 0.0, math.nan, 0
        model = CurvatureModel(problem, dose, weights, self.largest_dense)
        while not message:
            gradient = problem.gradient_of(by_dose) + by_weights
            if optimality(weights, scale * gradient) == 0.0:
                converged, message = True, f"Optimum found after {len(history) - 1} iterations."
                break
            model.update(dose, weights, gradient)
            towards, gain, exact = model.minimum(weights, gradient)
            share = gain / (abs(value) + 1e-12 * abs(first))
            if (exact and share <= self.tolerance) or share <= 1e-2 * self.tolerance:
                converged, message = True, f"Optimum found after {len(history) - 1} iterations."
                break
            if len(history) > self.max_iterations:
                message = f"Stopped at {self.max_iterations} iterations before the optimum; allow more."
                break
            direction = towards - weights
            change = problem.seen_dose_Gy(direction)
            length, value, by_dose, by_weights = _search(
                problem, weights, direction, dose, change, value, by_dose, by_weights
            )
            if length == 0.0:
                message = f"Stopped after {len(history) - 1} iterations: no descent beyond rounding."
                converged = share <= 1e3 * self.tolerance
                break
            weights = np.maximum(weights + length * direction, 0.0)
            dose = dose + length * change
            idle = idle + 1 if history[-1] - value <= 1e-3 * self.tolerance * abs(value) else 0
            history.append(value)
            if math.isnan(first_gain):
                first_gain = max(share, 10 * self.tolerance)
            # on a scale of what is left to gain
            done = math.log(first_gain / max(share, self.tolerance)) / math.log(first_gain / self.tolerance)
            fraction = max(fraction, min(done, 0.99))
            progress(fraction, f"Iteration {len(history) - 1}: objective {value:.5g}")
            if not _goes_on(problem, history, weights, callback):
                message = f"Stopped on request after {len(history) - 1} iterations."
            elif idle == 3:
                converged, message = True, f"Optimum found after {len(history) - 1} iterations: no further descent."
        value, gradient = problem.value_and_gradient(weights)
        require_finite(value, "where the solver came to")
        progress(1.0, message)
        return Solution(
            weights, float(value), tuple(history), optimality(weights, scale * gradient), converged, message
        )


def _goes_on(problem: Problem, history: list[float], weights: np.ndarray, callback: Callback | None) -> bool:
    if callback is None:
        return True
    state = IterationState(problem, len(history) - 1, history[-1], weights.copy())
    callback(state)
    return not state.is_stopped


def _search(problem, weights, direction, dose, change, value, by_dose, by_weights):
    """Step length to about the minimum on a line, with what `Problem.evaluate` gives there.

    The slope is brought to a tenth by the regula falsi (Illinois), with sufficient decrease (Armijo). The length is 0
    where no decrease can be had.
    """
    slope = float(by_dose @ change + by_weights @ direction)
    if not slope < 0:
        return 0.0, value, by_dose, by_weights
    shrinking = direction < 0
    longest = float((weights[shrinking] / -direction[shrinking]).min(initial=math.inf))
    longest = min(max(longest, 1.0), 1e3)
    low, low_slope = 0.0, slope
    high, high_slope = math.inf, math.nan
    length = 1.0
    best = (0.0, value, by_dose, by_weights)
    for _ in range(30):
        found = problem.evaluate(dose + length * change, np.maximum(weights + length * direction, 0.0))
        here = float(found[1] @ change + found[2] @ direction)
        falls = math.isfinite(found[0]) and found[0] <= value + 1e-4 * length * slope
        if falls and found[0] <= best[1]:
            best = (length, *found)
        if falls and (abs(here) <= 0.1 * abs(slope) or (here < 0 and length >= longest)):
            return best
        if falls and here < 0:
            # further
            if math.isfinite(high):
                high_slope *= 0.5
            low, low_slope = length, here
        else:
            if low > 0:
                low_slope *= 0.5
            high, high_slope = length, here
        if math.isinf(high):
            rise = (here - slope) / length
            length = min(longest, max(2.0 * length, -slope / rise if rise > 0 else 0.0), 10.0 * length)
        elif math.isfinite(high_slope) and high_slope > 0:
            middle = low + (high - low) * low_slope / (low_slope - high_slope)
            length = min(max(middle, low + 0.05 * (high - low)), high - 0.05 * (high - low))
        else:
            length = 0.5 * (low + high)
        if high - low < 1e-12:
            break
    return best
