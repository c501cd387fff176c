"""Dose differences: in Gy, in percent, locally, on the reference's grid."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.evaluation.dose_difference import dose_difference
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution


@pytest.fixture
def doses():
    """A reference of 10, 20, 30, 40 Gy along i, and an evaluated dose 1 Gy above it, twice as fine."""
    grid = Grid.from_spacing((2, 2, 4), 4.0)
    fine = grid.with_spacing(2.0)
    along = (fine.centres_RAS_mm()[..., 0] / 4.0 + 1.0) * 10.0
    values = np.broadcast_to(np.arange(10.0, 41.0, 10.0), grid.shape)
    return DoseDistribution("reference", values, grid), DoseDistribution("evaluated", along + 1.0, fine)


def test_absolute_percent_and_local(doses):
    """1 Gy; 2.5 % of the maximum, 2 % of 50 Gy prescribed; 10, 5, 3.3, 2.5 % locally: to single precision."""
    reference, evaluated = doses
    inner = (slice(None), slice(None), slice(None))
    absolute = dose_difference(reference, evaluated)
    assert absolute.unit == "Gy"
    np.testing.assert_allclose(absolute.difference[inner], 1.0, atol=1e-5)
    np.testing.assert_allclose(dose_difference(reference, evaluated, "percent").difference, 2.5, atol=1e-5)
    of_50 = dose_difference(reference, evaluated, "percent", normalization_Gy=50.0)
    np.testing.assert_allclose(of_50.difference, 2.0, atol=1e-5)
    local = dose_difference(reference, evaluated, "local", threshold_Gy=15.0)
    assert np.isnan(local.difference[..., 0]).all()
    np.testing.assert_allclose(local.difference[0, 0, 1:], (5.0, 10 / 3, 2.5), rtol=1e-5)


def test_statistics_and_share_within_a_tolerance(doses):
    """Figures as numpy gives them; JSON takes them."""
    reference, evaluated = doses
    local = dose_difference(reference, evaluated, "local", threshold_Gy=5.0)
    statistics = json.loads(json.dumps(local.statistics()))
    assert statistics["judged_voxels"] == 16
    assert statistics["mean"] == pytest.approx(np.mean((10, 5, 10 / 3, 2.5)), rel=1e-5)
    assert statistics["maximum"] == pytest.approx(10.0, rel=1e-5)
    assert local.within_percent(4.0) == 50.0


def test_outside_and_structure(doses):
    """Voxels beyond the evaluated grid are NaN and counted; a structure restricts the voxels."""
    reference, evaluated = doses
    part = Grid.from_spacing((2, 2, 2), 4.0)
    short = DoseDistribution("short", reference.dose_Gy[..., :2], part)
    result = dose_difference(reference, short)
    assert result.outside_evaluated == 8
    assert np.isnan(result.difference[..., 2:]).all()
    np.testing.assert_array_equal(result.difference[..., :2], 0.0)
    mask = np.zeros(reference.grid.shape, bool)
    mask[0, 0, 3] = True
    one = dose_difference(reference, evaluated, structure=Structure("PTV", mask, reference.grid))
    assert one.values.size == 1


def test_a_dose_result_is_taken_as_it_is():
    """Name, fractions and provenance of an engine's result."""
    grid = Grid.from_spacing((2, 2, 2), 4.0)
    plan = Plan("four fields", (Beam.open_field(isocenter_RAS_mm=(0, 0, 0)),), Prescription(50.0, 25))
    result = DoseResult(np.ones(grid.shape, np.float32), grid, {}, plan, "medium", provenance={"engine": "x"})
    dose = DoseDistribution.from_result(result)
    assert (dose.name, dose.fractions, dose.dose_to) == ("four fields", 25, "medium")
    assert dose.summary()["provenance"] == {"engine": "x"}
    assert not dose.dose_Gy.flags.writeable


def test_impossible_differences_are_refused(doses):
    """Each with what is wrong and the remedy."""
    reference, evaluated = doses
    with pytest.raises(EvaluationError, match="not 'relative'"):
        dose_difference(reference, evaluated, "relative")
    with pytest.raises(EvaluationError, match="needs no normalization"):
        dose_difference(reference, evaluated, "absolute", normalization_Gy=50.0)
    with pytest.raises(EvaluationError, match="must be a number above 0"):
        dose_difference(reference, evaluated, "percent", normalization_Gy=0.0)
    with pytest.raises(EvaluationError, match="threshold above 0 Gy"):
        dose_difference(reference, evaluated, "local")
    with pytest.raises(EvaluationError, match="threshold nan Gy"):
        dose_difference(reference, evaluated, threshold_Gy=float("nan"))
    with pytest.raises(EvaluationError, match="100 Gy or more"):
        dose_difference(reference, evaluated, threshold_Gy=100.0)
    far = DoseDistribution("far", reference.dose_Gy, Grid.from_spacing((2, 2, 4), 4.0, (900, 0, 0)))
    with pytest.raises(EvaluationError, match="do not overlap"):
        dose_difference(reference, far)
    zero = DoseDistribution("zero", np.zeros(reference.grid.shape), reference.grid)
    with pytest.raises(EvaluationError, match="0 everywhere"):
        dose_difference(zero, evaluated, "percent")
    with pytest.raises(EvaluationError, match="tolerance of -1"):
        dose_difference(reference, evaluated).within_percent(-1)
    with pytest.raises(EvaluationError, match=r"2\.5 fractions"):
        DoseDistribution("x", reference.dose_Gy, reference.grid, fractions=2.5)
    with pytest.raises(EvaluationError, match="dose to 'lung'"):
        DoseDistribution("x", reference.dose_Gy, reference.grid, dose_to="lung")
