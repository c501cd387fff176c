"""The quadratic model of a problem around its present weights."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.bounded_quadratic import principal_pivoting, projected_conjugate_gradients
from OptimizerLib.solvers.cholesky import NotPositiveDefiniteError, symmetric_product

# pairs of steps and gradient changes that are remembered
_MEMORY = 20
# damping relative to the mean curvature, so that the model has one minimum
_DAMPING = 1e-6
_RESEEN = 0.05


class CurvatureModel:
    r"""``B = scale² Dᵀ diag(h) D + rank one + BFGS + damping``.

    Most objectives are sums over voxels: their second derivative by the dose is a diagonal ``h``, found from the
    objective's own gradient at a dose a little higher, exact for squares. What constraints on a mean add has rank one
    in dose. The rest (objectives that couple voxels, penalties on the fluence) is learnt from the steps taken, by
    limited-memory BFGS updates (Nocedal and Wright, Numerical Optimization, 2nd ed. 2006, section 7.2).

    Parameters
    ----------
    problem : Problem
    dose, weights : array
        Where to find out which objectives are sums over voxels.
    largest_dense : int
        Up to this number of variables B is stored, and the model solved exactly.
    """

    def __init__(self, problem: Problem, dose: np.ndarray, weights: np.ndarray, largest_dense: int) -> None:
        self._problem = problem
        self._dense_allowed = problem.variables <= largest_dense
        self._dense = False
        self._positive = weights > 0
        terms = [objective for _, objective in problem.weighted_objectives(dose, weights)]
        self._voxelwise = {
            id(term): not hasattr(term, "rank_one") and _is_voxelwise(term, dose[problem.rows(term)]) for term in terms
        }
        known = all(self._voxelwise[id(term)] or hasattr(term, "rank_one") for term in terms)
        self._has_rest = problem.has_coupling or not known
        self._pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)
        self._matrix: np.ndarray | None = None
        self._in_matrix = np.zeros(problem.operator.shape[0])
        self._in_matrix_is_sum = False
        self._damping = _DAMPING
        self._voxel_signs = np.where(np.random.default_rng(2).random(dose.size) < 0.5, -1.0, 1.0)
        self._signs = np.where(np.random.default_rng(0).random(problem.variables) < 0.5, -1.0, 1.0)
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, dose: np.ndarray, weights: np.ndarray, gradient: np.ndarray) -> None:
        """Take in a new point."""
        problem = self._problem
        curvature = np.zeros(dose.shape)
        self._rank_one = []
        lift = 1e-5 * (1.0 + float(np.abs(dose).max(initial=0.0)))
        terms = problem.weighted_objectives(dose, weights)
        for factor, term in terms:
            seen = dose[problem.rows(term)]
            if factor and self._voxelwise[id(term)]:
                bent = (term.gradient(seen + lift) - term.gradient(seen)) / lift
                curvature[problem.rows(term)] += factor * np.maximum(bent, 0.0)
            elif factor and hasattr(term, "rank_one"):
                if hasattr(term, "curvature"):
                    curvature[problem.rows(term)] += factor * term.curvature(seen)
                coefficient, by_dose = term.rank_one(seen)
                if coefficient > 0:
                    whole = np.zeros(dose.shape)
                    whole[problem.rows(term)] = by_dose
                    self._rank_one.append((factor * coefficient, problem.gradient_of(whole)))
            elif factor:
                # of coupled voxels the diagonal alone, by random signs (Hutchinson)
                signs = self._voxel_signs[: seen.size]
                bent = signs * (term.gradient(seen + lift * signs) - term.gradient(seen)) / lift
                curvature[problem.rows(term)] += factor * np.maximum(bent, 0.0)
        self._curvature = curvature
        if self._has_rest and self._previous is not None:
            self._learn(weights, gradient)
        self._previous = (weights.copy(), gradient.copy())
        self._prepare_bfgs(gradient, weights)
        # the mean of the diagonal by a fixed random vector (Hutchinson)
        mean = float(self._signs @ self._undamped(self._signs)) / problem.variables
        self._ridge = self._damping * max(mean, 0.0)
        if not self._ridge > 0:
            size = float(np.linalg.norm(gradient)) or 1.0
            self._ridge = size / max(float(np.linalg.norm(weights)), 1.0)

    def _learn(self, weights: np.ndarray, gradient: np.ndarray) -> None:
        former_weights, former_gradient = self._previous
        step, change = weights - former_weights, gradient - former_gradient
        if step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change):
            self._pairs.append((step, change))

    def _prepare_bfgs(self, gradient: np.ndarray, weights: np.ndarray) -> None:
        self._diagonal = 0.0
        self._plus, self._minus = np.zeros((2, 0, gradient.size))
        if not self._has_rest:
            return
        if not self._pairs:
            # nothing learnt yet: a first step about as long as the weights
            if not self._curvature.any():
                self._diagonal = float(np.linalg.norm(gradient)) / max(float(np.linalg.norm(weights)), 1e-3)
            return
        step, change = self._pairs[-1]
        missing = change - self._undamped(step)
        self._diagonal = max(float((step @ missing) / (step @ step)), 0.0)
        if not self._curvature.any():
            self._diagonal = float((change @ change) / (step @ change))
        plus, minus = [], []
        for step, change in self._pairs:
            bent = self._undamped(step) + 1e-6 * self._diagonal * step
            for up, down in zip(plus, minus):
                bent = bent + (up @ step) * up - (down @ step) * down
            if step @ bent > 0:
                plus.append(change / np.sqrt(step @ change))
                minus.append(bent / np.sqrt(step @ bent))
        if plus:
            self._plus, self._minus = np.array(plus), np.array(minus)

    def _undamped(self, vector: np.ndarray) -> np.ndarray:
        scale = self._problem.scale
        out = scale * scale * self._problem.operator.curvature_product(self._curvature, vector)
        return out + self._rest_product(vector)

    def _rest_product(self, vector: np.ndarray) -> np.ndarray:
        out = self._diagonal * vector + self._plus.T @ (self._plus @ vector) - self._minus.T @ (self._minus @ vector)
        for coefficient, along in self._rank_one:
            out += coefficient * (along @ vector) * along
        return out

    def product(self, vector: np.ndarray) -> np.ndarray:
        """``B @ vector``."""
        return self._undamped(vector) + self._ridge * vector

    def minimum(self, weights: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Minimize the model over weights that are not negative.

        Returns
        -------
        weights : (variables,) array
        decrease : float
            Of the model.
        exact : bool
            Whether the minimum is that of the model, so that ``decrease`` tells what is left to gain.
        """
        found, exact = None, False
        if not self._dense:
            found, reached = self._iterate(self.product, weights, gradient, 60 if self._dense_allowed else 300)
            self._dense = self._dense_allowed and not reached
        if self._dense:
            found, exact = self._solve(weights, gradient, self._positive if found is None else found > 0)
            self._positive = found > 0
        step = found - weights
        decrease = -float(gradient @ step + 0.5 * (step @ self.product(step)))
        return found, decrease, exact

    def _iterate(self, product, weights, gradient, products) -> tuple[np.ndarray, bool]:
        # no entry of the influence is negative: the largest row sum bounds the largest eigenvalue
        ones = np.ones_like(weights)
        scale = self._problem.scale
        bound = float(np.abs(scale * scale * self._problem.operator.curvature_product(self._curvature, ones)).max())
        bound += self._ridge + self._diagonal + float((self._plus**2).sum())
        bound += sum(coefficient * float(along @ along) for coefficient, along in self._rank_one)
        return projected_conjugate_gradients(product, product(weights) - gradient, weights, bound, 0.1, products)

    def _solve(self, weights: np.ndarray, gradient: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, bool]:
        self._refresh_matrix()
        while True:
            matrix = self._problem.scale**2 * self._matrix
            if len(self._plus):
                matrix += self._plus.T @ self._plus - self._minus.T @ self._minus
            for coefficient, along in self._rank_one:
                matrix += coefficient * np.outer(along, along)
            matrix[np.diag_indices_from(matrix)] += self._diagonal + self._ridge
            linear = symmetric_product(matrix, weights) - gradient
            try:
                found, exact = principal_pivoting(matrix, linear, positive, 25)
            except NotPositiveDefiniteError:
                # rounding has made the model indefinite: build it anew, then dampen
                if self._in_matrix_is_sum:
                    self._in_matrix_is_sum = False
                    self._matrix = None
                    self._refresh_matrix()
                else:
                    self._ridge *= 10.0
                    self._damping *= 10.0
                    if self._damping > 1.0:
                        raise OptimizationError(
                            "The model of the objectives has no minimum; check that they are finite everywhere."
                        ) from None
                continue
            step = found - weights
            if exact or gradient @ step + 0.5 * (step @ symmetric_product(matrix, step)) < 0:
                return found, exact
            found, _ = self._iterate(partial(symmetric_product, matrix), weights, gradient, 300)
            return found, False

    def _refresh_matrix(self) -> None:
        change = self._curvature - self._in_matrix
        small = np.abs(change) <= _RESEEN * np.minimum(self._curvature, self._in_matrix)
        change[small] = 0.0
        if self._matrix is None or 2 * np.count_nonzero(change) > np.count_nonzero(self._curvature):
            self._matrix = np.zeros((self._problem.variables, self._problem.variables))
            self._in_matrix = self._curvature.copy()
            self._problem.operator.add_curvature(self._in_matrix, self._matrix)
            self._in_matrix_is_sum = False
        elif change.any():
            self._in_matrix = self._in_matrix + change
            self._problem.operator.add_curvature(change, self._matrix)
            self._in_matrix_is_sum = True


def _is_voxelwise(term: Any, dose: np.ndarray) -> bool:
    """Whether the derivative by each voxel's dose depends on that dose alone, as far as a probe tells."""
    random = np.random.default_rng(1)
    base = dose + random.uniform(0.01, 1.0, dose.shape) * (1.0 + float(np.mean(dose)))
    lift = 1e-5 * (1.0 + float(base.max(initial=0.0)))
    slope = term.gradient(base)
    even = term.gradient(base + lift) - slope
    # half of the voxels, no pattern
    lifted = random.random(dose.shape) < 0.5
    uneven = term.gradient(base + np.where(lifted, lift, 0.0)) - slope
    scale = float(np.abs(even).max(initial=0.0)) + float(np.abs(uneven).max(initial=0.0))
    differs = np.abs(uneven - np.where(lifted, even, 0.0)) > 1e-3 * scale + 1e-12 * float(
        np.abs(slope).max(initial=0.0)
    )
    return not np.count_nonzero(differs) > 0.01 * dose.size
