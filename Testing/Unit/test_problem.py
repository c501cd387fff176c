"""Problem: structures that share voxels, scale, fluence terms, constraints, rows that nobody sees."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from OptimizerLib.constraints import MaxDose, MinMean
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose
from OptimizerLib.problem import Problem
from OptimizerLib.sparse_dose import SparseDose

# PTV and Ring overlap; the last rows belong to nobody; rows are given out of order
VOXELS = {"PTV": np.array([7, 3, 4, 20]), "Ring": np.array([4, 20, 9, 1]), "Body": np.arange(30)}
OBJECTIVES = (SquaredDeviation("PTV", 20.0, 2.0), SquaredOverdose("Ring", 10.0))


@dataclass(frozen=True)
class Ridge:
    """Sum of squares of the weights."""

    weight: float = 1.0

    def value(self, weights):
        return self.weight * float(weights @ weights)

    def gradient(self, weights):
        return 2.0 * self.weight * weights


@pytest.fixture
def influence():
    random = np.random.default_rng(1)
    return random.uniform(0.5, 3.0, (40, 8)) * (random.random((40, 8)) < 0.5)


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_array, sparse.csr_array, sparse.csc_matrix])
def test_values_and_gradient_by_hand(influence, form):
    problem = Problem(form(influence), VOXELS, OBJECTIVES, fluence_terms=[Ridge(0.1)], scale=3.0)
    weights = np.arange(8.0)
    dose = 3.0 * influence @ weights
    ptv, ring = dose[VOXELS["PTV"]], dose[VOXELS["Ring"]]
    expected = (2.0 * np.mean((ptv - 20.0) ** 2), np.mean(np.maximum(ring - 10.0, 0.0) ** 2), 0.1 * weights @ weights)
    assert problem.values(weights) == pytest.approx(expected, rel=1e-12)
    value, gradient = problem.value_and_gradient(weights)
    assert value == pytest.approx(sum(expected), rel=1e-12)
    for n in range(8):
        step = 1e-5 * np.eye(8)[n]
        slope = (problem.value_and_gradient(weights + step)[0] - problem.value_and_gradient(weights - step)[0]) / 2e-5
        assert gradient[n] == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(problem.dose_Gy(weights), dose, rtol=1e-12)
    np.testing.assert_allclose(problem.structure_dose_Gy("Ring", weights), ring, rtol=1e-12)


def test_only_rows_that_terms_see_are_kept(influence):
    problem = Problem(sparse.csc_array(influence), VOXELS, OBJECTIVES)
    assert problem.operator.shape == (6, 8)
    assert Problem(sparse.csc_array(influence), VOXELS, (*OBJECTIVES, MeanDose("Body"))).operator.shape == (30, 8)
    with pytest.raises(OptimizationError, match=r"'Body'.*PTV, Ring"):
        problem.structure_dose_Gy("Body", np.ones(8))


def test_rows_of_structures_that_share_nothing_lie_together(influence):
    voxels = {"A": np.array([2, 5, 9]), "B": np.array([1, 6])}
    problem = Problem(sparse.csc_array(influence), voxels, [MeanDose("A"), MeanDose("B")])
    assert {type(problem.rows(objective)) for objective in problem.objectives} == {slice}


def test_a_compact_matrix_is_shared(influence):
    compact = SparseDose(sparse.csc_array(influence))
    one = Problem(compact, VOXELS, OBJECTIVES)
    other = Problem(compact, VOXELS, (MeanDose("Body"),))
    assert one.operator is other.operator is compact
    whole = Problem(influence, VOXELS, OBJECTIVES)
    assert one.value_and_gradient(np.ones(8))[0] == pytest.approx(whole.value_and_gradient(np.ones(8))[0], rel=1e-12)
    assert one.dose_Gy(np.ones(8)).shape == (40,)


def test_other_objectives_on_the_same_rows(influence):
    problem = Problem(influence, VOXELS, OBJECTIVES)
    other = problem.with_objectives([MeanDose("Ring", 2.0)])
    assert other.operator is problem.operator
    assert other.values(np.ones(8))[0] == pytest.approx(2.0 * influence[VOXELS["Ring"]].sum(axis=1).mean())
    with pytest.raises(OptimizationError, match="Body"):
        problem.with_objectives([MeanDose("Body")])
    with pytest.raises(OptimizationError, match="no objectives"):
        problem.with_objectives([])


def test_excesses_of_constraints(influence):
    problem = Problem(influence, VOXELS, OBJECTIVES, [MaxDose("Body", 11.0), MinMean("PTV", 8.0)], scale=2.0)
    dose = 2.0 * influence.sum(axis=1)
    body, ptv = problem.excesses_Gy(np.ones(8))
    np.testing.assert_allclose(body, dose[:30] - 11.0)
    np.testing.assert_allclose(ptv, 8.0 - dose[VOXELS["PTV"]].mean())
    assert problem.violation_Gy(np.ones(8)) == pytest.approx(max(body.max(), ptv[0], 0.0))
    assert Problem(influence, VOXELS, OBJECTIVES, [MaxDose("Body", 1e3)]).violation_Gy(np.ones(8)) == 0.0
    assert Problem(influence, VOXELS, OBJECTIVES).violation_Gy(np.ones(8)) == 0.0


def test_a_constraint_of_an_unknown_structure_and_a_useless_scale_are_refused(influence):
    with pytest.raises(OptimizationError, match=r"MaxDose.*'Heart'"):
        Problem(influence, VOXELS, OBJECTIVES, [MaxDose("Heart", 1.0)])
    for scale in (0.0, -1.0, np.nan):
        with pytest.raises(OptimizationError, match="fractions"):
            Problem(influence, VOXELS, OBJECTIVES, scale=scale)


def test_an_order_of_voxels_is_the_order_of_doses(influence):
    """Objectives with a number for each voxel rely on it."""
    problem = Problem(sparse.csc_array(influence), VOXELS, OBJECTIVES)
    weights = np.arange(8.0)
    np.testing.assert_allclose(problem.structure_dose_Gy("PTV", weights), (influence @ weights)[[7, 3, 4, 20]])
