"""The gamma index against closed forms and brute force: global, local, 2D, oblique grids, masks, errors."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numba
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import Cancelled, EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.gamma import GAMMA_TOLERANCE, GammaCriterion, gamma_index

SLOPE = np.array([0.31, -0.22, 0.4])


def ramp(points, slope=SLOPE):
    """A dose that rises linearly: 60 Gy at the origin."""
    return 60.0 + points @ slope


def wavy_difference(points):
    """Between -3 and 3 Gy, of no shape that a search could profit from."""
    r, a, s = np.moveaxis(points, -1, 0)
    return 2.0 * np.sin(r / 7.0) * np.cos(a / 5.0) + np.sin(s / 4.0 + r / 11.0)


def centred_grid(shape, spacing, rotation=None):
    """A grid around the origin."""
    directions = np.eye(3) if rotation is None else Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    grid = Grid.from_spacing(shape, spacing, directions=directions)
    return Grid.from_spacing(shape, spacing, -grid.index_to_ras((np.array(shape[::-1]) - 1) / 2), directions)


def dose(values, grid, name="evaluated"):
    """A dose distribution."""
    return DoseDistribution(name, values, grid)


@pytest.fixture
def ramp_pair():
    """A ramp of an oblique fine grid, and a reference of another spacing and orientation that differs by a wave."""
    reference_grid = centred_grid((13, 15, 11), (2.5, 3.0, 3.5), (20, -35, 50))
    evaluated_grid = centred_grid((44, 46, 45), (2.0, 2.2, 2.4), (-10, 15, 70))
    points = reference_grid.centres_RAS_mm()
    difference = wavy_difference(points)
    reference = dose(ramp(points) + difference, reference_grid, "reference")
    return reference, dose(ramp(evaluated_grid.centres_RAS_mm()), evaluated_grid), difference


@pytest.mark.parametrize("percent", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("distance_mm", [1.0, 2.0, 5.0])
def test_global_gamma_of_a_ramp_is_exact(ramp_pair, percent, distance_mm):
    """Dose that differs by d from a ramp of gradient g: gamma = |d| / sqrt(Delta^2 + (g delta)^2), within 0.0003."""
    reference, evaluated, difference = ramp_pair
    criterion = GammaCriterion(percent, distance_mm, normalization_Gy=60.0, threshold_percent=10, max_gamma=1.6)
    result = gamma_index(reference, evaluated, criterion)
    exact = np.abs(difference) / math.hypot(percent / 100 * 60.0, np.linalg.norm(SLOPE) * distance_mm)
    assert result.judged == reference.grid.size
    assert result.outside_evaluated == 0
    np.testing.assert_allclose(result.gamma, np.minimum(exact, 1.6), atol=GAMMA_TOLERANCE + 1e-4)
    clear = np.abs(exact - 1.0) > 1e-3
    np.testing.assert_array_equal((result.gamma <= 1.0)[clear], (exact <= 1.0)[clear])


def test_local_gamma_of_a_ramp_is_exact(ramp_pair):
    """Local: the dose criterion is a share of the reference dose of the voxel; within 0.0003."""
    reference, evaluated, difference = ramp_pair
    result = gamma_index(reference, evaluated, GammaCriterion(3, 2, local=True, max_gamma=3))
    criterion_Gy = 0.03 * (ramp(reference.grid.centres_RAS_mm()) + difference)
    exact = np.abs(difference) / np.hypot(criterion_Gy, np.linalg.norm(SLOPE) * 2.0)
    np.testing.assert_allclose(result.gamma, np.minimum(exact, 3), atol=GAMMA_TOLERANCE + 1e-4)


def test_uniform_doses_leave_the_dose_difference_alone():
    """A difference of 1.2 Gy at 3 % of 60 Gy: gamma 2/3 everywhere, also at the grid's faces."""
    grid = centred_grid((5, 6, 7), 3.0)
    result = gamma_index(dose(np.full(grid.shape, 60.0), grid, "a"), dose(np.full(grid.shape, 61.2), grid))
    np.testing.assert_allclose(result.gamma, 1.2 / 1.8, atol=1e-5)
    assert result.pass_rate_percent == 100.0
    assert result.mean == pytest.approx(2 / 3, abs=1e-5)


def test_gamma_in_slices_uses_the_gradient_within_them():
    """2D gamma of a ramp: only the gradient's part within the slice helps; 3D gamma uses all of it."""
    grid = centred_grid((17, 17, 17), 2.0, (0, 0, 30))
    points = grid.centres_RAS_mm()
    reference, evaluated = dose(ramp(points) + 1.0, grid, "reference"), dose(ramp(points), grid)
    criterion = GammaCriterion(2, 3, normalization_Gy=50.0)
    inner = (slice(4, -4),) * 3
    for axis, letter in enumerate("ijk"):
        in_plane = np.delete(grid.directions.T @ SLOPE, axis)
        exact = 1.0 / math.hypot(1.0, np.linalg.norm(in_plane) * 3.0)
        result = gamma_index(reference, evaluated, replace(criterion, slice_axis=letter))
        np.testing.assert_allclose(result.gamma[inner], exact, atol=GAMMA_TOLERANCE + 1e-4)
    in_3d = gamma_index(reference, evaluated, criterion).gamma[inner]
    np.testing.assert_allclose(in_3d, 1.0 / math.hypot(1.0, np.linalg.norm(SLOPE) * 3.0), atol=3e-4)


def test_a_single_slice_is_compared_like_the_same_slice_of_a_volume():
    """A film of one slice against a volume, and against a single slice of it: the same 2D gamma."""
    volume = centred_grid((9, 20, 21), 2.0)
    film = centred_grid((1, 20, 21), 2.0)
    rng = np.random.default_rng(3)
    values = ndimage.gaussian_filter(rng.random(volume.shape), 2.0) * 50
    measured = dose(values[4:5] * 1.02, film, "film")
    criterion = GammaCriterion(1, 1, slice_axis="k")
    of_volume = gamma_index(measured, dose(values, volume), criterion)
    of_slice = gamma_index(measured, dose(values[4:5], film), criterion)
    np.testing.assert_allclose(of_volume.gamma, of_slice.gamma, atol=2 * GAMMA_TOLERANCE)
    # a slice alone has no neighbours to search, whatever the directions allowed
    np.testing.assert_allclose(
        gamma_index(measured, dose(values[4:5], film), GammaCriterion(1, 1)).gamma, of_slice.gamma, atol=4e-4
    )


@pytest.mark.parametrize("seed", range(4))
def test_gamma_of_rough_doses_equals_brute_force(seed):
    """Random trilinear doses, oblique grids: as small as ever finer lattices find it."""
    rng = np.random.default_rng(seed)
    grid = centred_grid((7, 6, 8), (2.0, 2.5, 3.0))
    evaluated = dose(30 + 20 * rng.random(grid.shape), grid)
    reference_grid = centred_grid((3, 3, 3), 2.7, rng.uniform(-60, 60, 3))
    reference = dose(28 + 24 * rng.random(reference_grid.shape), reference_grid, "reference")
    criterion = GammaCriterion(2, 2.0, normalization_Gy=50.0, max_gamma=2.0)
    found = gamma_index(reference, evaluated, criterion).gamma
    steps = np.arange(-26, 27) * 0.15
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = lattice[(lattice**2).sum(axis=1) <= 16.0]
    away = (lattice**2).sum(axis=1) / 4.0
    for index in np.ndindex(reference_grid.shape):
        points = reference_grid.index_to_ras(np.array(index[::-1])) + lattice
        at = grid.ras_to_index(points)
        inside = grid.contains(points)
        values = ndimage.map_coordinates(
            evaluated.dose_Gy.astype(float), at[inside][:, ::-1].T, order=1, mode="nearest"
        )
        total = away[inside] + ((values - reference.dose_Gy[index]) / 1.0) ** 2
        brute = min(math.sqrt(total.min()), 2.0)
        assert found[index] <= brute + GAMMA_TOLERANCE + 1e-4
        starts = points[inside][np.argsort(total)[:40]]
        refined = min(_refined(reference, evaluated, index, start) for start in starts)
        assert found[index] == pytest.approx(min(brute, refined, 2.0), abs=0.005)


def _refined(reference, evaluated, index, near):
    """The least gamma near a point, by ever finer lattices."""
    centre = reference.grid.index_to_ras(np.array(index[::-1]))
    best, at, width = np.inf, near, 0.12
    for _ in range(9):
        steps = np.linspace(-width, width, 5)
        points = at + np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        points = points[evaluated.grid.contains(points)]
        ijk = evaluated.grid.ras_to_index(points)
        values = ndimage.map_coordinates(evaluated.dose_Gy.astype(float), ijk[:, ::-1].T, order=1, mode="nearest")
        total = ((points - centre) ** 2).sum(axis=1) / 4.0 + (values - reference.dose_Gy[index]) ** 2
        best, at, width = min(best, total.min()), points[np.argmin(total)], width * 0.6
    return math.sqrt(best)


def test_sampled_gamma_is_never_below_and_comes_down_to_the_whole_search(ramp_pair):
    """Interpolation fraction 5, 10, 20: above the continuous gamma, and closer with every one."""
    reference, evaluated, _ = ramp_pair
    criterion = GammaCriterion(2, 3, normalization_Gy=60, max_gamma=1.2)
    whole = gamma_index(reference, evaluated, criterion).gamma
    excess = []
    for fraction in (5, 10, 20):
        sampled = gamma_index(reference, evaluated, replace(criterion, interpolation_fraction=fraction)).gamma
        assert (sampled >= whole - 2 * GAMMA_TOLERANCE).all()
        excess.append(float((sampled - whole).max()))
    assert excess[0] > excess[1] > excess[2]
    assert excess[2] < 0.06


def test_the_same_dose_has_gamma_zero_and_the_maximum_caps():
    """Equal doses: 0. Doses twenty times the criterion apart: the maximum, which says so or more."""
    grid = centred_grid((6, 6, 6), 3.0)
    values = ramp(grid.centres_RAS_mm())
    assert gamma_index(dose(values, grid, "a"), dose(values, grid)).maximum == 0.0
    apart = gamma_index(dose(values, grid, "a"), dose(values * 1.6, grid), GammaCriterion(1, 0.1, max_gamma=1.5))
    assert apart.maximum == 1.5
    assert apart.pass_rate_percent == 0.0


@pytest.mark.parametrize("fraction", [None, 8])
def test_the_result_does_not_depend_on_the_threads(ramp_pair, fraction):
    """One thread and two: the same bits."""
    reference, evaluated, _ = ramp_pair
    criterion = GammaCriterion(2, 2, interpolation_fraction=fraction)
    results = []
    before = numba.get_num_threads()
    for threads in (1, min(2, before)):
        numba.set_num_threads(threads)
        results.append(gamma_index(reference, evaluated, criterion).gamma)
    numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])


def test_threshold_and_denominator():
    """Voxels below the threshold are NaN, and the result says in words what 100 % are."""
    grid = centred_grid((1, 1, 10), 3.0)
    values = np.arange(1.0, 11.0).reshape(grid.shape)
    result = gamma_index(dose(values, grid, "plan A"), dose(values, grid), GammaCriterion(threshold_percent=50))
    assert (result.judged, result.passed) == (6, 6)
    assert np.isnan(result.gamma[0, 0, :4]).all()
    assert not np.isnan(result.gamma[0, 0, 4:]).any()
    assert result.denominator == (
        "6 voxels of the grid of plan A with a reference dose of at least 5 Gy (50 % of 10 Gy)"
    )


def test_a_structure_restricts_the_voxels_judged():
    """A failing half and a passing half: the structure decides the rate; its grid is another, twice as fine."""
    grid = centred_grid((8, 8, 8), 4.0)
    values = np.full(grid.shape, 50.0)
    changed = values.copy()
    changed[:, :, :4] *= 1.2
    fine = grid.with_spacing(2.0)
    mask = np.zeros(fine.shape, bool)
    mask[4:12, 4:12, 12:] = True
    organ = Structure("Heart", mask, fine)
    all_of_it = gamma_index(dose(values, grid, "a"), dose(changed, grid))
    of_organ = gamma_index(dose(values, grid, "a"), dose(changed, grid), structure=organ)
    # the criterion's 2 mm do not reach over the gap of 4 mm, where the dose is interpolated
    assert all_of_it.pass_rate_percent == 50.0
    assert (of_organ.judged, of_organ.pass_rate_percent) == (4 * 4 * 2, 100.0)
    assert "of Heart" in of_organ.denominator


def test_what_lies_outside_is_counted():
    """Reference voxels beyond the evaluated grid, and parts of a structure beyond the reference's, are told."""
    big, small = centred_grid((6, 6, 12), 3.0), centred_grid((6, 6, 6), 3.0)
    values = np.full(big.shape, 20.0)
    result = gamma_index(dose(values, big, "a"), dose(values[:, :, :6], small, "b"))
    assert (result.judged, result.outside_evaluated) == (216, 216)
    assert "216 more lie outside the grid of b" in result.denominator
    organ = Structure("Liver", np.ones(big.shape, bool), big)
    partly = gamma_index(dose(values[:, :, :6], small, "b"), dose(values, big, "a"), structure=organ)
    assert partly.structure_covered == pytest.approx(0.5)
    assert "50 % of Liver lie outside the grid of b" in partly.denominator


def test_statistics_are_plain_data(ramp_pair):
    """Mean, percentiles and maximum agree with numpy's of the volume; JSON takes them."""
    reference, evaluated, _ = ramp_pair
    result = gamma_index(reference, evaluated, GammaCriterion(2, 2))
    statistics = json.loads(json.dumps(result.statistics()))
    assert statistics["mean"] == pytest.approx(float(np.nanmean(result.gamma.astype(float))))
    assert statistics["p95"] == pytest.approx(float(np.nanpercentile(result.gamma, 95)))
    assert statistics["maximum"] == pytest.approx(float(np.nanmax(result.gamma)))
    assert statistics["pass_rate_percent"] == pytest.approx(100 * float((result.gamma <= 1).mean()))
    assert (statistics["kind"], statistics["search"]) == ("global", "3D")


def test_progress_and_cancel(ramp_pair):
    """Progress ends at 1; cancelling leaves no result."""
    reference, evaluated, _ = ramp_pair
    seen = []
    gamma_index(reference, evaluated, progress=lambda fraction, text: seen.append(fraction))
    assert seen[0] == 0.0
    assert seen[-1] == 1.0

    def stop(fraction, text):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        gamma_index(reference, evaluated, progress=stop)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dose_percent": 0}, "dose criterion 0 %"),
        ({"distance_mm": float("nan")}, "distance criterion nan mm"),
        ({"threshold_percent": 100}, "threshold 100 %"),
        ({"local": True, "threshold_percent": 0}, "threshold above 0"),
        ({"normalization_Gy": -1.0}, "normalization dose -1.0 Gy"),
        ({"max_gamma": 1.0}, "must be above 1"),
        ({"slice_axis": "z"}, "not 'z'"),
        ({"interpolation_fraction": 0}, "interpolation fraction 0"),
        ({"interpolation_fraction": 500}, "too many points"),
    ],
)
def test_impossible_criteria_are_refused(change, said):
    """Each with the value and the remedy."""
    with pytest.raises(EvaluationError, match=said):
        GammaCriterion(**change)


def test_impossible_doses_are_refused():
    """No dose, no overlap, no voxel above the threshold, no axis for 2D, structures without a voxel: all told."""
    grid = centred_grid((5, 5, 5), 3.0)
    far = Grid.from_spacing((5, 5, 5), 3.0, (500.0, 0.0, 0.0))
    oblique = centred_grid((5, 5, 5), 3.0, (10, 20, 30))
    good, zero = np.full(grid.shape, 10.0), np.zeros(grid.shape)
    a = dose(good, grid, "a")
    with pytest.raises(EvaluationError, match="reference dose is 0 everywhere"):
        gamma_index(dose(zero, grid, "a"), a)
    with pytest.raises(EvaluationError, match="evaluated dose is 0 everywhere"):
        gamma_index(a, dose(zero, grid))
    with pytest.raises(EvaluationError, match="do not overlap"):
        gamma_index(a, dose(good, far))
    with pytest.raises(EvaluationError, match="no voxel has a reference dose of 100 Gy or more"):
        gamma_index(a, a, GammaCriterion(normalization_Gy=1000))
    with pytest.raises(EvaluationError, match="no axis of the grid"):
        gamma_index(a, dose(good, oblique), GammaCriterion(slice_axis="k"))
    with pytest.raises(EvaluationError, match="Cord is empty"):
        gamma_index(a, a, structure=Structure("Cord", np.zeros(grid.shape, bool), grid))
    with pytest.raises(EvaluationError, match="Cord holds no voxel centre"):
        gamma_index(a, a, structure=Structure("Cord", np.ones(far.shape, bool), far))
    for bad, said in ((np.nan, "NaN"), (np.inf, "infinite"), (-1.0, "negative")):
        values = good.copy()
        values[2, 2, 2] = bad
        with pytest.raises(EvaluationError, match=said):
            dose(values, grid)
    with pytest.raises(EvaluationError, match="shape"):
        dose(good[:4], grid)


def test_wild_doses_end_and_are_never_above_what_points_show():
    """Noise over nine decades, steep steps, criteria from 0.01 % to 20 %: it ends, at or below the sampled gamma."""
    rng = np.random.default_rng(11)
    for _ in range(25):
        grid = centred_grid(tuple(rng.integers(1, 6, 3)), 10 ** rng.uniform(-0.3, 0.3, 3), rng.uniform(-90, 90, 3))
        other = centred_grid(tuple(rng.integers(4, 9, 3)), 10 ** rng.uniform(0.0, 0.9, 3), rng.uniform(-90, 90, 3))
        wild = dose(60.0 * 10 ** rng.uniform(-6, 3, other.shape), other)
        steps = dose(60.0 * (rng.random(other.shape) > 0.5) + 1e-3, other)
        reference = dose(60.0 * rng.random(grid.shape) + 20.0, grid, "reference")
        criterion = GammaCriterion(10 ** rng.uniform(-2, 1.3), 10 ** rng.uniform(-0.5, 1), max_gamma=1.5)
        for evaluated in (wild, steps):
            whole = gamma_index(reference, evaluated, criterion).gamma
            sampled = gamma_index(reference, evaluated, replace(criterion, interpolation_fraction=6)).gamma
            np.testing.assert_array_equal(np.isnan(whole), np.isnan(sampled))
            assert np.nanmax(whole - sampled) <= GAMMA_TOLERANCE + 1e-5


def test_one_voxel_doses():
    """Grids of a single voxel: the dose difference is all there is."""
    grid = centred_grid((1, 1, 1), 3.0)
    result = gamma_index(dose(np.full((1, 1, 1), 10.0), grid, "a"), dose(np.full((1, 1, 1), 10.2), grid))
    assert result.maximum == pytest.approx(2 / 3, abs=1e-4)
