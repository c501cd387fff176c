"""Plan sums and subtractions: grids, weights, fractions, what is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.plan_sum import PlanDose, subtract_plans, sum_plans, union_grid


def ramp(grid):
    """A dose that rises linearly in RAS."""
    return 30.0 + grid.centres_RAS_mm() @ np.array([0.2, 0.1, -0.15])


def test_a_sum_on_different_oblique_grids_is_the_sum_of_the_functions():
    """A ramp on two grids, one oblique and finer: the sum is twice the ramp where both are known, to 1e-4 Gy."""
    coarse = Grid.from_spacing((12, 12, 12), 5.0, (-27.5, -27.5, -27.5))
    turned = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()
    fine = Grid.from_spacing((9, 9, 9), 4.0, tuple(turned @ (-16.0, -16.0, -16.0)), turned)
    a, b = DoseDistribution("A", ramp(coarse), coarse), DoseDistribution("B", ramp(fine), fine)
    total = sum_plans([a, b], "first")
    both = fine.contains(coarse.centres_RAS_mm()) & (np.abs(coarse.centres_RAS_mm()).max(axis=-1) < 10)
    assert both.sum() > 10
    np.testing.assert_allclose(total.dose_Gy[both], 2 * ramp(coarse)[both], atol=1e-4)
    only = ~fine.contains(coarse.centres_RAS_mm())
    np.testing.assert_allclose(total.dose_Gy[only], ramp(coarse)[only], atol=1e-4)
    assert any("B has up to" in note and "counts as 0 beyond" in note for note in total.notes)


def test_the_union_covers_every_grid_on_the_finest_lattice():
    """All corners inside; the finest dose is carried over unchanged, bit by bit."""
    coarse = Grid.from_spacing((4, 5, 6), 5.0, (10, -20, 3))
    fine = Grid.from_spacing((7, 7, 7), 2.0, (0.3, 0.7, -4))
    union = union_grid([coarse, fine])
    corners = np.concatenate([coarse.corners_RAS_mm, fine.corners_RAS_mm])
    assert union.contains(corners + 1e-3 * (union.bounds_RAS_mm.mean(axis=0) - corners)).all()
    np.testing.assert_allclose(union.spacing_mm, 2.0)
    # no larger than it has to be: less than a voxel beyond the corners on each side
    assert (np.abs(union.bounds_RAS_mm - [corners.min(axis=0), corners.max(axis=0)]) < 2.0).all()
    rng = np.random.default_rng(2)
    values = rng.random(fine.shape).astype(np.float32)
    total = sum_plans([DoseDistribution("coarse", np.zeros(coarse.shape), coarse), DoseDistribution("f", values, fine)])
    first = np.round(total.grid.ras_to_index(fine.origin_RAS_mm)).astype(int)[::-1]
    placed = tuple(slice(n, n + s) for n, s in zip(first, fine.shape, strict=True))
    np.testing.assert_array_equal(total.dose_Gy[placed], values)
    assert union_grid([fine]).is_same_as(fine)


def test_weights_and_delivered_fractions():
    """10 of 25 fractions of 50 Gy and half of a boost of 10 Gy in 5: 20 + 5 Gy; provenance keeps the factors."""
    grid = Grid.from_spacing((2, 2, 2), 3.0)
    main = DoseDistribution("main", np.full(grid.shape, 50.0), grid, 25, provenance={"engine": "e"})
    boost = DoseDistribution("boost", np.full(grid.shape, 10.0), grid, 5)
    total = sum_plans([PlanDose(main, fractions=10), PlanDose(boost, weight=0.5)], name="course")
    np.testing.assert_allclose(total.dose_Gy, 25.0)
    assert total.fractions == 15
    provenance = json.loads(json.dumps(total.provenance))
    assert [p["factor"] for p in provenance["parts"]] == [0.4, 0.5]
    assert provenance["parts"][0]["provenance"] == {"engine": "e"}
    assert total.notes == ()
    assert total.distribution().name == "course"
    hypofractionated = DoseDistribution("sbrt", np.full(grid.shape, 30.0), grid, 3)
    assert any("largest doses a fraction differ" in note for note in sum_plans([main, hypofractionated]).notes)


def test_uncertainties_add_in_quadrature_or_not_at_all():
    """3 and 4 Gy: 5 Gy. With one unknown: none, and a note."""
    grid = Grid.from_spacing((2, 2, 2), 3.0)
    values = np.full(grid.shape, 50.0)
    a = DoseDistribution("a", values, grid, uncertainty_Gy=np.full(grid.shape, 3.0))
    b = DoseDistribution("b", values, grid, uncertainty_Gy=np.full(grid.shape, 4.0))
    np.testing.assert_allclose(sum_plans([a, b]).uncertainty_Gy, 5.0)
    np.testing.assert_allclose(subtract_plans(a, b).uncertainty_Gy, 5.0)
    without = sum_plans([a, DoseDistribution("c", values, grid)])
    assert without.uncertainty_Gy is None
    assert "the result has none" in without.notes[-1]


def test_subtraction_is_signed_and_no_dose_to_evaluate():
    """A - B on A's grid; a sum brings A back; a negative result is refused as a dose."""
    a_grid, b_grid = Grid.from_spacing((6, 6, 6), 3.0), Grid.from_spacing((9, 9, 9), 2.0)
    a, b = DoseDistribution("A", ramp(a_grid), a_grid), DoseDistribution("B", ramp(b_grid) + 2.0, b_grid)
    difference = subtract_plans(a, b)
    assert difference.grid is a_grid
    np.testing.assert_allclose(difference.dose_Gy[1:-1, 1:-1, 1:-1], -2.0, atol=1e-4)
    assert difference.name == "A minus B"
    with pytest.raises(EvaluationError, match="a difference is no dose"):
        difference.distribution()
    back = subtract_plans(sum_plans([a, b], "first").distribution(), b)
    np.testing.assert_allclose(back.dose_Gy, a.dose_Gy, atol=1e-4)


def test_dose_outside_the_chosen_grid_is_told():
    """A grid smaller than a dose: the note gives the largest dose that was left out."""
    grid, small = Grid.from_spacing((1, 1, 10), 3.0), Grid.from_spacing((1, 1, 4), 3.0)
    dose = DoseDistribution("A", np.arange(10.0).reshape(grid.shape), grid)
    assert any("A has up to 9 Gy outside" in note for note in sum_plans([dose], small).notes)


def test_impossible_sums_are_refused():
    """Nothing, mixed media, no overlap, endless grids, weights and fractions that mean nothing."""
    grid = Grid.from_spacing((2, 2, 2), 3.0)
    far = Grid.from_spacing((2, 2, 2), 3.0, (1e5, 1e5, 1e5))
    values = np.full(grid.shape, 5.0)
    water, medium = DoseDistribution("w", values, grid), DoseDistribution("m", values, grid, dose_to="medium")
    with pytest.raises(EvaluationError, match="at least one dose"):
        sum_plans([])
    with pytest.raises(EvaluationError, match="w to water, m to medium"):
        sum_plans([water, medium])
    assert sum_plans([water, medium], allow_mixed_media=True).dose_to == "unknown"
    with pytest.raises(EvaluationError, match="does not overlap"):
        sum_plans([water, DoseDistribution("far", values, far)], "first")
    with pytest.raises(EvaluationError, match="choose a grid"):
        sum_plans([water, DoseDistribution("far", values, far)])
    with pytest.raises(EvaluationError, match="not 'largest'"):
        sum_plans([water], "largest")
    with pytest.raises(EvaluationError, match="adds nothing"):
        PlanDose(water, weight=0.0)
    with pytest.raises(EvaluationError, match="0 delivered fractions"):
        PlanDose(water, fractions=0)


def test_doses_that_meet_nowhere_are_told():
    grids = [Grid.from_spacing((4, 4, 4), 2.0, (offset, 0.0, 0.0)) for offset in (0.0, 6.0, 100.0)]
    doses = [DoseDistribution(name, np.full((4, 4, 4), 10.0), grid) for name, grid in zip("abc", grids)]
    assert not any("meets none" in note for note in sum_plans(doses[:2]).notes)
    (said,) = [note for note in sum_plans(doses).notes if "meets none" in note]
    assert said.startswith("The grid of c ")
