"""IEC 61217 angles against SlicerRT's own transforms and DICOM's patient positions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.iec61217 import PATIENT_POSITIONS, beam_frame, ras_from_support

angles = st.floats(-360, 360)
positions = st.sampled_from(PATIENT_POSITIONS)


# gantry, collimator, couch -> source, collimator X axis, Y axis: as SlicerRT's beam transforms place them (SAD 1000)
@pytest.mark.parametrize(
    ("angles_deg", "source", "x_axis", "y_axis"),
    [
        ((0, 0, 0), (0, 1000, 0), (-1, 0, 0), (0, 0, 1)),
        ((90, 0, 0), (-1000, 0, 0), (0, -1, 0), (0, 0, 1)),
        ((270, 0, 0), (1000, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 90, 0), (0, 1000, 0), (0, 0, 1), (1, 0, 0)),
        ((90, 0, 90), (0, 0, -1000), (0, -1, 0), (-1, 0, 0)),
        ((45, 30, 20), (-664.46, 707.11, -241.84), (-0.746, -0.612, 0.260), (0.036, 0.354, 0.935)),
    ],
)
def test_head_first_supine_agrees_with_slicerrt(angles_deg, source, x_axis, y_axis):
    frame = beam_frame(*angles_deg)
    assert frame.source_RAS_mm(1000.0) == pytest.approx(source, abs=0.01)
    assert frame.x_axis == pytest.approx(x_axis, abs=1e-3)
    assert frame.y_axis == pytest.approx(y_axis, abs=1e-3)


# DICOM PS3.3 C.7.3.1.1.2: at gantry 0 the beam comes from above, at 90 from the viewer's right facing the gantry.
# The patient's side that faces up, and the side to the viewer's right, follow from the words "head first", "supine".
@pytest.mark.parametrize(
    ("position", "up", "right", "to_gantry"),
    [
        ("HFS", "A", "L", "S"),
        ("HFP", "P", "R", "S"),
        ("FFS", "A", "R", "I"),
        ("FFP", "P", "L", "I"),
    ],
)
def test_patient_positions_by_dicom_definition(position, up, right, to_gantry):
    side = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    assert beam_frame(0, patient_position=position).source_direction == pytest.approx(side[up])
    assert beam_frame(90, patient_position=position).source_direction == pytest.approx(side[right])
    assert beam_frame(0, patient_position=position).y_axis == pytest.approx(side[to_gantry])


@given(angles, angles, angles, positions)
def test_frames_are_right_handed_rotations(gantry, collimator, couch, position):
    rotation = beam_frame(gantry, collimator, couch, patient_position=position).rotation
    assert rotation.T @ rotation == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(angles, angles, angles, positions)
def test_collimator_turns_about_the_beam_and_couch_about_the_vertical(gantry, collimator, couch, position):
    at = beam_frame(gantry, collimator, couch, patient_position=position)
    unturned = beam_frame(gantry, 0, couch, patient_position=position)
    assert at.source_direction == pytest.approx(unturned.source_direction)
    assert at.x_axis @ unturned.x_axis == pytest.approx(np.cos(np.radians(collimator)))
    vertical = ras_from_support(position)[:, 2]
    assert at.source_direction @ vertical == pytest.approx(np.cos(np.radians(gantry)))


@given(angles, positions)
def test_a_full_turn_changes_nothing(gantry, position):
    one = beam_frame(gantry, patient_position=position).rotation
    assert one == pytest.approx(beam_frame(gantry + 360, patient_position=position).rotation, abs=1e-9)


@given(angles, angles, angles, st.lists(st.floats(-200, 200), min_size=3, max_size=3))
def test_projection_lies_on_the_ray_through_the_source(gantry, collimator, couch, point):
    frame = beam_frame(gantry, collimator, couch, (10, -20, 30))
    u, v = frame.project(np.array(point), 1000.0)
    source = frame.source_RAS_mm(1000.0)
    on_plane = frame.to_ras(np.array([u, v, 0.0]))
    assert np.cross(on_plane - source, np.array(point) - source) == pytest.approx(np.zeros(3), abs=1e-4)
    assert frame.to_beam(frame.to_ras([u, v, 5.0])) == pytest.approx([u, v, 5.0], abs=1e-9)
    assert frame.matrix() @ [u, v, 0, 1] == pytest.approx([*on_plane, 1])


def test_bad_angles_positions_and_isocentres_are_refused():
    with pytest.raises(GeometryError, match=r"HFDR.*HFS, HFP, FFS, FFP"):
        beam_frame(0, patient_position="HFDR")
    with pytest.raises(GeometryError, match="finite number of degrees"):
        beam_frame(float("nan"))
    with pytest.raises(GeometryError, match="isocentre"):
        beam_frame(0, isocenter_RAS_mm=(0, 0))
    with pytest.raises(GeometryError, match="behind the radiation source"):
        beam_frame(0).project(np.array([0, 1500.0, 0]), 1000.0)
