"""Metrics of dose and volume on doses whose answer is known: spheres in spheres, even doses, closed formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from DoseEngineLib.dose_metrics import Metric, equivalent_sphere_diameter_mm, generalized_eud_Gy, parse_metric
from DoseEngineLib.dvh import Dvh, calculate_dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.isodose_volume import IsodoseVolumes
from DoseEngineLib.plan import Structure

# 0 to 100 Gy evenly in 200 cm3
EVEN = Dvh("Organ", 200.0, (np.arange(20_000) + 0.5) / 200.0)
SLOPE_GY_MM = 2.0


def sphere_cm3(radius_mm: float) -> float:
    return 4.0 / 3.0 * math.pi * radius_mm**3 / 1000.0


def radial_case(spacing_mm=(1.2, 1.2, 1.5), target_radius_mm=16.0):
    """100 Gy in the middle, 2 Gy less every mm: the isodose of D Gy is a sphere of radius (100 - D) / 2 mm."""
    spacing = np.array(spacing_mm)
    count = np.ceil(104.0 / spacing).astype(int) | 1
    grid = Grid.from_spacing(tuple(count[::-1]), spacing, -spacing * (count - 1) / 2 + (0.3, -0.4, 0.2))
    distance = np.linalg.norm(grid.centres_RAS_mm(), axis=-1)
    dose = np.maximum(100.0 - SLOPE_GY_MM * distance, 0.0).astype(np.float32)
    target = Structure("PTV", distance <= target_radius_mm, grid, "PTV")
    body = Structure("Body", distance <= 51.0, grid, "EXTERNAL")
    return dose, grid, target, body


@pytest.fixture(scope="module")
def radial():
    dose, grid, target, body = radial_case()
    return calculate_dvh(dose, grid, target), IsodoseVolumes(dose, grid, body)


def shells(target_mm: float, level_Gy: float) -> tuple[float, float, float]:
    """TV, PIV and TV_PIV in cm3 by formula."""
    isodose_mm = (100.0 - level_Gy) / SLOPE_GY_MM
    return sphere_cm3(target_mm), sphere_cm3(isodose_mm), sphere_cm3(min(target_mm, isodose_mm))


@pytest.mark.parametrize("prescription", [60.0, 72.0])  # the isodose outside the target (20 mm), inside it (14 mm)
def test_conformity_gradient_and_spill_of_concentric_spheres(radial, prescription):
    dvh, body = radial
    # the radius of a sphere with the mask's own volume: a grid cannot show the drawn one better
    target_mm = equivalent_sphere_diameter_mm(dvh.volume_cm3) / 2.0
    assert target_mm == pytest.approx(16.0, rel=0.01)
    tv, piv, both = shells(target_mm, prescription)
    half = shells(target_mm, prescription / 2)[1]
    _, high, high_in_target = shells(target_mm, 1.05 * prescription)
    expected = {
        "CI(Paddick)": both**2 / (tv * piv),
        "CI(RTOG)": piv / tv,
        "GI": half / piv,
        "R50%": half / tv,
        "R100%": piv / tv,
        "Spill100%[cc]": piv - both,
        "Spill105%[%]": 100.0 * (high - high_in_target) / tv,
        "Coverage": 100.0 * both / tv,
        "ESD": 2.0 * target_mm,
        "ESD50%": 100.0 - prescription / 2,
    }
    for text, value in expected.items():
        got, unit = parse_metric(text).evaluate(dvh, prescription, body)
        assert got == pytest.approx(value, rel=0.01, abs=0.02), text
        assert unit == parse_metric(text).unit


def test_indices_at_another_dose_are_those_of_that_prescription(radial):
    dvh, body = radial
    for plain, spellings in {
        "CI(Paddick)": ("CI(Paddick, 66Gy)", "CI(Paddick, 110%)"),
        "CI(RTOG)": ("CI(RTOG, 66Gy)", "R66Gy", "R110%"),
        "GI": ("GI(66Gy)", "GI(6600 cGy)"),
    }.items():
        expected, _ = parse_metric(plain).evaluate(dvh, 66.0, body)
        for text in spellings:
            assert parse_metric(text).evaluate(dvh, 60.0, body)[0] == pytest.approx(expected, rel=1e-9)


def test_the_bodys_dvh_serves_as_isodose_volumes(radial):
    dvh, volumes = radial
    dose, grid, _, body = radial_case()
    body_dvh = calculate_dvh(dose, grid, body)
    for text in ("CI(Paddick)", "GI", "R50%"):
        fine, _ = parse_metric(text).evaluate(dvh, 60.0, volumes)
        assert parse_metric(text).evaluate(dvh, 60.0, body_dvh)[0] == pytest.approx(fine, rel=0.02)


@pytest.mark.parametrize("level", [40.0, 60.0, 80.0])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.5), (1.5, 2.5, 3.0)])
def test_isodose_volume_of_a_sphere(level, spacing):
    dose, grid, _, _ = radial_case(spacing)
    radius = (100.0 - level) / SLOPE_GY_MM
    # linear interpolation sees a radial fall-off as lower than it is, by h^2 / (6 R) a mm of slope
    seen = radius - np.mean(np.square(spacing)) / (6.0 * radius)
    assert IsodoseVolumes(dose, grid).volume_cm3_at_dose(level) == pytest.approx(sphere_cm3(seen), rel=0.004)


def test_an_isodose_counts_inside_the_body_only():
    dose, grid, _, _ = radial_case()
    right = grid.centres_RAS_mm()[..., 0] > 0.3
    half = IsodoseVolumes(dose, grid, Structure("Body", right, grid, "EXTERNAL"))
    whole = IsodoseVolumes(dose, grid).volume_cm3_at_dose(60.0)
    assert 0.42 * whole < half.volume_cm3_at_dose(60.0) < 0.52 * whole


def test_an_isodose_that_leaves_the_dose_grid_is_refused_unless_the_body_ends_there():
    dose, grid, _, _ = radial_case((2.0, 2.0, 2.5))
    cut = Grid(dose[:26].shape, grid.affine)
    with pytest.raises(EvaluationError, match="edge of the dose grid"):
        IsodoseVolumes(dose[:26], cut).volume_cm3_at_dose(60.0)
    beyond = Structure("Body", np.ones(grid.shape, bool), grid, "EXTERNAL")
    with pytest.raises(EvaluationError, match="edge of the dose grid"):
        IsodoseVolumes(dose[:26], cut, beyond).volume_cm3_at_dose(60.0)
    within = Structure("Body", np.ones(cut.shape, bool), cut, "EXTERNAL")
    assert IsodoseVolumes(dose[:26], cut, within).volume_cm3_at_dose(60.0) > 0.0


def test_bad_doses_and_bodies_are_refused():
    dose, grid, _, _ = radial_case()
    with pytest.raises(EvaluationError, match="shape"):
        IsodoseVolumes(dose[1:], grid)
    with pytest.raises(EvaluationError, match="NaN"):
        IsodoseVolumes(np.where(dose > 50, np.nan, dose), grid)
    with pytest.raises(EvaluationError, match="no voxel on the dose grid"):
        IsodoseVolumes(dose, grid, Structure("Body", np.zeros(grid.shape, bool), grid, "EXTERNAL"))
    with pytest.raises(EvaluationError, match="above 0 Gy"):
        IsodoseVolumes(dose, grid).volume_cm3_at_dose(0.0)


@pytest.mark.parametrize(
    ("text", "canonical", "value", "unit"),
    [
        ("DC2cc", "DC2cc", 1.0, "Gy"),
        ("dc_5%", "DC5%", 5.0, "Gy"),
        ("DC0cc", "DC0cc", 0.0, "Gy"),
        ("CV20Gy[cc]", "CV20Gy[cc]", 40.0, "cc"),
        ("CV20Gy", "CV20Gy[%]", 20.0, "%"),
        ("CV2000cGy[%]", "CV20Gy[%]", 20.0, "%"),
        ("CV50%[cc]", "CV50%[cc]", 80.0, "cc"),
        ("D95%[Gy]", "D95%", 5.0, "Gy"),
        ("D95% [%]", "D95%[%]", 6.25, "%"),
        ("Mean[%]", "Mean[%]", 62.5, "%"),
        ("gEUD(a=1)", "gEUD(a=1)", 50.0, "Gy"),
        ("gEUD( a = 8 )", "gEUD(a=8)", 100.0 * 9.0 ** (-1.0 / 8.0), "Gy"),
        ("EUD(2.5)", "gEUD(a=2.5)", 100.0 * 3.5 ** (-1.0 / 2.5), "Gy"),
        ("Coverage", "Coverage", 20.0, "%"),
        ("ESD", "ESD", 10.0 * (1200.0 / math.pi) ** (1 / 3), "mm"),
    ],
)
def test_metrics_of_one_structure(text, canonical, value, unit):
    metric = parse_metric(text)
    assert str(metric) == canonical
    assert parse_metric(canonical) == metric
    got, got_unit = metric.evaluate(EVEN, prescription_Gy=80.0)
    assert got == pytest.approx(value, rel=1e-3, abs=0.01)
    assert got_unit == unit


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ci(paddick)", "CI(Paddick)"),
        ("CI (RTOG, 95 %)", "CI(RTOG, 95%)"),
        ("CI(Paddick, 100%)", "CI(Paddick)"),
        ("GI", "GI"),
        ("GI(18Gy)", "GI(18Gy)"),
        ("R50", "R50%"),
        ("R30Gy", "R30Gy"),
        ("Spill105%", "Spill105%[%]"),
        ("Spill60Gy[cc]", "Spill60Gy[cc]"),
        ("esd50%", "ESD50%"),
    ],
)
def test_indices_read(text, canonical):
    metric = parse_metric(text)
    assert str(metric) == canonical
    assert parse_metric(canonical) == metric
    assert metric.needs_body


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("CI", 2, "CI needs its definition"),
        ("CI(Lomax)", 3, "no definition of CI"),
        ("CI(Paddick, 95)", 12, "a dose in Gy, cGy or %"),
        ("CI(Paddick, 95%, 3)", 17, "one argument too many"),
        ("gEUD", 4, "gEUD needs an exponent"),
        ("gEUD(a=x)", 5, "an exponent"),
        ("GI()", 3, "a dose in Gy"),
        ("V20Gy[mm]", 6, "gives [%] or [cc]"),
        ("CV20", 4, "a dose in Gy, cGy or %"),
        ("DC2Gy", 3, "a volume in % or cc"),
        ("Spill[%]", 5, "a number should follow 'Spill'"),
        ("HI[%]", 2, "nothing should follow"),
        ("D95% or so", 4, "nothing should follow"),
    ],
)
def test_bad_metrics_say_where_and_what(text, position, what):
    with pytest.raises(EvaluationError) as error:
        parse_metric(text)
    lines = str(error.value).splitlines()
    assert lines[1].index("^") == 2 + position
    assert what in lines[2]


def test_amounts_without_meaning_are_refused():
    for text in ("gEUD(a=0)", "CI(RTOG, 0%)", "R0%"):
        with pytest.raises(EvaluationError, match=r"not 0|above 0"):
            parse_metric(text)
    with pytest.raises(EvaluationError, match=r"V95%\[%\]"):
        Metric("Coverage", 95.0, "%", "%")


def test_gEUD_runs_from_minimum_to_maximum_without_overflow():
    dose = np.array([20.0, 40.0, 60.0])
    values = [generalized_eud_Gy(dose, a) for a in (-5000.0, -10.0, 1.0, 10.0, 5000.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(20.0, rel=1e-3)
    assert values[2] == pytest.approx(40.0)
    assert values[4] == pytest.approx(60.0, rel=1e-3)
    assert generalized_eud_Gy(np.array([0.0, 60.0]), -4.0) == 0.0
    assert generalized_eud_Gy(np.zeros(3), 4.0) == 0.0


def test_what_cannot_be_evaluated_says_why(radial):
    dvh, body = radial
    with pytest.raises(EvaluationError, match="give the isodose volumes of the body"):
        parse_metric("CI(Paddick)").evaluate(dvh, 60.0)
    with pytest.raises(EvaluationError, match="no prescription"):
        parse_metric("GI").evaluate(dvh, None, body)
    # an index of 0 would meet every limit from above
    for text in ("CI(Paddick)", "CI(RTOG)", "GI", "R100%"):
        with pytest.raises(EvaluationError, match="nothing receives 200 Gy"):
            parse_metric(text).evaluate(dvh, 200.0, body)
    with pytest.raises(EvaluationError, match="has 200 cc"):
        parse_metric("DC201cc").evaluate(EVEN)
    with pytest.raises(EvaluationError, match="isodose volumes of the whole body"):
        parse_metric("Spill100%").evaluate(EVEN, 80.0, Dvh("Part", 1.0, EVEN.dose_samples_Gy))
