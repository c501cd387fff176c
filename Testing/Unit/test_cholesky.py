"""The tiled Cholesky factorization against numpy."""

import numpy as np
import pytest

from OptimizerLib.solvers.cholesky import CholeskyFactor, NotPositiveDefiniteError, symmetric_product


@pytest.mark.parametrize("size", [1, 5, 63, 64, 65, 150, 256])
def test_solution_of_a_part(size):
    random = np.random.default_rng(size)
    root = random.normal(size=(2 * size, 2 * size + 5))
    matrix = root @ root.T
    chosen = np.sort(random.permutation(2 * size)[:size])
    right = random.normal(size=size)
    expected = np.linalg.solve(matrix[np.ix_(chosen, chosen)], right)
    before = matrix.copy()
    np.testing.assert_allclose(CholeskyFactor(matrix, chosen).solve(right), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize("at", [0, 30, 100])
def test_an_indefinite_matrix_is_told(at):
    matrix = np.eye(130)
    matrix[at, at] = -1e-9
    with pytest.raises(NotPositiveDefiniteError):
        CholeskyFactor(matrix, np.arange(130))


def test_product():
    matrix, vector = np.random.default_rng(1).normal(size=(90, 90)), np.arange(90.0)
    np.testing.assert_allclose(symmetric_product(matrix, vector), matrix @ vector, rtol=1e-10)
