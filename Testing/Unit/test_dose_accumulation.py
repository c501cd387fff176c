"""Dose accumulation: fractions, rigid and affine transforms, displacement fields, energy mapping, folding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.evaluation.displacement_field import DisplacementField
from RTPlanningLib.evaluation.dose_accumulation import FractionDose, accumulate_dose
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution

SLOPE = np.array([0.3, -0.2, 0.25])
SMALL = Grid.from_spacing((8, 8, 8), 3.0, (-10.5, -10.5, -10.5))
LARGE = Grid.from_spacing((20, 20, 20), 3.0, (-28.5, -28.5, -28.5))


def ramp(points):
    """A linear dose."""
    return 40.0 + points @ SLOPE


def ramp_dose(grid=LARGE, fractions=1, name="fraction"):
    """The ramp as a dose."""
    return DoseDistribution(name, ramp(grid.centres_RAS_mm()), grid, fractions)


def field_of(function, grid=LARGE):
    """A displacement field from u(x)."""
    return DisplacementField(function(grid.centres_RAS_mm()), grid)


def matrix(rotation=(0, 0, 0), shift=(0, 0, 0), scale=1.0):
    """A 4 x 4 transform."""
    result = np.eye(4)
    result[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() * scale
    result[:3, 3] = shift
    return result


def test_a_rigid_transform_pulls_the_dose_back():
    """D(x) = D_fraction(T x): on a ramp exact to 1e-4 Gy, for rotation and shift together."""
    transform = matrix((5, -8, 12), (4, -3, 2))
    result = accumulate_dose([FractionDose(ramp_dose(), transform)], SMALL)
    points = SMALL.centres_RAS_mm()
    expected = ramp(points @ transform[:3, :3].T + transform[:3, 3])
    np.testing.assert_allclose(result.dose_Gy, expected, atol=1e-4)
    assert result.provenance["parts"][0]["transform"]["kind"] == "rigid"
    assert result.provenance["mapping"] == "dose"
    assert json.loads(json.dumps(result.provenance))["parts"][0]["covers_share_of_grid"] == 1.0


def test_a_constant_field_is_a_shift():
    """A field of one vector and the matrix of the same shift give the same dose."""
    shift = np.array([3.3, -1.2, 5.0])
    with_field = accumulate_dose([FractionDose(ramp_dose(), field_of(lambda x: x * 0 + shift))], SMALL)
    with_matrix = accumulate_dose([FractionDose(ramp_dose(), matrix(shift=shift))], SMALL)
    np.testing.assert_allclose(with_field.dose_Gy, with_matrix.dose_Gy, atol=1e-4)
    assert with_field.provenance["parts"][0]["transform"]["jacobian_range"] == pytest.approx([1.0, 1.0])


def test_a_linear_field_is_an_affine_and_its_jacobian_the_determinant():
    """u = (A - 1) x on an oblique grid: dose as of A to 1e-3 Gy, Jacobian determinant det A to 1e-5, kind affine."""
    a = matrix((3, 4, -6), scale=1.1)
    turned = Rotation.from_euler("xyz", (15, 5, 25), degrees=True).as_matrix()
    grid = Grid.from_spacing((22, 22, 22), (3.0, 4.0, 3.5), tuple(turned @ (-31.5, -42.0, -36.75)), turned)
    field = field_of(lambda x: x @ a[:3, :3].T - x, grid)
    of_field = accumulate_dose([FractionDose(ramp_dose(), field)], SMALL)
    of_matrix = accumulate_dose([FractionDose(ramp_dose(), a)], SMALL)
    np.testing.assert_allclose(of_field.dose_Gy, of_matrix.dose_Gy, atol=1e-3)
    np.testing.assert_allclose(field.jacobian, 1.1**3, rtol=1e-5)
    assert field.jacobian_range == pytest.approx((1.1**3, 1.1**3), rel=1e-4)
    assert of_matrix.provenance["parts"][0]["transform"]["kind"] == "affine"


def test_fractions_and_weights():
    """20 fractions as planned and 5 shifted: shares of their courses; half weight halves."""
    planned = ramp_dose(fractions=25, name="planned")
    shifted = FractionDose(ramp_dose(fractions=25, name="shifted"), matrix(shift=(0, 0, 4)), fractions=5, weight=0.5)
    result = accumulate_dose([FractionDose(planned, fractions=20), shifted], SMALL)
    points = SMALL.centres_RAS_mm()
    expected = 20 / 25 * ramp(points) + 0.5 * 5 / 25 * ramp(points + (0, 0, 4))
    np.testing.assert_allclose(result.dose_Gy, expected, atol=1e-4)
    assert result.fractions == 25


def test_energy_mapping_weighs_by_mass():
    """A voxel half in lung (0.25), half in tissue (1): (0.25 * 10 + 1 * 30) / 1.25 = 26 Gy; dose mapping says 20 Gy."""
    fine = Grid.from_spacing((3, 3, 60), 0.5, (-14.75, -0.5, -0.5))
    left = fine.centres_RAS_mm()[..., 0] < 0
    dose = DoseDistribution("f", np.where(left, 10.0, 30.0), fine)
    density = np.where(left, 0.25, 1.0)
    voxel = Grid.from_spacing((1, 1, 1), (12.0, 0.5, 0.5))
    by_dose = accumulate_dose([FractionDose(dose)], voxel)
    by_energy = accumulate_dose([FractionDose(dose, density_g_cm3=density)], voxel, mapping="energy")
    assert by_dose.dose_Gy[0, 0, 0] == pytest.approx(20.0)
    # three points along i: -4, 0, 4 mm, the middle one on the border, where both are interpolated
    exact = (0.25 * 10 + 0.625 * 20 + 1.0 * 30) / (0.25 + 0.625 + 1.0)
    assert by_energy.dose_Gy[0, 0, 0] == pytest.approx(exact, rel=1e-4)
    assert by_energy.provenance["mapping"] == "energy"
    assert by_energy.provenance["points_a_voxel"] == 27


def test_energy_mapping_counts_the_change_of_volume():
    """Uniform density, a field that stretches the right half twofold: its points count twice."""
    grid = Grid.from_spacing((5, 5, 81), 1.0, (-40, -2, -2))
    x = grid.centres_RAS_mm()
    vectors = np.zeros_like(x)
    vectors[..., 0] = np.maximum(x[..., 0], 0.0)
    field = DisplacementField(vectors, grid)
    wide = Grid.from_spacing((5, 5, 161), 1.0, (-80, -2, -2))
    dose = DoseDistribution("f", np.where(wide.centres_RAS_mm()[..., 0] < 0, 10.0, 40.0), wide)
    uniform = np.ones(wide.shape)
    voxel = Grid.from_spacing((1, 1, 1), (30.0, 1.0, 1.0))
    result = accumulate_dose([FractionDose(dose, field, density_g_cm3=uniform)], voxel, mapping="energy")
    # points at -10, 0 and 10 mm with Jacobian determinants 1, 1.5 and 2 (central difference at the kink)
    assert result.dose_Gy[0, 0, 0] == pytest.approx((10 + 1.5 * 40 + 2 * 40) / 4.5, rel=1e-4)


def test_folding_fields_are_refused_unless_allowed():
    """A fold is told with its share and its determinant; also one that central differences do not see."""
    with pytest.raises(EvaluationError, match=r"folds in 100 % of its cells \(least Jacobian determinant -1"):
        accumulate_dose([FractionDose(ramp_dose(), field_of(lambda x: -2.0 * x * (1, 0, 0)))], SMALL)
    vectors = np.zeros((*LARGE.shape, 3))
    vectors[:, :, ::2, 0] = 4.0  # neighbours, 3 mm apart, change places; two voxels apart nothing changes
    zigzag = DisplacementField(vectors, LARGE)
    assert zigzag.jacobian[:, :, 1:-1].min() == pytest.approx(1.0)
    assert zigzag.jacobian_range[0] == pytest.approx(1 - 4 / 3)
    assert 0.4 < zigzag.folded_share < 0.6
    with pytest.raises(EvaluationError, match="allow folding"):
        accumulate_dose([FractionDose(ramp_dose(), zigzag)], SMALL)
    allowed = accumulate_dose([FractionDose(ramp_dose(), zigzag)], SMALL, allow_folding=True)
    assert "mapped more than once" in allowed.notes[0]


def test_a_field_and_its_inverse_lead_back():
    """x -> 1.25 x and back by 0.8: less than 0.001 mm; NaN where the second field ends."""
    forward = field_of(lambda x: 0.25 * x)
    error = forward.inverse_error_mm(field_of(lambda x: -0.2 * x))
    assert np.nanmax(error) < 1e-3
    assert np.isnan(error[0, 0, 0])
    wrong = forward.inverse_error_mm(field_of(lambda x: 0.0 * x))
    assert np.nanmax(wrong) > 3.0


def test_a_field_of_one_layer():
    """A field on a single slice: no change across it."""
    grid = Grid.from_spacing((1, 6, 7), 3.0)
    field = field_of(lambda x: x * (0.1, 0.2, 0.0), grid)
    np.testing.assert_allclose(field.jacobian, 1.1 * 1.2, rtol=1e-5)
    assert field.jacobian_range == pytest.approx((1.32, 1.32), rel=1e-5)


def test_what_cannot_be_accumulated_is_refused():
    """Each with what is wrong and the remedy."""
    dose = ramp_dose()
    with pytest.raises(EvaluationError, match="nothing to accumulate"):
        accumulate_dose([], SMALL)
    with pytest.raises(EvaluationError, match="not 'mass'"):
        accumulate_dose([FractionDose(dose)], SMALL, mapping="mass")
    with pytest.raises(EvaluationError, match="lacks: fraction"):
        accumulate_dose([FractionDose(dose)], SMALL, mapping="energy")
    with pytest.raises(EvaluationError, match="mirrors or flattens"):
        FractionDose(dose, np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(EvaluationError, match="finite 4 x 4"):
        FractionDose(dose, np.eye(3))
    with pytest.raises(EvaluationError, match="does not cover the grid"):
        accumulate_dose([FractionDose(dose, field_of(lambda x: 0 * x, SMALL))], LARGE)
    with pytest.raises(EvaluationError, match="wholly outside"):
        accumulate_dose([FractionDose(dose, matrix(shift=(900, 0, 0)))], SMALL)
    with pytest.raises(EvaluationError, match="must be above 0"):
        FractionDose(dose, weight=0.0)
    with pytest.raises(EvaluationError, match="0 delivered fractions"):
        FractionDose(dose, fractions=0)
    with pytest.raises(EvaluationError, match="on the dose's grid"):
        FractionDose(dose, density_g_cm3=np.ones((2, 2, 2)))
    with pytest.raises(EvaluationError, match="NaN, infinite or negative"):
        FractionDose(dose, density_g_cm3=np.full(dose.grid.shape, -1.0))
    with pytest.raises(EvaluationError, match="R, A, S"):
        DisplacementField(np.zeros(SMALL.shape), SMALL)
    with pytest.raises(EvaluationError, match="NaN or infinite vectors"):
        DisplacementField(np.full((*SMALL.shape, 3), np.nan), SMALL)
    cut = accumulate_dose([FractionDose(ramp_dose(SMALL), matrix(shift=(6, 0, 0)))], SMALL)
    assert "counts as 0 beyond" in cut.notes[0]
