"""Products of the compact influence matrix against those of scipy and numpy."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from missing import missing
from scipy import sparse

from OptimizerLib.dense_dose import DenseDose
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sparse_dose import SparseDose


def matrix(dtype=np.float32, index=np.int32, shape=(700, 150)):
    random = np.random.default_rng(2)
    dense = random.uniform(0.0, 2.0, shape) * (random.random(shape) < 0.2)
    dense[5] = 0.0
    out = sparse.csc_array(dense.astype(dtype))
    out.indices, out.indptr = out.indices.astype(index), out.indptr.astype(index)
    return out


ROWS = np.array([600, 3, 5, 4, 699, 0, 120])


@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
@pytest.mark.parametrize("rows", [None, ROWS])
def test_products_are_those_of_scipy(form, rows):
    reference = matrix() if rows is None else sparse.csc_array(matrix().tocsr()[rows])
    reference = reference.astype(np.float64)
    compact = SparseDose(matrix().asformat(form), rows)
    random = np.random.default_rng(4)
    weights, slopes = random.random(150), random.normal(size=reference.shape[0])
    slopes[::3] = 0.0
    assert compact.shape == reference.shape
    assert compact.nonzeros == reference.nnz
    np.testing.assert_allclose(compact.dose(weights), reference @ weights, rtol=1e-12)
    np.testing.assert_allclose(compact.gradient(slopes), reference.T @ slopes, rtol=1e-10, atol=1e-12)
    curved = np.abs(slopes)
    np.testing.assert_allclose(
        compact.curvature_product(curved, weights), reference.T @ (curved * (reference @ weights)), rtol=1e-10
    )
    np.testing.assert_array_equal(compact.to_csr().toarray(), reference.toarray())


def test_values_are_kept_as_they_are_and_columns_take_two_bytes():
    compact = SparseDose(matrix())
    assert compact.nbytes == compact.nonzeros * (4 + 2) + 701 * 8
    # float64 and 64-bit indices, as other programs have them
    wide = matrix(np.float64, np.int64)
    np.testing.assert_array_equal(SparseDose(wide).to_csr().toarray(), wide.toarray())


def test_many_columns_need_wider_numbers():
    wide = sparse.csc_array((np.ones(2, np.float32), ([0, 1], [3, 70_000])), shape=(2, 70_001))
    weights = np.zeros(70_001)
    weights[70_000] = 2.0
    np.testing.assert_array_equal(SparseDose(wide).dose(weights), [0.0, 2.0])


def test_unsorted_and_repeated_entries_are_summed_and_the_input_is_left_alone():
    messy = sparse.csc_array(
        (np.array([1.0, 2.0, 4.0], np.float32), np.array([1, 0, 1]), np.array([0, 3])), shape=(2, 1)
    )
    np.testing.assert_array_equal(SparseDose(messy).dose(np.ones(1)), [2.0, 5.0])
    np.testing.assert_array_equal(messy.indices, [1, 0, 1])


@pytest.mark.parametrize("signed", [False, True])
def test_curvature_matrix(signed):
    compact, reference = SparseDose(matrix()), matrix().toarray().astype(float)
    curved = np.random.default_rng(8).normal(size=700) if signed else np.random.default_rng(8).random(700)
    curved[100:300] = 0.0
    total = np.eye(150)
    compact.add_curvature(curved, total)
    expected = np.eye(150) + reference.T @ (curved[:, None] * reference)
    np.testing.assert_allclose(total, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(total, total.T)


def test_dense_and_sparse_agree():
    reference = matrix(np.float64)
    dense, compact = DenseDose(reference.toarray()), SparseDose(reference)
    random = np.random.default_rng(4)
    weights, slopes = random.random(150), random.normal(size=700)
    np.testing.assert_allclose(dense.dose(weights), compact.dose(weights), rtol=1e-12)
    np.testing.assert_allclose(dense.gradient(slopes), compact.gradient(slopes), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        dense.curvature_product(slopes, weights), compact.curvature_product(slopes, weights), rtol=1e-9, atol=1e-10
    )
    one, other = np.zeros((150, 150)), np.zeros((150, 150))
    dense.add_curvature(slopes**2, one)
    compact.add_curvature(slopes**2, other)
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


def test_what_cannot_be_used_is_refused():
    with pytest.raises(OptimizationError, match="scipy sparse"):
        SparseDose(np.ones((3, 2)))
    bad = matrix()
    bad.data[7] = np.nan
    with pytest.raises(OptimizationError, match="NaN"):
        SparseDose(bad, np.array([1]))
    for rows in ([1, 1], [-1], [700]):
        with pytest.raises(OptimizationError, match="at most once"):
            SparseDose(matrix(), np.array(rows))
    compact = SparseDose(matrix())
    with pytest.raises(OptimizationError, match=r"Weights .*\(150,\)"):
        compact.dose(np.ones(149))
    with pytest.raises(OptimizationError, match=r"Doses .*\(700,\)"):
        compact.gradient(np.ones(150))


_RUN = """
import hashlib, json, sys
import numpy as np
from numba import get_num_threads
from scipy import sparse
import OptimizerLib.kernel_threads as kernel_threads
from OptimizerLib.objectives import EquivalentUniformDose, MeanDose, SquaredDeviation, SquaredOverdose
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import QuasiNewton

# threads also for this little work
kernel_threads.SHARED_WORK = 0
random = np.random.default_rng(3)
dense = random.uniform(0.0, 1.0, (900, 90)) * (random.random((900, 90)) < 0.3)
problem = Problem(
    sparse.csc_array(dense.astype(np.float32)),
    {"PTV": np.arange(300), "Core": np.arange(250, 500), "Body": np.arange(900)},
    [SquaredDeviation("PTV", 50.0, 10.0), SquaredOverdose("Core", 20.0), EquivalentUniformDose("Core", a=4.0),
     MeanDose("Body")],
)
solutions = [QuasiNewton(largest_dense=n).solve(problem, np.ones(90)) for n in (4000, 0)]
print(json.dumps([get_num_threads()] + [hashlib.sha256(s.weights.tobytes()).hexdigest() for s in solutions]))
"""


def test_the_solution_has_the_same_bits_for_any_number_of_threads():
    answers = []
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _RUN],
            env={**os.environ, "NUMBA_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        answers.append(json.loads(done.stdout.strip().splitlines()[-1]))
    if [answer[0] for answer in answers] != [1, 2]:
        missing("numba has no second thread here; let NUMBA_NUM_THREADS be at least 2")
    assert answers[0][1:] == answers[1][1:]
