"""Fluence of beams with many control points: the sum of their apertures, in one go."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import EngineError
from DoseEngineLib.iec61217 import beam_frame
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.fluence import aperture_fluence, beam_segments, extra_focal_fluence
from DoseEngineLib.plan import Aperture, Beam, ControlPoint

LINAC = load_machine("generic_6mv")


def sliding_window(points: int, jaws=lambda n: (-60.0, 60.0), gantry=lambda n: 0.0) -> Beam:
    """Ragged leaves that cross the field, some pairs closed, in ``points`` control points."""
    generator = np.random.default_rng(7)
    rag, gap = generator.uniform(-15, 15, 60), generator.uniform(1, 25, 60)
    gap[generator.random(60) < 0.3] = 0.0
    made = []
    for n in range(points):
        left = -50 + 100 * n / (points - 1) + rag
        leaves = tuple(zip(left.tolist(), (left + gap).tolist(), strict=True))
        weight = n / (points - 1)
        made.append(ControlPoint(gantry(n), 0.0, 0.0, Aperture(jaws(n), (-80.0, 80.0), leaves), weight))
    return Beam("Window", tuple(made), (0.0, 0.0, 0.0))


def one_by_one(beam: Beam, points_between: int, fluence):
    """The mean of the fluences of single apertures along the motion."""
    total = 0.0
    for start, stop in zip(beam.control_points, beam.control_points[1:]):
        share = stop.cumulative_meterset_weight - start.cumulative_meterset_weight
        for step in range(points_between):
            part = (step + 0.5) / points_between
            a, b = np.array(start.aperture.leaf_positions_mm), np.array(stop.aperture.leaf_positions_mm)
            jaw = np.array(start.aperture.jaw_x_mm) * (1 - part) + np.array(stop.aperture.jaw_x_mm) * part
            aperture = replace(
                start.aperture, jaw_x_mm=tuple(jaw), leaf_positions_mm=tuple(map(tuple, a + (b - a) * part))
            )
            total = total + fluence(aperture, LINAC, 2.0).values * (share / points_between)
    return total


@pytest.mark.parametrize("jaws", [lambda n: (-60.0, 60.0), lambda n: (-60.0 + 5 * n, 60.0)], ids=["fixed", "moving"])
def test_a_sliding_window_is_the_sum_of_its_apertures(jaws):
    beam = sliding_window(9, jaws)
    (segment,) = beam_segments(beam, LINAC, "HFS", 2.0)
    # 12.5 mm between control points are integrated in 13 steps
    expected = one_by_one(beam, 13, aperture_fluence)
    assert segment.weight == pytest.approx(1.0)
    np.testing.assert_allclose(segment.fluence.values, expected, atol=2e-6)
    seen = segment.sources[1].fluence.values
    np.testing.assert_allclose(seen, one_by_one(beam, 13, extra_focal_fluence), atol=2e-4 * seen.max())


def test_hundreds_of_control_points_take_a_fraction_of_a_second():
    beam = sliding_window(200)
    beam_segments(beam, LINAC, "HFS")
    start = time.process_time()
    assert len(beam_segments(beam, LINAC, "HFS")) == 1
    # an image for each aperture took thirty times as long
    assert time.process_time() - start < 1.0


def test_an_arc_keeps_a_direction_for_every_segment():
    segments = beam_segments(sliding_window(10, gantry=lambda n: (355.0 + 2.0 * n) % 360.0), LINAC, "HFS", 2.0)
    assert len(segments) == 9
    assert sum(segment.weight for segment in segments) == pytest.approx(1.0)


def test_joined_arcs_keep_all_fluence_and_turn_about_their_middle():
    beam = sliding_window(10, gantry=lambda n: (355.0 + 2.0 * n) % 360.0)
    apart = beam_segments(beam, LINAC, "HFS", 2.0)
    joined = beam_segments(beam, LINAC, "HFS", 2.0, arc_step_deg=4.0)
    # nine segments of 2 degrees in pairs, the last one alone
    assert [round(9 * segment.weight) for segment in joined] == [2, 2, 2, 2, 1]
    total = sum(segment.weight * segment.fluence.values for segment in apart)
    np.testing.assert_allclose(sum(one.weight * one.fluence.values for one in joined), total, atol=2e-6)
    # across north: from 355 to 359 degrees, and from 359 to 3
    for segment, gantry in zip(joined, (357.0, 1.0, 5.0, 9.0, 12.0), strict=True):
        np.testing.assert_allclose(segment.frame.source_direction, beam_frame(gantry).source_direction, atol=1e-12)
    back = sliding_window(10, gantry=lambda n: (13.0 - 2.0 * n) % 360.0)
    assert len(beam_segments(back, LINAC, "HFS", 2.0, arc_step_deg=4.0)) == 5
    assert len(beam_segments(beam, LINAC, "HFS", 2.0, arc_step_deg=1.0)) == 9
    assert len(beam_segments(sliding_window(9), LINAC, "HFS", 2.0, arc_step_deg=4.0)) == 1


@pytest.mark.parametrize("label", ["photon-pencil-beam", "photon-collapsed-cone"])
def test_engines_refuse_steps_that_would_smear_an_arc(label):
    assert create_engine(label, arc_step_deg=4.0).arc_step_deg == 4.0
    with pytest.raises(EngineError, match="arc_step_deg"):
        create_engine(label, arc_step_deg=20.0)


def test_leaves_may_not_appear_within_a_beam():
    beam = sliding_window(3)
    parked = replace(beam.control_points[1], aperture=Aperture((-60.0, 60.0), (-80.0, 80.0)))
    with pytest.raises(EngineError, match="parked at some"):
        beam_segments(
            replace(beam, control_points=(beam.control_points[0], parked, beam.control_points[2])), LINAC, "HFS"
        )


def test_the_frame_of_a_narrow_mlc_holds_back_head_scatter():
    """Beyond the jaws and a bank of 22 cm, an extra-focal source would shine past the leaves; a wide bank covers it."""
    sides = tuple(np.linspace(-110.0, 110.0, 61).tolist())
    wide = tuple(np.linspace(-200.0, 200.0, 61).tolist())
    shut = ((0.0, 0.0),) * 18
    aperture = Aperture((-50.0, 50.0), (-100.0, 100.0), (*shut, *((-40.0, 40.0),) * 24, *shut))
    beams = [replace(Beam.static_field("B", aperture), leaf_boundaries_mm=boundaries) for boundaries in (sides, wide)]
    narrow, covering = (LINAC.for_beam(beam) for beam in beams)
    assert narrow.mlc.frame_shields
    assert not covering.mlc.frame_shields
    open_sides = replace(narrow, mlc=replace(narrow.mlc, frame_shields=False))
    maps = [extra_focal_fluence(aperture, machine).values for machine in (narrow, open_sides)]
    half = maps[0].shape[0] // 2
    at_160_mm, middle = (half + 40, half), (half, half)
    assert maps[1][at_160_mm] > 0.1
    assert maps[0][at_160_mm] < 0.03
    assert maps[0][middle] == pytest.approx(maps[1][middle], rel=0.01)
