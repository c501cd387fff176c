"""A dose influence matrix as the optimizer reads it: row by row, few bytes a value, in parallel, same bits always.

An iteration of an optimizer is bound by memory. The matrix is therefore stored once, by voxels: values as they came
(float32 or float64, nothing is rounded), columns as 16-bit integers as long as there are no more than 65,536 of them.
Dose gathers from the weights, which stay in the cache; the gradient skips voxels whose dose no objective minds. Sums
are taken over blocks of rows that depend on the matrix alone: the result has the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy import sparse

from OptimizerLib.errors import OptimizationError
from OptimizerLib.kernel_threads import KernelThreads

_BLOCKS = 64
# columns and rows of a tile of the curvature matrix: one tile fits the first-level cache
_TILE = 64
_PANEL = 2048


class SparseDose:
    """Influence matrix for `Problem`, made for repeated products.

    Parameters
    ----------
    matrix : (voxels, variables) scipy sparse matrix
        Dose of each variable at weight 1 to each voxel. Not changed, not kept.
    rows : (n,) int array, optional
        Rows to take, each at most once, in this order; all by default.

    Attributes
    ----------
    shape : tuple of int
        ``(n, variables)``

    Raises
    ------
    OptimizationError
        When a stored dose is not finite, taken or not, or a row is named twice or is not in the matrix.
    """

    def __init__(self, matrix: sparse.spmatrix | sparse.sparray, rows: np.ndarray | None = None) -> None:
        if not sparse.issparse(matrix):
            raise OptimizationError(f"Give a scipy sparse matrix (voxels, variables); got {type(matrix).__name__}.")
        if matrix.format not in ("csc", "csr"):
            matrix = sparse.csc_array(matrix)
        if matrix.data.dtype not in (np.float32, np.float64):
            matrix = matrix.astype(np.float64)
        if not _all_finite(matrix.data):
            raise OptimizationError("The influence matrix has NaN or infinite doses; calculate the dose again.")
        count, variables = matrix.shape
        rows = np.arange(count) if rows is None else np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= count or np.bincount(rows, minlength=1).max() > 1):
            raise OptimizationError(f"Rows to take must lie in 0 to {count - 1}, each at most once.")
        self.shape = (int(rows.size), int(variables))
        narrow = np.uint16 if variables <= 65536 else np.uint32
        if matrix.format == "csc":
            if not matrix.has_canonical_format:
                matrix = matrix.copy()
                matrix.sum_duplicates()
            place = np.full(count, -1, dtype=np.int64)
            place[rows] = np.arange(rows.size)
            chunks = np.linspace(0, count, _BLOCKS + 1).astype(np.int64)
            starts = np.zeros(rows.size + 1, dtype=np.int64)
            with KernelThreads(matrix.nnz):
                _count_rows(matrix.indptr, matrix.indices, place, chunks, starts)
                np.cumsum(starts, out=starts)
                columns = np.empty(starts[-1], dtype=narrow)
                values = np.empty(starts[-1], dtype=matrix.data.dtype)
                _fill_rows(matrix.indptr, matrix.indices, matrix.data, place, chunks, starts, columns, values)
        else:
            taken = sparse.csr_array(matrix)
            if rows.size != count or (np.diff(rows) != 1).any():
                taken = taken[rows]
            if not taken.has_canonical_format:
                taken = taken.copy()
                taken.sum_duplicates()
            starts = taken.indptr.astype(np.int64)
            columns, values = taken.indices.astype(narrow), taken.data
        self._starts, self._columns, self._values = starts, columns, values
        # blocks of about equal work, whatever the number of threads
        work = starts + np.arange(rows.size + 1)
        self._blocks = np.searchsorted(work, np.linspace(0, work[-1], _BLOCKS + 1)).astype(np.int64)
        self._blocks[0], self._blocks[-1] = 0, rows.size

    @property
    def nonzeros(self) -> int:
        """Number of stored doses."""
        return int(self._values.size)

    @property
    def nbytes(self) -> int:
        """Memory of the stored matrix in bytes."""
        return self._values.nbytes + self._columns.nbytes + self._starts.nbytes

    def to_csr(self) -> sparse.csr_array:
        """The matrix as scipy has it, a copy."""
        columns = self._columns.astype(np.int64)
        return sparse.csr_array((self._values.copy(), columns, self._starts.copy()), shape=self.shape)

    def dose(self, weights: np.ndarray) -> np.ndarray:
        """Dose (n,) at some weights (variables,): matrix @ weights, summed in float64."""
        out = np.empty(self.shape[0])
        weights = self._vector(weights, 1)
        with KernelThreads(self.nonzeros):
            _dose(self._blocks, self._starts, self._columns, self._values, weights, out)
        return out

    def gradient(self, by_dose: np.ndarray) -> np.ndarray:
        """Derivative by the weights (variables,) from that by the dose (n,): matrix.T @ by_dose."""
        parts = np.zeros((_BLOCKS, self.shape[1]))
        by_dose = self._vector(by_dose, 0)
        with KernelThreads(self.nonzeros):
            _gradient(self._blocks, self._starts, self._columns, self._values, by_dose, parts)
            return _sum_parts(parts)

    def curvature_product(self, curvature: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """``matrix.T @ (curvature * (matrix @ direction))``, rows without curvature not read; (variables,)."""
        parts = np.zeros((_BLOCKS, self.shape[1]))
        curvature, direction = self._vector(curvature, 0), self._vector(direction, 1)
        with KernelThreads(self.nonzeros):
            _curvature_product(self._blocks, self._starts, self._columns, self._values, curvature, direction, parts)
            return _sum_parts(parts)

    def add_curvature(self, curvature: np.ndarray, total: np.ndarray) -> None:
        """Add ``matrix.T @ diag(curvature) @ matrix`` to a symmetric matrix in place.

        Parameters
        ----------
        curvature : (n,) array
            Any sign; rows where it is zero are not read.
        total : (variables, variables) float64 array
            Products are summed in float32 over 2,048 rows at a time: a matrix for a quadratic model.
        """
        n = self.shape[1]
        if total.shape != (n, n) or total.dtype != np.float64 or not total.flags.c_contiguous:
            raise ValueError(f"total must be a C-contiguous float64 array of shape {(n, n)}")
        active = np.flatnonzero(self._vector(curvature, 0))
        tiles = -(-n // _TILE)
        for first in range(0, active.size, _PANEL):
            chosen = active[first : first + _PANEL]
            groups = -(-chosen.size // 4)
            panel = np.zeros((tiles, 4 * groups, _TILE), dtype=np.float32)
            filled = np.zeros((tiles, groups), dtype=np.bool_)
            factors = np.zeros(4 * groups, dtype=np.float32)
            factors[: chosen.size] = curvature[chosen]
            with KernelThreads(panel.size):
                _fill_panel(chosen, self._starts, self._columns, self._values, panel, filled)
                _add_panel(panel, filled, factors, *np.triu_indices(tiles), total)
        with KernelThreads(total.size):
            _mirror(total)

    def _vector(self, vector: np.ndarray, axis: int) -> np.ndarray:
        vector = np.ascontiguousarray(vector, dtype=np.float64)
        if vector.shape != (self.shape[axis],):
            raise OptimizationError(
                f"{'Weights' if axis else 'Doses'} of this influence matrix have shape {(self.shape[axis],)}; got "
                f"{vector.shape}. Give one number for each."
            )
        return vector


@njit(parallel=True, cache=True, nogil=True)
def _count_rows(indptr, indices, place, chunks, starts):
    for b in prange(chunks.size - 1):
        low, high = chunks[b], chunks[b + 1]
        for column in range(indptr.size - 1):
            first, last = indptr[column], indptr[column + 1]
            k = first + np.searchsorted(indices[first:last], low)
            while k < last and indices[k] < high:
                row = place[indices[k]]
                if row >= 0:
                    starts[row + 1] += 1
                k += 1


@njit(parallel=True, cache=True, nogil=True)
def _fill_rows(indptr, indices, data, place, chunks, starts, columns, values):
    for b in prange(chunks.size - 1):
        low, high = chunks[b], chunks[b + 1]
        filled = np.zeros(high - low, np.int64)
        for column in range(indptr.size - 1):
            first, last = indptr[column], indptr[column + 1]
            k = first + np.searchsorted(indices[first:last], low)
            while k < last and indices[k] < high:
                row = place[indices[k]]
                if row >= 0:
                    at = starts[row] + filled[indices[k] - low]
                    filled[indices[k] - low] += 1
                    columns[at] = column
                    values[at] = data[k]
                k += 1


@njit(parallel=True, cache=True, nogil=True)
def _all_finite(values):
    blocks = 64
    fine = np.ones(blocks, np.bool_)
    for b in prange(blocks):
        for k in range(b * values.size // blocks, (b + 1) * values.size // blocks):
            if not np.isfinite(values[k]):
                fine[b] = False
                break
    return fine.all()


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _dose(blocks, starts, columns, values, weights, out):
    for b in prange(blocks.size - 1):
        for row in range(blocks[b], blocks[b + 1]):
            first, last = starts[row], starts[row + 1]
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            whole = first + (last - first) // 4 * 4
            for k in range(first, whole, 4):
                s0 += values[k] * weights[columns[k]]
                s1 += values[k + 1] * weights[columns[k + 1]]
                s2 += values[k + 2] * weights[columns[k + 2]]
                s3 += values[k + 3] * weights[columns[k + 3]]
            for k in range(whole, last):
                s0 += values[k] * weights[columns[k]]
            out[row] = (s0 + s1) + (s2 + s3)


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _gradient(blocks, starts, columns, values, by_dose, parts):
    for b in prange(blocks.size - 1):
        part = parts[b]
        for row in range(blocks[b], blocks[b + 1]):
            slope = by_dose[row]
            if slope != 0.0:
                for k in range(starts[row], starts[row + 1]):
                    part[columns[k]] += slope * values[k]


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _curvature_product(blocks, starts, columns, values, curvature, direction, parts):
    for b in prange(blocks.size - 1):
        part = parts[b]
        for row in range(blocks[b], blocks[b + 1]):
            if curvature[row] != 0.0:
                first, last = starts[row], starts[row + 1]
                s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                whole = first + (last - first) // 4 * 4
                for k in range(first, whole, 4):
                    s0 += values[k] * direction[columns[k]]
                    s1 += values[k + 1] * direction[columns[k + 1]]
                    s2 += values[k + 2] * direction[columns[k + 2]]
                    s3 += values[k + 3] * direction[columns[k + 3]]
                for k in range(whole, last):
                    s0 += values[k] * direction[columns[k]]
                slope = curvature[row] * ((s0 + s1) + (s2 + s3))
                for k in range(first, last):
                    part[columns[k]] += slope * values[k]


@njit(parallel=True, cache=True, nogil=True)
def _sum_parts(parts):
    out = np.zeros(parts.shape[1])
    for column in prange(parts.shape[1]):
        total = 0.0
        for b in range(parts.shape[0]):
            total += parts[b, column]
        out[column] = total
    return out


@njit(parallel=True, cache=True, nogil=True)
def _fill_panel(chosen, starts, columns, values, panel, filled):
    for group in prange(filled.shape[1]):
        for n in range(4 * group, min(4 * group + 4, chosen.size)):
            row = chosen[n]
            for k in range(starts[row], starts[row + 1]):
                tile = columns[k] // _TILE
                panel[tile, n, columns[k] - tile * _TILE] = values[k]
                filled[tile, group] = True


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _add_panel(panel, filled, factors, lefts, rights, total):
    groups, size = filled.shape[1], total.shape[0]
    for pair in prange(lefts.size):
        left, right = lefts[pair], rights[pair]
        block = np.zeros((_TILE, _TILE), np.float32)
        for group in range(groups):
            if filled[left, group] and filled[right, group]:
                n = 4 * group
                f0, f1, f2, f3 = factors[n], factors[n + 1], factors[n + 2], factors[n + 3]
                r0, r1, r2, r3 = panel[right, n], panel[right, n + 1], panel[right, n + 2], panel[right, n + 3]
                for i in range(_TILE):
                    a0, a1 = f0 * panel[left, n, i], f1 * panel[left, n + 1, i]
                    a2, a3 = f2 * panel[left, n + 2, i], f3 * panel[left, n + 3, i]
                    line = block[i]
                    for j in range(_TILE):
                        line[j] += a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]
        for i in range(left * _TILE, min((left + 1) * _TILE, size)):
            for j in range(right * _TILE, min((right + 1) * _TILE, size)):
                total[i, j] += block[i - left * _TILE, j - right * _TILE]


@njit(parallel=True, cache=True, nogil=True)
def _mirror(total):
    for i in prange(total.shape[0]):
        for j in range(i):
            total[i, j] = total[j, i]
