"""Beam's-eye view: jaws, leaves and outlines where they are, seen from the source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Rectangle

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Aperture, Beam, Structure
from RTPlanningLib.display.beams_eye_view import draw_beams_eye_view
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.radiograph import RadiographVolume

MACHINE = load_machine("generic_6mv")
GRID = Grid.from_spacing((40, 40, 40), 3.0, (-58.5, -58.5, -58.5))
RAS = GRID.centres_RAS_mm()
CENTRE = np.array([12.0, -8.0, 15.0])
TARGET = Structure("PTV", np.linalg.norm(RAS - CENTRE, axis=-1) <= 18.0, GRID, "PTV", (0.9, 0.1, 0.1))
BODY = Structure("BODY", np.ones(GRID.shape, bool), GRID, "EXTERNAL")
EMPTY = Structure("Nothing", np.zeros(GRID.shape, bool), GRID, "ORGAN")
VOLUME = RadiographVolume.from_hu(np.where(TARGET.mask, 1000, -1000).astype(np.int16), GRID)
APERTURE = Aperture((-30.0, 40.0), (-25.0, 35.0), tuple((-20.0 - n / 10, 25.0 + n / 10) for n in range(60)))


def beam(aperture=APERTURE, **angles) -> Beam:
    return Beam.static_field("Field", aperture, isocenter_RAS_mm=(2.0, 1.0, -3.0), **angles)


def outlines(axes) -> list[np.ndarray]:
    """Points of every closed outline drawn."""
    found = [part for part in axes.collections if isinstance(part, QuadContourSet)]
    return [np.concatenate([path.vertices for path in part.get_paths()]) for part in found]


@pytest.mark.parametrize("thumbnail", [False, True])
@pytest.mark.parametrize("angles", [(0, 0, 0), (70, 25, 0), (215, 310, 40)])
def test_a_targets_outline_is_its_shadow(angles, thumbnail):
    field = beam(gantry_deg=angles[0], collimator_deg=angles[1], couch_deg=angles[2])
    figure = draw_beams_eye_view(field, MACHINE, "HFS", VOLUME, (TARGET, BODY, EMPTY), thumbnail=thumbnail)
    (points,) = outlines(figure.axes[0])
    middle = field.frame("HFS").project(CENTRE, MACHINE.sad_mm)
    low, high = points.min(axis=0), points.max(axis=0)
    pixel = 1.0 if thumbnail else 0.5
    assert (low + high) / 2 == pytest.approx(middle, abs=pixel)
    # every corner of the target's voxels, projected, lies in the outline's box and the outermost ones on it
    k, j, i = np.nonzero(TARGET.mask)
    steps = np.array([(a, b, c) for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)])
    corners = GRID.index_to_ras(np.stack((i, j, k), axis=-1)[:, None, :] + steps).reshape(-1, 3)
    shadow = field.frame("HFS").project(corners, MACHINE.sad_mm)
    assert low == pytest.approx(shadow.min(axis=0), abs=pixel)
    assert high == pytest.approx(shadow.max(axis=0), abs=pixel)


def test_the_radiograph_and_the_outline_show_the_target_at_one_place():
    figure = draw_beams_eye_view(beam(gantry_deg=140, collimator_deg=20), MACHINE, "HFS", VOLUME, (TARGET,))
    image = figure.axes[0].images[0]
    grey = np.asarray(image.get_array(), float)
    left, right, bottom, top = image.get_extent()
    rows, columns = np.nonzero(grey > 0.3 * grey.max())
    x = left + (columns.mean() + 0.5) / grey.shape[1] * (right - left)
    y = bottom + (rows.mean() + 0.5) / grey.shape[0] * (top - bottom)
    (points,) = outlines(figure.axes[0])
    assert (x, y) == pytest.approx(tuple((points.min(axis=0) + points.max(axis=0)) / 2), abs=1.0)


def test_jaws_and_leaves_stand_where_the_aperture_says():
    axes = draw_beams_eye_view(beam(collimator_deg=45), MACHINE, "HFS", VOLUME).axes[0]
    (jaws,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (*jaws.get_xy(), jaws.get_width(), jaws.get_height()) == (-30.0, -25.0, 70.0, 60.0)
    (banks,) = [part for part in axes.collections if type(part) is LineCollection]
    for bank, tips in zip(banks.get_segments(), zip(*APERTURE.leaf_positions_mm, strict=True), strict=True):
        assert bank[0::2, 0] == pytest.approx(tips)
        assert bank[0::2, 1] == pytest.approx(MACHINE.mlc.boundaries_mm[:-1])
        assert bank[1::2, 1] == pytest.approx(MACHINE.mlc.boundaries_mm[1:])


def test_leaves_of_the_plans_own_are_drawn_with_their_own_sides():
    aperture = Aperture((-30.0, 30.0), (-20.0, 20.0), ((-10.0, 10.0), (-15.0, 12.0), (-9.0, 8.0)))
    field = replace(beam(aperture), leaf_boundaries_mm=(-21.0, -8.0, 6.0, 20.0))
    axes = draw_beams_eye_view(field, MACHINE, "HFS", VOLUME).axes[0]
    (banks,) = [part for part in axes.collections if type(part) is LineCollection]
    assert banks.get_segments()[0] == pytest.approx(
        np.array([(-10, -21), (-10, -8), (-15, -8), (-15, 6), (-9, 6), (-9, 20)], float)
    )


def test_a_field_of_jaws_alone_has_no_leaves_and_all_of_it_is_in_the_picture():
    axes = draw_beams_eye_view(beam(Aperture((-180.0, 20.0), (-10.0, 150.0))), MACHINE, "HFS", VOLUME).axes[0]
    assert not axes.collections
    assert axes.get_xlim()[0] < -180.0
    assert axes.get_ylim()[1] > 150.0


def test_the_sides_of_the_patient_are_named():
    def letters(**angles) -> set[str]:
        axes = draw_beams_eye_view(beam(**angles), MACHINE, "HFS", VOLUME, thumbnail=True).axes[0]
        return {text.get_text() for text in axes.texts} - {"5 cm"}

    assert letters() == {"R", "L", "S", "I"}
    assert letters(gantry_deg=90) == {"A", "P", "S", "I"}
    assert letters(gantry_deg=45) == {"S", "I"}, "no axis of the patient lies along the picture's"


def test_a_moving_field_says_which_control_point_it_shows():
    points = tuple(
        replace(point, gantry_deg=10.0 * n, aperture=Aperture((-40.0 + 5 * n, 40.0), (-40.0, 40.0)))
        for n, point in enumerate(beam().control_points)
    )
    field = Beam("Arc", points, (0.0, 0.0, 0.0))
    axes = draw_beams_eye_view(field, MACHINE, "HFS", VOLUME, control_point=1).axes[0]
    assert "control point 2 of 2\ngantry 10°" in axes.get_title()
    (jaws,) = axes.patches
    assert jaws.get_x() == -35.0


def test_the_same_view_is_the_same_picture():
    one, other = (
        png_bytes(draw_beams_eye_view(beam(), MACHINE, "HFS", VOLUME, (TARGET,), thumbnail=True)) for _ in range(2)
    )
    assert one == other


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(EvaluationError, match="no control point 2"):
        draw_beams_eye_view(beam(), MACHINE, "HFS", VOLUME, control_point=2)
    with pytest.raises(EvaluationError, match="3 leaf pairs"):
        draw_beams_eye_view(beam(Aperture((-5.0, 5.0), (-5.0, 5.0), ((-1.0, 1.0),) * 3)), MACHINE, "HFS", VOLUME)
