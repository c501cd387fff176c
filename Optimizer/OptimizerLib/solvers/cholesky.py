"""Cholesky factorization in tiles, whose bits do not depend on the number of threads.

LAPACK's depend on how many threads its library takes, and these wait for each other at every step, which costs most
where other programs want the processor, too. Tile after tile of the lower triangle, right-looking (Golub and Van Loan,
Matrix Computations, 4th ed. 2013, section 4.2).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from OptimizerLib.kernel_threads import KernelThreads

_TILE = 64


class NotPositiveDefiniteError(ArithmeticError):
    """The matrix has no Cholesky factor."""


class CholeskyFactor:
    """Lower factor of a part of a symmetric matrix.

    Parameters
    ----------
    matrix : (n, n) C-contiguous float64 array
        Not changed.
    chosen : (m,) int array
        Rows and columns of the part, ascending.

    Raises
    ------
    NotPositiveDefiniteError
    """

    def __init__(self, matrix: np.ndarray, chosen: np.ndarray) -> None:
        # threads meet twice at every tile: only above 2,000 rows is that worth while
        with KernelThreads(chosen.size**3 // 16_000):
            self._lower = _part(matrix, chosen)
            fine = _factorize(self._lower)
        if not fine:
            raise NotPositiveDefiniteError

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The part's inverse times a vector (m,)."""
        out = right.copy()
        _substitute(self._lower, out)
        return out


def symmetric_product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``matrix @ vector`` for a C-contiguous float64 matrix."""
    out = np.empty(matrix.shape[0])
    with KernelThreads(matrix.size // 8):
        _product(matrix, np.ascontiguousarray(vector), out)
    return out


@njit(parallel=True, cache=True, nogil=True)
def _part(matrix, chosen):
    out = np.empty((chosen.size, chosen.size))
    for i in prange(chosen.size):
        source = matrix[chosen[i]]
        for j in range(i + 1):
            out[i, j] = source[chosen[j]]
    return out


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _product(matrix, vector, out):
    for i in prange(matrix.shape[0]):
        total = 0.0
        for j in range(matrix.shape[1]):
            total += matrix[i, j] * vector[j]
        out[i] = total


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _factorize(lower):
    size = lower.shape[0]
    tiles = (size + _TILE - 1) // _TILE
    across = np.empty((_TILE, size))
    for tile in range(tiles):
        first = tile * _TILE
        last = min(first + _TILE, size)
        width = last - first
        for j in range(first, last):
            pivot = lower[j, j]
            for k in range(first, j):
                pivot -= lower[j, k] * lower[j, k]
            if not pivot > 0.0:
                return False
            pivot = np.sqrt(pivot)
            lower[j, j] = pivot
            for i in range(j + 1, last):
                total = lower[i, j]
                for k in range(first, j):
                    total -= lower[i, k] * lower[j, k]
                lower[i, j] = total / pivot
        # the columns below, and a transposed copy
        for block in prange(tile + 1, tiles):
            above, below = block * _TILE, min((block + 1) * _TILE, size)
            for j in range(width):
                line = across[j, above:below]
                for i in range(below - above):
                    line[i] = lower[above + i, first + j]
                for k in range(j):
                    share = lower[first + j, first + k]
                    known = across[k, above:below]
                    for i in range(below - above):
                        line[i] -= share * known[i]
                share = 1.0 / lower[first + j, first + j]
                for i in range(below - above):
                    line[i] *= share
            for i in range(above, below):
                for j in range(width):
                    lower[i, first + j] = across[j, i]
        if width < _TILE:
            continue
        rest = tiles - tile - 1
        for pair in prange(rest * rest):
            row, column = tile + 1 + pair // rest, tile + 1 + pair % rest
            if column <= row:
                left, right = column * _TILE, min((column + 1) * _TILE, size)
                for i in range(row * _TILE, min((row + 1) * _TILE, size)):
                    line = lower[i, left:right]
                    for k in range(0, _TILE, 4):
                        a0, a1, a2, a3 = across[k, i], across[k + 1, i], across[k + 2, i], across[k + 3, i]
                        b0, b1 = across[k, left:right], across[k + 1, left:right]
                        b2, b3 = across[k + 2, left:right], across[k + 3, left:right]
                        for j in range(right - left):
                            line[j] -= a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
    return True


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _substitute(lower, out):
    size = lower.shape[0]
    for i in range(size):
        total = 0.0
        for k in range(i):
            total += lower[i, k] * out[k]
        out[i] = (out[i] - total) / lower[i, i]
    for i in range(size - 1, -1, -1):
        out[i] /= lower[i, i]
        share = out[i]
        for k in range(i):
            out[k] -= lower[i, k] * share
