"""Sliding window: least MU, leaf speed, gaps, fluence as the dose engines see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sequencing_factory import bixels_of, machine_file, plan_for
from test_sequencing_step_and_shoot import engine_fluence, modulated

from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.fluence import backscatter_factor
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing import check_deliverable, delivered_weights, sequence
from OptimizerLib.sequencing.bixel_exposure import beam_exposure, open_share, swept_length
from OptimizerLib.sequencing.leaf_sweep import rises
from OptimizerLib.sequencing.sliding_window import sliding_window

# An MLC that lets nothing through and closes: fluence and MU are then known by hand.
SHARP = {"transmission": 0.0, "leaf_end_offset_mm": 0.0, "tongue_and_groove_mm": 0.0}
CLOSES = {"minimum_gap_mm": 0.0, "minimum_moving_gap_mm": 0.0}


def time_open(motion, at_mm):
    """MU for which each row is open at a place, integrated from the motion."""
    fine = np.linspace(0.0, motion.time_MU[-1], 200_001)
    total = []
    for low, high in zip(motion.low_mm.T, motion.high_mm.T, strict=True):
        is_open = (np.interp(fine, motion.time_MU, low) < at_mm) & (at_mm < np.interp(fine, motion.time_MU, high))
        total.append(is_open.mean() * motion.time_MU[-1])
    return np.array(total)


def test_a_hand_solved_row():
    # 3 columns of 5 mm at 2.5 mm/MU: 2 MU each to cross; rises 10 and 5
    exposure = np.array([[10.0, 4.0, 9.0]])
    motion = sliding_window(exposure, np.array([0.0, 5.0, 10.0, 15.0]), 2.5, control_points=22)
    assert motion.time_MU[-1] == pytest.approx(15.0 + 6.0)
    # the times fall on every start and stop, so the sampling is exact
    for place, wanted in zip((2.5, 7.5, 12.5), exposure[0], strict=True):
        assert time_open(motion, place) == pytest.approx(wanted, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.floats(0.0, 20.0)),
    st.booleans(),
)
def test_the_motion_takes_the_least_time_and_keeps_to_the_speed(exposure, interdigitation):
    columns = exposure.shape[1]
    x = 5.0 * np.arange(columns + 1)
    motion = sliding_window(exposure, x, 2.5, interdigitation=interdigitation, control_points=60)
    least = rises(exposure).max() + 2.0 * columns
    if interdigitation:
        assert motion.time_MU[-1] == pytest.approx(least)
    else:
        assert motion.time_MU[-1] >= least - 1e-9
        assert (motion.low_mm[:, 1:] <= motion.high_mm[:, :-1] + 1e-6).all()
        assert (motion.low_mm[:, :-1] <= motion.high_mm[:, 1:] + 1e-6).all()
    assert (motion.low_mm <= motion.high_mm + 1e-6).all()
    for edge in (motion.low_mm, motion.high_mm):
        way = np.diff(edge, axis=0)
        assert (way >= -1e-9).all()
        assert (way <= 2.5 * np.diff(motion.time_MU)[:, None] + 1e-9).all()


def test_MU_are_the_least_at_the_dose_rate(tmp_path):
    path = machine_file(tmp_path, mlc=SHARP, limits=CLOSES)
    values = np.array([[10.0, 4.0, 9.0, 0.0], [3.0, 3.0, 3.0, 3.0]])
    bixels, weights = bixels_of(values, path)
    influence, plan = plan_for(bixels)
    for dose_rate in (600.0, 100.0):
        moved = sequence(
            influence,
            weights,
            plan,
            "sliding_window",
            dose_rate_MU_min=dose_rate,
            control_points=400,
            compensations=0,
        )
        beam, machine = moved.beams[0], load_machine(path)
        factor = backscatter_factor(beam.control_points[0].aperture, machine)
        # 25 mm/s over 20 mm
        assert beam.meterset_MU == pytest.approx(15.0 / factor + 20.0 / 25.0 * dose_rate / 60.0, rel=1e-6)
        check_deliverable(beam, machine, dose_rate)
        assert delivered_weights(influence, moved) == pytest.approx(weights, abs=0.03)
    slow = sequence(influence, weights, plan, "sliding_window", dose_rate_MU_min=100.0).beams[0]
    with pytest.raises(PlanError, match="lower the dose rate"):
        check_deliverable(slow, load_machine(path), 600.0)


def slit_exposure(beam):
    """MU that every bixel gets at least: what leaks, and a slit of the least gap in passing."""
    return 0.015 * beam.meterset_MU + (0.5 + 2 * 0.7) / (25.0 / 10.0)


def test_the_engines_see_the_wanted_fluence(tmp_path):
    path = machine_file(tmp_path, mlc={"tongue_and_groove_mm": 0.0})
    bixels, weights = bixels_of(3.0 * modulated(1, 5, 8), path, first_row=-2, first_column=-5)
    influence, plan = plan_for(bixels)
    moved = sequence(influence, weights, plan, "sliding_window", control_points=60)
    beam = moved.beams[0]
    check_deliverable(beam, load_machine(path))
    seen = engine_fluence(beam, bixels)
    least = slit_exposure(beam)
    assert np.abs(seen - weights)[weights > least].max() <= 0.03 * weights.max()
    assert seen[weights == 0].max() <= 1.05 * least + 0.03 * weights.max()
    assert np.allclose(seen, delivered_weights(influence, moved), atol=3e-3 * weights.max())


def test_more_control_points_come_closer(tmp_path):
    path = machine_file(tmp_path, mlc={"tongue_and_groove_mm": 0.0})
    bixels, weights = bixels_of(3.0 * modulated(), path, first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    errors = []
    for control_points in (40, 80, 160):
        moved = sequence(influence, weights, plan, "sliding_window", control_points=control_points, compensations=0)
        got = delivered_weights(influence, moved)
        least = slit_exposure(moved.beams[0])
        errors.append(np.abs(got - weights)[weights > least].max() / weights.max())
        assert got[weights == 0].max() <= 1.05 * least + errors[-1] * weights.max()
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.02
    assert errors[2] < 0.005


@pytest.mark.parametrize("interdigitation", [True, False])
@pytest.mark.parametrize("gap", [0.5, 3.0])
def test_every_limit_is_kept(tmp_path, interdigitation, gap):
    limits = {"minimum_gap_mm": 0.0, "minimum_moving_gap_mm": gap, "interdigitation": interdigitation}
    path = machine_file(tmp_path, limits=limits, mlc={"tongue_and_groove_mm": 0.0})
    for seed in (1, 2, 3):
        values = 3.0 * modulated(seed)
        values[6] = 0.0
        bixels, weights = bixels_of(values, path, first_row=-6, first_column=-9)
        influence, plan = plan_for(bixels)
        moved = sequence(influence, weights, plan, "sliding_window")
        check_deliverable(moved.beams[0], load_machine(path))
        got = delivered_weights(influence, moved)
        least = 0.02 * moved.beams[0].meterset_MU + (gap + 1.4) / 2.5
        assert np.abs(got - weights)[weights > least].max() <= (0.04 if interdigitation else 0.25) * weights.max()


def test_what_tongue_and_groove_shade_is_compensated():
    bixels, weights = bixels_of(3.0 * modulated(), first_row=-6, first_column=-9)
    influence, plan = plan_for(bixels)
    errors, MU = [], []
    for compensations in (0, 1, 4):
        moved = sequence(influence, weights, plan, "sliding_window", compensations=compensations)
        missed = (delivered_weights(influence, moved) - weights)[weights > slit_exposure(moved.beams[0])]
        errors.append(np.sqrt(np.mean(missed**2)) / weights.max())
        MU.append(moved.beams[0].meterset_MU)
    assert errors[0] > 0.02
    assert errors[1] < 0.25 * errors[0]
    assert errors[2] < 0.002
    assert MU[0] < MU[2] < 1.1 * MU[0]


def test_swept_length_is_an_average_over_the_motion():
    steps = np.linspace(0.0, 1.0, 20_001)
    for start, stop in ((-3.0, 9.0), (1.0, 2.0), (4.0, 4.0), (8.0, -2.0), (6.0, 9.0), (-4.0, -1.0)):
        exact = (np.clip(start + steps * (stop - start), 0.0, 5.0)).mean()
        assert swept_length(0.0, 5.0, start, stop) == pytest.approx(exact, abs=1e-3)


def test_jaws_let_a_little_through_beside_them():
    edges = np.array([0.0, 5.0, 10.0])
    at = np.array([2.0]), np.array([2.0])
    far = np.array([10.0]), np.array([10.0])
    assert np.allclose(open_share(edges, (0.0, 6.0), 0.1, at, far), [[0.6, 0.2 + 0.1 * 0.8]])


def test_a_beam_without_MU_or_leaves_has_no_exposure():
    bixels, _ = bixels_of(np.ones((2, 2)))
    _, plan = plan_for(bixels)
    edges = np.array([0.0, 5.0])
    with pytest.raises(OptimizationError, match="leaves must be set"):
        beam_exposure(plan.beams[0], edges, edges, load_machine("generic_6mv"))
    with pytest.raises(OptimizationError, match="no MU"):
        beam_exposure(replace(plan.beams[0], meterset_MU=None), edges, edges, load_machine("generic_6mv"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"control_points": 1}, "control_points"),
        ({"dose_rate_MU_min": 700.0}, "600 MU/min"),
        ({"compensations": -1}, "compensations"),
    ],
)
def test_bad_options_are_refused(change, says):
    bixels, weights = bixels_of(np.ones((2, 3)))
    influence, plan = plan_for(bixels)
    with pytest.raises(OptimizationError, match=says):
        sequence(influence, weights, plan, "sliding_window", **change)


def test_bixels_narrower_than_the_least_opening_are_refused():
    bixels, weights = bixels_of(np.ones((2, 3)), width_mm=1.5)
    influence, plan = plan_for(bixels)
    with pytest.raises(OptimizationError, match="narrower"):
        sequence(influence, weights, plan, "sliding_window")
