"""What a beam's-eye view draws stands where it is projected to, within half a millimetre; and it is fast."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

from DoseEngineLib.aperture import beams_eye_view_points
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Aperture, Beam, Structure
from RTPlanningLib.display import radiograph
from RTPlanningLib.display.beams_eye_geometry import ShadowCache, beams_eye_overlay, grey_picture, grey_window_mm
from RTPlanningLib.display.radiograph import RadiographVolume, compile_radiographs, thinned
from RTPlanningLib.samples import load_sample

MACHINE = load_machine("generic_6mv")
ISOCENTER = (4.0, -6.0, 9.0)
GRID = Grid.from_spacing((60, 70, 80), (1.5, 2.0, 2.5), (-60.0, -70.0, -70.0))
RAS = GRID.centres_RAS_mm()
BALL = Structure("PTV", np.linalg.norm((RAS - (10.0, -5.0, 15.0)) / (24.0, 15.0, 33.0), axis=-1) <= 1.0, GRID, "PTV")
PAIR = Structure(
    "Lenses",
    (np.abs(np.abs(RAS[..., 0] + 0.75) - 18.0) <= 6.0)
    & (np.abs(RAS[..., 1] + 6.0) <= 4.0)
    & (np.abs(RAS[..., 2]) <= 9),
    GRID,
    "ORGAN",
)
BODY = Structure("Body", np.ones(GRID.shape, bool), GRID, "EXTERNAL")
EMPTY = Structure("Nothing", np.zeros(GRID.shape, bool), GRID, "ORGAN")
LEAVES = tuple((-20.0 - n / 10, 25.0 + n / 10) for n in range(60))
APERTURE = Aperture((-30.0, 40.0), (-25.0, 35.0), LEAVES)
DIRECTIONS = np.stack([(np.cos(a), np.sin(a)) for a in np.radians(np.arange(0.0, 360.0, 5.0))])
ANGLES = [(0, 0, 0), (90, 0, 0), (37, 25, 0), (215, 310, 40), (140, 200, 330)]


def beam(gantry=0.0, collimator=0.0, couch=0.0, aperture=APERTURE) -> Beam:
    return Beam.static_field(
        "Field",
        aperture,
        gantry_deg=gantry,
        collimator_deg=collimator,
        couch_deg=couch,
        isocenter_RAS_mm=ISOCENTER,
    )


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_outlines_keep_within_half_a_millimetre_of_the_projected_points(angles, position) -> None:
    field = beam(*angles)
    overlay = beams_eye_overlay(field, MACHINE, position, (BALL, BODY, EMPTY))
    (shadow,) = overlay.shadows
    (loop,) = shadow.loops_mm
    points = beams_eye_view_points(BALL, field.frame(position), MACHINE.sad_mm)
    # how far points and outline reach into each of 72 directions
    reach = (points @ DIRECTIONS.T).max(axis=0)
    error = (loop @ DIRECTIONS.T).max(axis=0) - reach
    assert np.abs(error).max() <= 0.5
    assert abs(error.mean()) <= 0.15


def test_parts_of_a_structure_have_outlines_of_their_own() -> None:
    overlay = beams_eye_overlay(beam(), MACHINE, "HFS", (PAIR,))
    left, right = sorted(overlay.shadows[0].loops_mm, key=lambda loop: loop[:, 0].min())
    # eight voxels of 1.5 mm each, and sixteen between them
    assert (np.ptp(left[:, 0]), np.ptp(right[:, 0])) == pytest.approx((12.0, 12.0), abs=0.6)
    assert right[:, 0].min() - left[:, 0].max() == pytest.approx(24.0, abs=0.6)


@pytest.mark.parametrize("angles", ANGLES)
def test_a_turned_collimator_turns_kept_shadows(angles) -> None:
    cache = ShadowCache()
    gantry, collimator, couch = angles
    beams_eye_overlay(beam(gantry, 0.0, couch), MACHINE, "HFS", (BALL,), cache=cache)
    kept = beams_eye_overlay(beam(gantry, collimator, couch), MACHINE, "HFS", (BALL,), cache=cache).shadows[0]
    anew = beams_eye_overlay(beam(gantry, collimator, couch), MACHINE, "HFS", (BALL,)).shadows[0]
    np.testing.assert_allclose(kept.loops_mm[0], anew.loops_mm[0], atol=1e-9)
    points = beams_eye_view_points(BALL, beam(*angles).frame("HFS"), MACHINE.sad_mm)
    error = (kept.loops_mm[0] @ DIRECTIONS.T).max(axis=0) - (points @ DIRECTIONS.T).max(axis=0)
    assert np.abs(error).max() <= 0.5
    # another direction is another shadow
    moved = beams_eye_overlay(beam(gantry + 30, collimator, couch), MACHINE, "HFS", (BALL,), cache=cache).shadows[0]
    assert moved.loops_mm[0].shape != kept.loops_mm[0].shape or not np.allclose(moved.loops_mm[0], kept.loops_mm[0])


def test_jaws_and_leaves_stand_where_the_aperture_says() -> None:
    overlay = beams_eye_overlay(beam(collimator=45), MACHINE, "HFS")
    assert (overlay.jaw_x_mm, overlay.jaw_y_mm) == (APERTURE.jaw_x_mm, APERTURE.jaw_y_mm)
    assert len(overlay.leaves_mm) == len(overlay.tips_mm) == 2 * MACHINE.mlc.pairs
    sides = MACHINE.mlc.boundaries_mm
    for n, (lower, upper) in enumerate(zip(overlay.tips_mm[::2], overlay.tips_mm[1::2], strict=True)):
        assert lower.tolist() == [[LEAVES[n][0], sides[n]], [LEAVES[n][0], sides[n + 1]]]
        assert upper.tolist() == [[LEAVES[n][1], sides[n]], [LEAVES[n][1], sides[n + 1]]]
    # leaves reach out of the picture, each on its own side
    assert all(leaf[0, 0] < -overlay.half_mm for leaf in overlay.leaves_mm[::2])
    assert all(leaf[0, 0] > overlay.half_mm for leaf in overlay.leaves_mm[1::2])
    assert not beams_eye_overlay(beam(aperture=Aperture()), MACHINE, "HFS").leaves_mm


def test_words_and_sides() -> None:
    overlay = beams_eye_overlay(beam(90.0, 10.0, 5.0), MACHINE, "HFS")
    assert overlay.angles == ("Field", "gantry 90°, coll. 10°, couch 5°")
    assert overlay.sides == {"right": "P", "left": "A", "top": "S", "bottom": "I"}
    assert beams_eye_overlay(beam(45.0), MACHINE, "HFS").sides == {"top": "S", "bottom": "I"}
    with pytest.raises(EvaluationError, match="no control point 2; choose 0 to 1"):
        beams_eye_overlay(beam(), MACHINE, "HFS", control_point=2)
    with pytest.raises(EvaluationError, match="ideal_6mv has none"):
        beams_eye_overlay(beam(), load_machine("ideal_6mv"), "HFS")


def test_the_grey_scale_of_a_uniform_phantom_stays_wide() -> None:
    low, high = grey_window_mm(np.full((20, 20), 200.0))
    assert (low, high) == (170.0, 230.0)
    low, high = grey_window_mm(np.linspace(0.0, 400.0, 1001))
    assert (low, high) == pytest.approx((4.0, 399.2))


def test_the_grey_picture_stands_upright() -> None:
    water = np.zeros((3, 4))
    # the lowest y, on the right
    water[0, 3] = 1000.0
    data = grey_picture(water)
    assert data.startswith(b"P5\n4 3\n255\n")
    assert list(data[-12:]) == [0] * 11 + [255]


def test_radiographs_are_compiled_before_the_first_one() -> None:
    compile_radiographs()
    compiled = len(radiograph._project.signatures)
    hu = np.zeros(GRID.shape, np.int16)
    RadiographVolume.from_hu(hu, GRID).radiograph(beam().frame("HFS"), 1000.0, pixels=(8, 8))
    assert len(radiograph._project.signatures) == compiled == 1


def test_a_thinned_ct_shows_the_same() -> None:
    # of an odd number of columns, the last one goes
    hu = np.where(BALL.mask, 500, -1000).astype(np.int16)[:, :, :-1]
    grid = Grid(hu.shape, GRID.affine)
    thin, coarse = thinned(hu, grid, hu.size // 3)
    assert thin.shape == (60, 35, 39)
    np.testing.assert_allclose(coarse.spacing_mm, (3.0, 4.0, 2.5))
    assert float((thin + 1000.0).sum()) * 4 == pytest.approx(float((hu[:, :, :78].astype(float) + 1000.0).sum()))
    pictures = [
        RadiographVolume.from_hu(*each).radiograph(beam(30.0).frame("HFS"), 1000.0, (-60, 60), (-60, 60), (60, 60))
        for each in ((hu, grid), (thin, coarse))
    ]
    rows, columns = np.indices((60, 60))
    for axis in (rows, columns):
        middles = [float((axis * p.water_mm).sum() / p.water_mm.sum()) for p in pictures]
        assert middles[0] == pytest.approx(middles[1], abs=0.1)
    assert pictures[1].water_mm.sum() == pytest.approx(pictures[0].water_mm.sum(), rel=0.01)
    assert thinned(hu, grid, hu.size)[0] is hu


def test_radiograph_and_overlay_are_fast() -> None:
    """Under 0.3 s a picture of 512 x 512, and with the outlines of all structures, on two cores; the median of five."""
    case = load_sample("tg119-prostate")
    volume = RadiographVolume.from_hu(case.hu, case.grid)
    isocenter = case.structure("PTV").centroid_RAS_mm()
    cache = ShadowCache()
    radiographs, overlays = [], []
    for gantry in (0, 40, 90, 130, 200, 300):
        field = Beam.static_field("Field", APERTURE, gantry_deg=gantry, isocenter_RAS_mm=isocenter)
        start = time.perf_counter()
        picture = volume.radiograph(field.frame("HFS"), MACHINE.sad_mm, (-100, 100), (-100, 100), (512, 512))
        middle = time.perf_counter()
        beams_eye_overlay(field, MACHINE, "HFS", case.structures, cache=cache)
        radiographs.append(middle - start)
        overlays.append(time.perf_counter() - middle)
        assert picture.water_mm.max() > 150.0
    # the first pictures compile, and find the structures' surfaces
    assert statistics.median(radiographs[1:]) < 0.3
    assert statistics.median(overlays[1:]) < 0.3
    print(f"radiograph {1e3 * statistics.median(radiographs[1:]):.0f} ms", end=", ")
    print(f"outlines {1e3 * statistics.median(overlays[1:]):.0f} ms")
