"""Minimum of a convex quadratic over values that are not negative: the inner problem of a quasi-Newton method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from OptimizerLib.solvers.cholesky import CholeskyFactor, symmetric_product


def projected_conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    linear: np.ndarray,
    start: np.ndarray,
    largest_eigenvalue: float,
    tolerance: float,
    max_products: int,
) -> tuple[np.ndarray, bool]:
    """Minimize ``x @ A @ x / 2 - linear @ x`` over x >= 0 with products by A alone.

    Conjugate gradients within the face of positive values; values leave and enter it by projected steps of a fixed
    length, as in modified proportioning with reduced gradient projections (Dostál, Optimal Quadratic Programming
    Algorithms, Springer 2009, chapter 5). The quadratic never rises.

    Parameters
    ----------
    product : callable
        ``A @ x``; A symmetric and positive definite.
    linear, start : (n,) array
    largest_eigenvalue : float
        An upper bound.
    tolerance : float
        Of the norm of the projected gradient, relative to that at the start.
    max_products : int

    Returns
    -------
    x : (n,) array
    reached : bool
        Whether the tolerance was.
    """
    step = 1.8 / largest_eigenvalue
    x = start.copy()
    gradient = product(x) - linear
    products = 1

    def parts() -> tuple[np.ndarray, np.ndarray]:
        free = x > 0
        return np.where(free, gradient, 0.0), np.where(free, 0.0, np.minimum(gradient, 0.0))

    along, leaving = parts()
    goal = tolerance * np.sqrt(along @ along + leaving @ leaving)
    direction = along.copy()
    while products < max_products:
        if np.sqrt(along @ along + leaving @ leaving) <= goal:
            return x, True
        if leaving @ leaving > np.minimum(along, x / step) @ along:
            # proportioning: let values at the bound go
            bent = product(leaving)
            products += 1
            length = (gradient @ leaving) / (leaving @ bent)
            x = x - length * leaving
            gradient = gradient - length * bent
            along, leaving = parts()
            direction = along.copy()
            continue
        bent = product(direction)
        products += 1
        curvature = direction @ bent
        length = (gradient @ direction) / curvature
        towards = direction > 0
        feasible = (x[towards] / direction[towards]).min() if towards.any() else np.inf
        if length <= feasible:
            x = np.maximum(x - length * direction, 0.0)
            gradient = gradient - length * bent
            along, leaving = parts()
            direction = along - (along @ bent) / curvature * direction
        else:
            x = x - feasible * direction
            x[x < 1e-14 * np.abs(x).max()] = 0.0
            gradient = gradient - feasible * bent
            along, _ = parts()
            x = np.maximum(x - step * along, 0.0)
            gradient = product(x) - linear
            products += 1
            along, leaving = parts()
            direction = along.copy()
    return x, bool(np.sqrt(along @ along + leaving @ leaving) <= goal)


def principal_pivoting(
    matrix: np.ndarray, linear: np.ndarray, positive: np.ndarray, max_factorizations: int
) -> tuple[np.ndarray, bool]:
    """Minimize ``x @ matrix @ x / 2 - linear @ x`` over x >= 0, exactly, by changing the set of positive values.

    Block principal pivoting (Júdice and Pires, Comput. Oper. Res. 21 (1994) 587): all values on the wrong side change
    sides at once, one alone when that does not lead on.

    Parameters
    ----------
    matrix : (n, n) C-contiguous float64 array
        Symmetric, positive definite.
    linear : (n,) array
    positive : (n,) bool array
        Values believed to be positive.
    max_factorizations : int

    Returns
    -------
    x : (n,) array
        Not negative.
    exact : bool
        False when factorizations ran out.

    Raises
    ------
    NotPositiveDefiniteError
        When the matrix is not positive definite.
    """
    free = positive.copy()
    threshold = 1e-10 * np.abs(linear).max()
    fewest, patience = linear.size + 1, 3
    for _ in range(max_factorizations):
        x = np.zeros(linear.size)
        chosen = np.flatnonzero(free)
        if chosen.size:
            x[chosen] = CholeskyFactor(matrix, chosen).solve(linear[chosen])
        slope = symmetric_product(matrix, x) - linear
        wrong = (free & (x < 0)) | (~free & (slope < -threshold))
        count = int(np.count_nonzero(wrong))
        if count == 0:
            return x, True
        if count < fewest:
            fewest, patience = count, 3
        elif patience:
            patience -= 1
        else:
            only = np.flatnonzero(wrong)[-1]
            wrong[:] = False
            wrong[only] = True
        free ^= wrong
    return np.maximum(x, 0.0), False
