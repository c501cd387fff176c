"""Step and shoot: least beam-on time, exact sums, machine limits, fluence as the dose engines see it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog
from sequencing_factory import bixels_of, machine_file, plan_for

from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.fluence import beam_segments, off_axis_ratio
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing import check_deliverable, delivered_weights, sequence
from OptimizerLib.sequencing.bixel_exposure import beam_exposure
from OptimizerLib.sequencing.leaf_pair_fluence import leaf_pair_fluence
from OptimizerLib.sequencing.leaf_sweep import leaf_sweep, rises
from OptimizerLib.sequencing.step_and_shoot import few_openings, least_beam_on_levels, sweep_openings

maps = hnp.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(0, 9))
few = settings(max_examples=60, deadline=None)


def test_a_hand_solved_row():
    # rises 2, 3, 1 from 0: 0 2 1 4 4 0 5
    exposure = np.array([[0, 2, 1, 4, 4, 0, 5]])
    assert rises(exposure) == [2 + 3 + 5]
    openings = few_openings(exposure)
    assert openings.levels.sum() == 10
    assert np.array_equal(openings.delivered(7), exposure)


def test_a_known_matrix():
    exposure = np.array([[4, 5, 0, 1, 4, 5], [2, 4, 1, 3, 1, 4], [2, 3, 2, 1, 2, 4], [5, 3, 3, 2, 5, 3]])
    by_hand = [4 + 1 + 1 + 3 + 1, 2 + 2 + 2 + 3, 2 + 1 + 1 + 2, 5 + 3]
    assert rises(exposure).tolist() == by_hand
    openings = few_openings(exposure)
    assert openings.levels.sum() == max(by_hand) == 10
    assert np.array_equal(openings.delivered(6), exposure)
    assert len(openings.levels) <= 7


@few
@given(maps)
def test_few_openings_sum_up_in_the_least_time(exposure):
    openings = few_openings(exposure)
    assert np.array_equal(openings.delivered(exposure.shape[1]), exposure)
    assert openings.levels.sum() == rises(exposure).max()
    assert (openings.levels > 0).all()
    assert len(openings.levels) <= len(sweep_openings(exposure).levels) + 1


@few
@given(maps)
def test_a_sweep_without_interdigitation_sums_up_and_never_collides(exposure):
    openings = sweep_openings(exposure, interdigitation=False)
    assert np.array_equal(openings.delivered(exposure.shape[1]), exposure)
    assert (openings.first[:, 1:] <= openings.last[:, :-1]).all()
    assert (openings.first[:, :-1] <= openings.last[:, 1:]).all()
    assert rises(exposure).max() <= least_beam_on_levels(exposure, interdigitation=False)
    assert openings.levels.sum() <= least_beam_on_levels(exposure, interdigitation=False)


def least_time_by_linear_programming(exposure, interdigitation):
    """Over every shape that the leaves can form: exact, for tiny maps."""
    rows, columns = exposure.shape
    positions = [(low, high) for low in range(columns + 1) for high in range(low, columns + 1)]
    shapes = set()
    for leaves in product(positions, repeat=rows):
        if not interdigitation and any(
            a[0] > b[1] or b[0] > a[1] for a, b in zip(leaves[:-1], leaves[1:], strict=True)
        ):
            continue
        shapes.add(tuple(float(low <= c < high) for low, high in leaves for c in range(columns)))
    matrix = np.array(sorted(shapes)).T
    found = linprog(np.ones(matrix.shape[1]), A_eq=matrix, b_eq=exposure.ravel())
    assert found.success
    return found.fun


@pytest.mark.parametrize("interdigitation", [True, False])
def test_the_beam_on_time_is_the_least_of_all_sequences(interdigitation):
    rng = np.random.default_rng(5)
    greater = 0
    for shape in ((2, 3), (3, 2), (3, 3)):
        for _ in range(6):
            exposure = rng.integers(0, 5, shape)
            least = least_time_by_linear_programming(exposure, interdigitation)
            assert least_beam_on_levels(exposure, interdigitation=interdigitation) == pytest.approx(least, abs=1e-6)
            greater += least > rises(exposure).max() + 0.5
    # the condition must have cost something in some of them, else it was not tested
    assert (greater > 0) is not interdigitation


@few
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(2, 7)), elements=st.integers(0, 9)))
def test_a_gap_of_one_column_is_always_held(exposure):
    openings = sweep_openings(exposure, gap_columns=1)
    assert (openings.last - openings.first >= 1).all()
    assert np.array_equal(openings.delivered(exposure.shape[1]), exposure)
    assert least_beam_on_levels(exposure, gap_columns=1) == rises(exposure).max()


def test_a_gap_that_no_sweep_can_hold_is_refused():
    with pytest.raises(OptimizationError, match="gap of 2 columns"):
        sweep_openings(np.array([[1, 5, 0, 3]]), gap_columns=2)
    held = sweep_openings(np.array([[4, 4, 4, 1]]), gap_columns=2)
    assert (held.last - held.first >= 2).all()
    assert np.array_equal(held.delivered(4), [[4, 4, 4, 1]])


def test_the_sweep_of_one_row_waits_where_the_profile_changes():
    sweep = leaf_sweep(np.array([[1.0, 3.0, 2.0]]))
    assert sweep.uncovered.tolist() == [[0.0, 0.0, 1.0]]
    assert sweep.covered.tolist() == [[1.0, 3.0, 3.0]]


def test_rows_of_bixels_are_shared_out_by_area():
    mlc = load_machine("generic_6mv").mlc
    # 5 mm rows from y = 90: leaves of 5 mm up to 100, of 10 mm beyond
    values = np.array([[1.0, 0.0], [2.0, 2.0], [3.0, 1.0], [6.0, 1.0], [4.0, 0.0]])
    field = leaf_pair_fluence(values, np.array([0.0, 5.0, 10.0]), 90.0 + 5.0 * np.arange(6), mlc)
    assert mlc.boundaries_mm[field.first_pair] == 90.0
    # the last leaf is covered by one row only: the jaw stands at its edge
    assert np.allclose(field.values, [[1.0, 0.0], [2.0, 2.0], [4.5, 1.0], [4.0, 0.0]])
    assert field.jaw_y_mm == (90.0, 115.0)
    shifted = leaf_pair_fluence(values, np.array([0.0, 5.0, 10.0]), 2.0 + 5.0 * np.arange(6), mlc)
    heights = np.minimum(27.0, 5.0 * np.arange(1, 7)) - np.maximum(2.0, 5.0 * np.arange(6))
    assert heights @ shifted.values == pytest.approx(5.0 * values.sum(axis=0))


def test_fluence_beyond_the_leaves_is_refused():
    mlc = load_machine("generic_6mv").mlc
    with pytest.raises(OptimizationError, match="reaches beyond the leaves"):
        leaf_pair_fluence(np.ones((2, 1)), np.array([0.0, 5.0]), np.array([195.0, 200.0, 205.0]), mlc)
    with pytest.raises(OptimizationError, match="not negative"):
        leaf_pair_fluence(-np.ones((1, 1)), np.array([0.0, 5.0]), np.array([0.0, 5.0]), mlc)


def modulated(seed=1, rows=12, columns=14):
    """A smooth map with a hole, in MU."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    hill = 8.0 + 5.0 * np.sin(x / 2.1) * np.cos(y / 1.7) + 3.0 * rng.random((rows, columns))
    hill[np.hypot(x - columns / 2, y - rows / 2) < 2.0] *= 0.2
    hill[np.hypot((x - columns / 2) / columns, (y - rows / 2) / rows) > 0.5] = 0.0
    return hill


def engine_fluence(beam, bixels):
    """Fluence of the bixels in MU, as the dose engines compute it, without the profile of the open beam."""
    machine = load_machine(beam.machine)
    # pixels hold exact averages over their area, whatever their size
    (segment,) = beam_segments(beam, machine, "HFS", bixels.width_mm)
    values = segment.fluence.values
    half = values.shape[0] // 2
    column, row = bixels.columns + half, bixels.rows + half
    return beam.meterset_MU * values[row, column] / off_axis_ratio(machine, np.hypot(bixels.x_mm, bixels.y_mm))


def test_the_engines_see_the_wanted_fluence_within_half_a_level(tmp_path):
    path = machine_file(tmp_path, mlc={"tongue_and_groove_mm": 0.0})
    bixels, weights = bixels_of(modulated(), path, first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    for levels in (5, 20, 100):
        beam = sequence(influence, weights, plan, levels=levels).beams[0]
        seen = engine_fluence(beam, bixels)
        level = weights.max() / levels
        # what leaks through is the least a bixel can get
        leak = 1.05 * 0.015 * beam.meterset_MU
        assert np.abs(seen - weights)[weights > leak].max() <= 0.51 * level
        assert seen[weights == 0].max() <= leak + 0.51 * level
        assert np.allclose(seen, delivered_weights(influence, replace(plan, beams=(beam,))), atol=2e-4 * weights.max())


def test_tongue_and_groove_shade_a_little(tmp_path):
    shades, without = (
        machine_file(tmp_path, mlc={"tongue_and_groove_mm": mm}, name=n) for mm, n in ((0.3, "a"), (0.0, "b"))
    )
    got = []
    for path in (shades, without):
        bixels, weights = bixels_of(modulated(), path, first_row=-6, first_column=-9)
        influence, plan = plan_for(bixels)
        sequenced = sequence(influence, weights, plan, levels=20)
        got.append(delivered_weights(influence, sequenced))
        assert engine_fluence(sequenced.beams[0], bixels) == pytest.approx(got[-1], abs=2e-4 * weights.max())
    assert (got[0] <= got[1] + 1e-9).all()
    # twice as much where neighbouring rows open without regard to each other
    assert 0.005 < 1 - got[0].sum() / got[1].sum() < 0.04
    # the pair behind the jaw follows the outermost row, which is shaded from one side only
    assert (got[1] - got[0]).reshape(12, 14)[[0, -1]].max() < (got[1] - got[0]).max()


def test_MU_are_the_least_for_the_levels(tmp_path):
    path = machine_file(tmp_path, mlc={"transmission": 0.0, "tongue_and_groove_mm": 0.0})
    values = np.array([[0, 2, 1, 4, 4, 0, 5], [5, 5, 5, 5, 5, 5, 5]]) * 3.0
    bixels, weights = bixels_of(values, path)
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan, levels=5).beams[0]
    machine = load_machine(path)
    jaws = beam.control_points[0].aperture
    assert (jaws.jaw_x_mm, jaws.jaw_y_mm) == ((0.0, 35.0), (0.0, 10.0))
    closed_share = 0.0048 * (1 - 35 / 400) + 0.0112 * (1 - 10 / 400)
    assert beam.meterset_MU == pytest.approx(10 * 3.0 * (1 + closed_share))
    assert delivered_weights(influence, replace(plan, beams=(beam,))) == pytest.approx(weights)
    check_deliverable(beam, machine)


def test_transmission_is_taken_off(tmp_path):
    values = np.array([[10.0, 0.0, 10.0, 0.0, 10.0], [10.0, 6.0, 6.0, 6.0, 10.0]])
    bixels, weights = bixels_of(values, machine_file(tmp_path, mlc={"tongue_and_groove_mm": 0.0}))
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan, levels=50).beams[0]
    got = delivered_weights(influence, replace(plan, beams=(beam,)))
    total = beam.meterset_MU
    assert total < 30.0
    assert got[weights > 0] == pytest.approx(weights[weights > 0], abs=0.12)
    assert got[weights == 0] == pytest.approx(0.015 * total, rel=0.03)


CASES = {
    "as shipped": {},
    "no interdigitation": {"interdigitation": False},
    "no interdigitation, sharp ends": {"interdigitation": False, "leaf_end_offset_mm": 0.0},
    "gap of 3 mm": {"minimum_gap_mm": 3.0, "minimum_moving_gap_mm": 3.0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_limit_is_kept(tmp_path, case, seed):
    limits = dict(CASES[case])
    mlc = {"leaf_end_offset_mm": limits.pop("leaf_end_offset_mm", 0.7), "tongue_and_groove_mm": 0.0}
    path = machine_file(tmp_path, limits=limits, mlc=mlc)
    bixels, weights = bixels_of(modulated(seed), path, first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan, levels=8).beams[0]
    machine = load_machine(path)
    check_deliverable(beam, machine)
    got = delivered_weights(influence, replace(plan, beams=(beam,)))
    # half a level; rounded ends that keep clear of each other open up to twice their offset more
    allowed = weights.max() * (0.51 / 8 if mlc["leaf_end_offset_mm"] == 0 or "no" not in case else 0.25)
    inside = weights > 0.02 * beam.meterset_MU
    assert np.abs(got - weights)[inside].max() <= allowed
    assert np.sqrt(np.mean((got - weights)[inside] ** 2)) <= weights.max() * 0.05


def test_pairs_that_neither_close_nor_pass_each_other_may_not_be_able_to(tmp_path):
    limits = {"minimum_gap_mm": 3.0, "minimum_moving_gap_mm": 3.0, "interdigitation": False}
    bixels, weights = bixels_of([[1, 1, 1], [0, 9, 0], [1, 1, 1]], machine_file(tmp_path, limits=limits))
    influence, plan = plan_for(bixels)
    with pytest.raises(OptimizationError, match="do not interdigitate"):
        sequence(influence, weights, plan, levels=9)


def test_a_beam_without_fluence_is_closed():
    one, weights = bixels_of(np.ones((2, 3)))
    two, _ = bixels_of(np.ones((2, 3)), name="B")
    influence, plan = plan_for(one, two)
    sequenced = sequence(influence, np.concatenate((weights, 0 * weights)), plan)
    assert sequenced.beams[1].meterset_MU == 0.0
    assert sequenced.beams[1].control_points[0].aperture.leaf_positions_mm[0] == (0.0, 0.0)
    assert sequenced.beams[0].meterset_MU > 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "arc"}, "step_and_shoot"),
        ({"levels": 0}, "levels"),
        ({"levels": 2.5}, "levels"),
    ],
)
def test_bad_options_are_refused(change, says):
    bixels, weights = bixels_of(np.ones((2, 3)))
    influence, plan = plan_for(bixels)
    with pytest.raises(OptimizationError, match=says):
        sequence(influence, weights, plan, **change)


def test_plans_and_weights_that_do_not_fit_are_refused():
    bixels, weights = bixels_of(np.ones((2, 3)))
    influence, plan = plan_for(bixels)
    with pytest.raises(OptimizationError, match="6 bixels"):
        sequence(influence, weights[:-1], plan)
    other, _ = bixels_of(np.ones((2, 3)), name="Other")
    with pytest.raises(OptimizationError, match="beams A"):
        sequence(plan_for(other)[0], weights, plan)
    bare, _ = bixels_of(np.ones((2, 3)), machine="ideal_6mv")
    bare_influence, bare_plan = plan_for(bare)
    with pytest.raises(OptimizationError, match="no MLC"):
        sequence(bare_influence, weights, bare_plan)
    tiny, few_weights = bixels_of(np.ones((2, 3)), width_mm=1.0)
    with pytest.raises(OptimizationError, match="narrower"):
        sequence(plan_for(tiny)[0], few_weights, plan)


def test_limits_that_are_broken_are_found(tmp_path):
    bixels, weights = bixels_of(modulated(), first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan).beams[0]
    for limits, says in (
        ({"interdigitation": False}, "next pair"),
        ({"minimum_gap_mm": 4.0, "minimum_moving_gap_mm": 4.0}, "gap of a leaf pair"),
        ({"maximum_spread_mm": 30.0}, "apart"),
    ):
        machine = load_machine(machine_file(tmp_path, limits=limits))
        with pytest.raises(PlanError, match=says):
            check_deliverable(beam, machine)


def test_exposure_of_moving_jaws_is_refused():
    bixels, weights = bixels_of(modulated(), first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan).beams[0]
    last = beam.control_points[-1]
    moved = replace(last, aperture=replace(last.aperture, jaw_x_mm=(-10.0, 10.0)))
    moving = replace(beam, control_points=(*beam.control_points[:-1], moved))
    with pytest.raises(OptimizationError, match="jaws that move"):
        beam_exposure(moving, np.array([0.0, 5.0]), np.array([0.0, 5.0]), load_machine("generic_6mv"))
