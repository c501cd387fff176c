"""DVHs: analytic doses, any orientation, bounds, coverage and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dvh import Dvh, calculate_dvh, calculate_dvhs

OBLIQUE = Rotation.from_euler("zyx", (25.0, -12.0, 40.0), degrees=True).as_matrix()


def positions(grid: Grid) -> np.ndarray:
    k, j, i = np.indices(grid.shape)
    return grid.index_to_ras(np.stack((i, j, k), axis=-1))


def centred_grid(extent_mm: float, spacing_mm, directions=None, centre=(0.0, 0.0, 0.0)) -> Grid:
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    count = np.ceil(extent_mm / spacing).astype(int)
    axes = np.eye(3) if directions is None else directions
    origin = np.asarray(centre) - axes @ (spacing * (count - 1) / 2)
    return Grid.from_spacing(tuple(count[::-1]), spacing, origin, directions)


def ball(grid: Grid, radius_mm: float, centre=(0.0, 0.0, 0.0), name="Ball") -> Structure:
    return Structure(name, np.linalg.norm(positions(grid) - centre, axis=-1) <= radius_mm, grid)


def ramp(grid: Grid, direction, middle=40.0, slope_Gy_mm=0.3) -> np.ndarray:
    return (middle + slope_Gy_mm * (positions(grid) @ np.asarray(direction, float))).astype(np.float32)


def test_median_of_a_linear_ramp_is_its_middle():
    # 28 to 52 Gy over a box of 80 mm: the case that binned histograms read as 39.7 Gy
    grid = Grid.from_spacing((20, 30, 32), 2.5, (-38.75, -36.25, -23.75))
    mask = np.zeros(grid.shape, bool)
    mask[4:16, 6:24] = True
    dvh = calculate_dvh(ramp(grid, (1, 0, 0)), grid, Structure("Box", mask, grid))
    assert dvh.dose_at_volume_percent(50.0) == pytest.approx(40.0, rel=0.002)
    assert dvh.mean_Gy == pytest.approx(40.0, rel=0.0005)
    assert dvh.dose_at_volume_percent(95.0) == pytest.approx(28.0 + 0.05 * 24.0, rel=0.01)
    assert dvh.dose_at_volume_percent(2.0) == pytest.approx(52.0 - 0.02 * 24.0, rel=0.01)
    assert dvh.volume_percent_at_dose(34.0) == pytest.approx(75.0, abs=0.5)
    assert dvh.volume_cm3 == pytest.approx(12 * 18 * 32 * 2.5**3 / 1000.0)


@pytest.mark.parametrize("directions", [None, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize(("radius", "spacing"), [(8.0, (2.0, 2.0, 3.0)), (12.0, (1.0, 1.0, 3.0)), (25.0, 2.5)])
def test_ball_in_a_radial_dose(radius, spacing, directions):
    # dose 60 Gy at the centre falling by 30 Gy to the surface: D_p = 60 - 30 (p / 100)^(1/3)
    dose_grid = centred_grid(2.6 * radius, 1.0, centre=(0.3, 0.1, -0.2))
    dose = 60.0 - 30.0 / radius * np.linalg.norm(positions(dose_grid), axis=-1)
    grid = centred_grid(2.2 * radius, spacing, directions)
    dvh = calculate_dvh(np.maximum(dose, 0.0), dose_grid, ball(grid, radius))
    sphere_cm3 = 4.0 / 3.0 * np.pi * radius**3 / 1000.0
    assert dvh.volume_cm3 == pytest.approx(sphere_cm3, rel=0.09)
    # the mask's own radius: its volume is what the grid can show of the ball's
    effective = (dvh.volume_cm3 / sphere_cm3) ** (1.0 / 3.0)
    for percent in (5.0, 20.0, 50.0, 80.0, 95.0):
        expected = 60.0 - 30.0 * effective * (percent / 100.0) ** (1.0 / 3.0)
        # the surface is right to within a tenth of a voxel
        tolerance = 30.0 / radius * np.mean(spacing) / 10.0
        assert dvh.dose_at_volume_percent(percent) == pytest.approx(expected, abs=tolerance)
    assert dvh.mean_Gy == pytest.approx(60.0 - 30.0 * 0.75 * effective, abs=0.25)


def test_orientation_and_offset_of_the_grids_do_not_matter():
    def dvh_on(dose_directions, directions) -> Dvh:
        dose_grid = centred_grid(90.0, (2.0, 2.5, 3.0), dose_directions)
        grid = centred_grid(50.0, (1.5, 1.5, 2.0), directions)
        return calculate_dvh(ramp(dose_grid, (0.6, 0.0, 0.8)), dose_grid, ball(grid, 15.0))

    straight = dvh_on(None, None)
    for other in (dvh_on(OBLIQUE, None), dvh_on(None, OBLIQUE), dvh_on(OBLIQUE.T, OBLIQUE)):
        for percent in (2.0, 50.0, 98.0):
            assert other.dose_at_volume_percent(percent) == pytest.approx(
                straight.dose_at_volume_percent(percent), abs=0.06
            )


def test_conventions_of_icru_83():
    dvh = Dvh("PTV", 10.0, np.arange(1000, dtype=np.float32) / 10.0)
    assert dvh.dose_at_volume_percent(2.0) > dvh.dose_at_volume_percent(98.0)
    assert dvh.dose_at_volume_percent(0.0) == dvh.max_Gy
    assert dvh.dose_at_volume_percent(100.0) == dvh.min_Gy
    assert dvh.dose_at_volume_percent(95.0) == pytest.approx(4.95)
    assert dvh.dose_at_volume_cm3(9.5) == dvh.dose_at_volume_percent(95.0)
    # "at least": the sample at exactly 20 Gy counts
    assert dvh.volume_percent_at_dose(20.0) == 80.0
    assert dvh.volume_cm3_at_dose(20.0) == pytest.approx(8.0)
    assert dvh.volume_percent_at_dose(0.0) == 100.0
    assert dvh.volume_percent_at_dose(1000.0) == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0, 100.0, width=32), min_size=1, max_size=60),
    st.lists(st.floats(0.0, 100.0), min_size=2, max_size=8),
)
def test_a_dvh_is_monotonic_and_bounded(samples, percents):
    dvh = Dvh("Any", 3.0, np.array(samples, np.float32))
    doses = [dvh.dose_at_volume_percent(p) for p in sorted(percents)]
    assert all(a >= b for a, b in zip(doses, doses[1:]))
    assert all(dvh.min_Gy <= d <= dvh.max_Gy for d in doses)
    assert dvh.min_Gy <= dvh.mean_Gy * (1 + 1e-6)
    assert dvh.mean_Gy <= dvh.max_Gy * (1 + 1e-6)
    dose, volume = dvh.curve(0.7)
    assert volume[0] == 100.0
    assert volume[-1] == 0.0
    assert np.all(np.diff(volume) <= 0.0)
    assert dose[-1] > dvh.max_Gy
    for percent, d in zip(sorted(percents), doses):
        # at least the volume asked for, to within the one sample that the interpolation passes
        assert dvh.volume_percent_at_dose(d) >= percent - 100.0 / len(samples) - 1e-6


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.0, 3.5))
def test_doses_of_any_structure_stay_within_the_dose(seed, spacing):
    rng = np.random.default_rng(seed)
    dose_grid = centred_grid(40.0, 4.0)
    dose = rng.uniform(5.0, 50.0, dose_grid.shape).astype(np.float32)
    grid = centred_grid(12.0, spacing)
    mask = rng.random(grid.shape) < 0.1
    mask.flat[rng.integers(mask.size)] = True
    dvh = calculate_dvh(dose, dose_grid, Structure("Scattered", mask, grid))
    assert dose.min() <= dvh.min_Gy <= dvh.mean_Gy <= dvh.max_Gy <= dose.max()
    assert dvh.volume_cm3 == pytest.approx(mask.sum() * grid.voxel_volume_cm3)


def test_a_single_voxel_is_sampled_all_over():
    grid = Grid.from_spacing((5, 5, 5), 4.0)
    mask = np.zeros(grid.shape, bool)
    mask[2, 2, 2] = True
    dvh = calculate_dvh(ramp(grid, (1, 0, 0), middle=10.0, slope_Gy_mm=1.0), grid, Structure("Seed", mask, grid))
    assert len(dvh.dose_samples_Gy) > 1000
    assert dvh.dose_at_volume_percent(50.0) == pytest.approx(18.0, abs=0.05)
    # a smooth surface of the voxel's volume: a little wider than the voxel where it bulges, never two voxels wide
    assert 4.0 < dvh.max_Gy - dvh.min_Gy < 6.5


def test_many_voxels_are_sampled_once_each():
    grid = Grid.from_spacing((70, 70, 70), 2.0)
    dvh = calculate_dvh(ramp(grid, (0, 0, 1)), grid, Structure("Body", np.ones(grid.shape, bool), grid))
    assert len(dvh.dose_samples_Gy) == grid.size
    assert dvh.covered_fraction == 1.0


def test_a_structure_finer_than_its_voxels_sees_every_dose_voxel():
    # coarse structure voxels over a fine hot spot: a sample a voxel would miss it
    dose_grid = centred_grid(64.0, 1.0)
    dose = np.zeros(dose_grid.shape, np.float32)
    dose[30:32, 30:32, 30:32] = 50.0
    grid = centred_grid(64.0, 8.0)
    dvh = calculate_dvh(dose, dose_grid, Structure("Coarse", np.ones(grid.shape, bool), grid))
    assert dvh.max_Gy > 15.0
    assert dvh.mean_Gy == pytest.approx(8 * 50.0 / 64.0**3, rel=0.05)


def test_a_body_that_fills_its_tight_dose_grid_is_covered():
    grid = centred_grid(60.0, (2.0, 2.0, 3.0))
    structure = ball(grid, 25.0)
    tight, _ = grid.crop(structure.mask)
    dose_grid = tight.with_spacing(2.5)
    assert calculate_dvh(np.ones(dose_grid.shape), dose_grid, structure).covered_fraction == 1.0


def test_partly_covered_structures_are_refused_or_reported():
    dose_grid = centred_grid(40.0, 2.0)
    grid = centred_grid(80.0, 2.0, centre=(20.0, 0.0, 0.0))
    structure = ball(grid, 10.0, (20.0, 0.0, 0.0), "PTV_boost")
    dose = np.full(dose_grid.shape, 7.0)
    with pytest.raises(EvaluationError, match=r"Only 5\d\.\d % of structure PTV_boost lie inside the dose grid"):
        calculate_dvh(dose, dose_grid, structure)
    dvh = calculate_dvh(dose, dose_grid, structure, allow_partial=True)
    assert dvh.covered_fraction == pytest.approx(0.5, abs=0.06)
    assert dvh.volume_cm3 == pytest.approx(structure.volume_cm3)
    assert dvh.covered_volume_cm3 == pytest.approx(dvh.covered_fraction * structure.volume_cm3)
    assert dvh.volume_cm3_at_dose(5.0) == pytest.approx(dvh.covered_volume_cm3)


def test_a_structure_outside_the_dose_is_refused_even_when_partial_is_allowed():
    dose_grid = centred_grid(20.0, 2.0)
    far = ball(centred_grid(20.0, 2.0, centre=(200.0, 0.0, 0.0)), 5.0, (200.0, 0.0, 0.0))
    with pytest.raises(EvaluationError, match="outside the dose grid"):
        calculate_dvh(np.ones(dose_grid.shape), dose_grid, far, allow_partial=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d[:-1], "shape"),
        (lambda d: np.where(d == d.flat[7], np.nan, d), "NaN"),
        (lambda d: d - 100.0, "cannot be negative"),
    ],
    ids=["shape", "nan", "negative"],
)
def test_bad_doses_are_refused(change, text):
    grid = centred_grid(20.0, 2.0)
    dose = ramp(grid, (1, 0, 0))
    with pytest.raises(EvaluationError, match=text):
        calculate_dvh(change(dose), grid, ball(grid, 5.0))


def test_empty_structures_and_doubled_names_are_refused():
    grid = centred_grid(20.0, 2.0)
    dose = np.ones(grid.shape)
    with pytest.raises(EvaluationError, match="Nothing is empty"):
        calculate_dvh(dose, grid, Structure("Nothing", np.zeros(grid.shape, bool), grid))
    with pytest.raises(EvaluationError, match="unique"):
        calculate_dvhs(dose, grid, [ball(grid, 5.0), ball(grid, 6.0)])


@pytest.mark.parametrize("percent", [-1.0, 100.5, float("nan")])
def test_volumes_out_of_range_are_refused(percent):
    dvh = Dvh("PTV", 2.0, np.arange(10.0))
    with pytest.raises(EvaluationError, match="between 0 and"):
        dvh.dose_at_volume_percent(percent)
    with pytest.raises(EvaluationError, match="between 0 and"):
        dvh.dose_at_volume_cm3(percent)
    with pytest.raises(EvaluationError, match="0 Gy or more"):
        dvh.volume_percent_at_dose(-abs(percent))
    with pytest.raises(EvaluationError, match="positive step"):
        dvh.curve(0.0)


def test_many_structures_keep_their_order_and_report_progress():
    grid = centred_grid(30.0, 2.0)
    structures = [ball(grid, radius, name=f"S{radius:.0f}") for radius in (9.0, 4.0, 7.0)]
    steps = []
    dvhs = calculate_dvhs(ramp(grid, (0, 1, 0)), grid, structures, progress=lambda f, text: steps.append((f, text)))
    assert list(dvhs) == ["S9", "S4", "S7"]
    assert steps[0] == (0.0, "DVH of S9")
    assert steps[-1][0] == 1.0
    again = calculate_dvh(ramp(grid, (0, 1, 0)), grid, structures[1])
    np.testing.assert_array_equal(again.dose_samples_Gy, dvhs["S4"].dose_samples_Gy)


@pytest.mark.parametrize(
    ("covered", "text"), [(1.0, "100"), (0.9999985, "99.999"), (0.9996, "99.960"), (0.9994, "99.9"), (0.5, "50.0")]
)
def test_what_is_not_wholly_covered_never_reads_as_if_it_were(covered, text):
    assert Dvh("Part", 1.0, np.ones(3, np.float32), covered).covered_percent_text == text
