"""Structures combined, cropped, hollowed out, made targets of, filled and cleaned, on shapes known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import ROLES, Structure
from RTPlanningLib.contouring.body_outline import body_outline
from RTPlanningLib.contouring.boolean import combine
from RTPlanningLib.contouring.crop import crop_inside, crop_outside
from RTPlanningLib.contouring.expansion import grown_on_grid, moved_near, shrunk_on_grid
from RTPlanningLib.contouring.free_color import free_color
from RTPlanningLib.contouring.islands import keep_largest_part, remove_small_parts
from RTPlanningLib.contouring.margins import Margins
from RTPlanningLib.contouring.planning_target import planning_target, planning_target_name
from RTPlanningLib.contouring.slice_interpolation import fill_between_slices
from RTPlanningLib.contouring.threshold import threshold, threshold_presets
from RTPlanningLib.contouring.wall import wall

GRID = Grid.from_spacing((20, 30, 40), (1.0, 1.0, 2.0))


def block(k, j, i, name="A", role="ORGAN", grid=GRID) -> Structure:
    mask = np.zeros(grid.shape, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return Structure(name, mask, grid, role, (0.1, 0.2, 0.3))


A = block((5, 15), (5, 15), (5, 15))
B = block((5, 15), (5, 15), (10, 20), "B")
EMPTY = Structure("Empty", np.zeros(GRID.shape, bool), GRID)
CUBE = Grid.from_spacing((40, 40, 40), 1.0, (-19.5, -19.5, -19.5))
BALL = Structure("Bladder", np.linalg.norm(CUBE.centres_RAS_mm(), axis=-1) <= 14.0, CUBE)


# Boolean


@pytest.mark.parametrize(
    ("operation", "i", "name"),
    [
        ("union", (5, 20), "A_or_B"),
        ("intersection", (10, 15), "A_and_B"),
        ("difference", (5, 10), "A_minus_B"),
    ],
)
def test_structures_are_combined(operation, i, name):
    result = combine([A, B], operation).structure
    np.testing.assert_array_equal(result.mask, block((5, 15), (5, 15), i).mask)
    assert (result.name, result.role, result.color) == (name, A.role, A.color)


def test_exclusive_is_what_an_odd_number_covers():
    result = combine([A, B, A], "exclusive", name="X").structure
    np.testing.assert_array_equal(result.mask, B.mask)
    assert result.name == "X"


def test_structures_on_other_grids_are_resampled_and_what_is_outside_is_told():
    fine = Grid.from_spacing((40, 60, 80), (0.5, 0.5, 1.0), (-0.25, -0.25, -0.5))
    other = block((10, 30), (10, 30), (20, 40), "B", grid=fine)
    result = combine([A, other], "intersection")
    np.testing.assert_array_equal(result.structure.mask, block((5, 15), (5, 15), (10, 15)).mask)
    assert not result.notes
    far = Grid.from_spacing((20, 30, 40), (1.0, 1.0, 2.0), (25.0, 0.0, 0.0))
    result = combine([A, block((5, 15), (5, 15), (0, 30), "B", grid=far)], "union")
    assert "50% of B lies outside the image" in result.notes[0]


def test_combinations_that_make_no_sense_are_refused():
    with pytest.raises(PatientError, match="no operation 'nand'"):
        combine([A, B], "nand")
    with pytest.raises(PatientError, match="at least two"):
        combine([A], "union")
    with pytest.raises(PatientError, match="A_minus_A has no voxel"):
        combine([A, A], "difference")


# Crop


def test_cropping_keeps_a_distance():
    assert crop_outside(A, B, 0.0).structure.volume_cm3 == pytest.approx(A.volume_cm3 / 2)
    gap = crop_outside(A, B, 2.0)
    np.testing.assert_array_equal(gap.structure.mask, block((5, 15), (5, 15), (5, 8)).mask)
    assert gap.notes == ("70.0% of A was cut away.",)
    # two voxels may overlap
    np.testing.assert_array_equal(crop_outside(A, B, -2.0).structure.mask.any(axis=(0, 1)).nonzero()[0], range(5, 15))
    deep = crop_outside(A, block((0, 20), (0, 30), (10, 20), "B"), -2.0).structure
    np.testing.assert_array_equal(deep.mask, block((5, 15), (5, 15), (5, 12)).mask)
    body = block((0, 20), (3, 27), (3, 37), "Body", "EXTERNAL")
    np.testing.assert_array_equal(
        crop_inside(block((0, 20), (0, 30), (0, 40)), body, 3.0).structure.mask,
        block((0, 20), (6, 24), (6, 34)).mask,
    )
    np.testing.assert_array_equal(
        crop_inside(block((0, 20), (0, 30), (0, 40)), block((0, 20), (0, 30), (10, 20)), -2.0).structure.mask,
        block((0, 20), (0, 30), (8, 22)).mask,
    )


def test_cropping_to_nothing_is_refused():
    with pytest.raises(PatientError, match="Nothing of A lies outside A"):
        crop_outside(A, A)
    with pytest.raises(PatientError, match="Nothing of A lies inside B with a distance of 5 mm"):
        crop_inside(A, B, 5.0)
    with pytest.raises(PatientError, match="Empty is empty"):
        crop_outside(A, EMPTY)


# Wall


def test_a_wall_has_its_thickness_on_either_side():
    result = wall(BALL, 3.0, 2.0).structure
    assert (result.name, result.role) == ("Bladder_Wall", "ORGAN")
    assert result.volume_cm3 == pytest.approx(4 / 3 * np.pi * (16.0**3 - 11.0**3) / 1000, rel=0.03)
    radius = np.linalg.norm(CUBE.centres_RAS_mm()[result.mask], axis=-1)
    assert radius.min() > 10.3
    assert radius.max() < 16.7
    inner = wall(BALL, 3.0).structure
    assert not (inner.mask & ~BALL.mask).any()


def test_walls_that_cannot_be_are_refused_or_told():
    with pytest.raises(PatientError, match="make no wall"):
        wall(BALL, 0.0)
    with pytest.raises(PatientError, match="make no wall"):
        wall(BALL, -1.0, 3.0)
    with pytest.raises(PatientError, match="holds no voxel"):
        wall(BALL, 0.1)
    thin = wall(BALL, 20.0)
    np.testing.assert_array_equal(thin.structure.mask, BALL.mask)
    assert "all of it is wall" in thin.notes[0]


# PTV


def test_a_ptv_stays_in_the_body_and_off_the_skin():
    body = block((0, 20), (3, 27), (3, 37), "External", "EXTERNAL")
    ctv = block((8, 12), (10, 15), (5, 10), "CTV_High", "CTV")
    free = planning_target(ctv, Margins.uniform(4.0)).structure
    inside = planning_target(ctv, Margins.uniform(4.0), body=body, skin_mm=3.0)
    np.testing.assert_array_equal(inside.structure.mask, free.mask & block((0, 20), (6, 24), (6, 34)).mask)
    assert (inside.structure.name, inside.structure.role) == ("PTV_High", "PTV")
    assert inside.notes == (
        "20.0% of CTV_High itself lies nearer than 3 mm to the surface of External and is not in the PTV.",
    )


def test_ptvs_that_make_no_sense_are_refused():
    ctv = block((8, 12), (10, 15), (5, 10), "CTV", "CTV")
    with pytest.raises(PatientError, match="not smaller than its target"):
        planning_target(ctv, Margins(left_mm=-1.0))
    with pytest.raises(PatientError, match="body outline is needed"):
        planning_target(ctv, Margins.uniform(5.0), skin_mm=3.0)
    with pytest.raises(PatientError, match="beyond the image: left by"):
        planning_target(ctv, Margins.uniform(7.0))
    with pytest.raises(PatientError, match="body outline Empty is empty"):
        planning_target(ctv, Margins.uniform(5.0), body=EMPTY)


@pytest.mark.parametrize(
    ("target", "ptv"),
    [("CTV", "PTV"), ("ctv_high", "PTV_high"), ("GTVp", "PTVp"), ("ITV", "PTV"), ("Prostate", "PTV_Prostate")],
)
def test_a_ptv_is_named_after_its_target(target, ptv):
    assert planning_target_name(target) == ptv


# Threshold and body


def test_threshold_presets_come_with_their_sources():
    presets = threshold_presets()
    assert {"air", "lung", "bone", "metal"} <= set(presets)
    for preset in presets.values():
        assert preset.low_HU < preset.high_HU
        assert len(preset.source) > 20
        assert preset.role in ROLES
    # water is soft tissue or muscle and nothing else of these
    assert [p.id for p in presets.values() if p.low_HU <= 0.0 <= p.high_HU] == ["muscle", "soft_tissue"]


def test_threshold_inside_the_body():
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[A.mask | B.mask] = 40
    hu[10, 10, 10:14] = 700
    hu[2, 2, 2] = 700
    bone = threshold_presets()["bone"]
    body = block((5, 15), (5, 15), (5, 20), "External", "EXTERNAL")
    found = threshold(hu, GRID, bone.low_HU, bone.high_HU, body=body, name="Bone")
    assert found.structure.mask.sum() == 4
    assert not found.notes
    everywhere = threshold(hu, GRID, bone.low_HU, bone.high_HU, name="Bone")
    assert everywhere.structure.mask.sum() == 5
    assert "no body outline" in everywhere.notes[0]
    # both ends count
    assert threshold(hu, GRID, 700, 700, body=body, name="X").structure.mask.sum() == 4
    with pytest.raises(PatientError, match=r"2850 to inf HU; the image holds -1000 to 700 HU"):
        threshold(hu, GRID, 2850, np.inf, body=body, name="Metal")
    with pytest.raises(PatientError, match="is empty"):
        threshold(hu, GRID, 10, -10, name="X")


def test_body_outline_tells_of_a_cut_patient():
    hu = np.full(CUBE.shape, -1000, np.int16)
    hu[:, 5:35, 5:35] = 0
    found = body_outline(hu, CUBE)
    assert (found.structure.name, found.structure.role) == ("External", "EXTERNAL")
    assert found.structure.volume_cm3 == pytest.approx(40 * 30 * 30 / 1000, rel=0.03)
    assert not found.notes
    hu[:, :, :20] = 0
    assert "reaches the side of the image" in body_outline(hu, CUBE).notes[0]


# Slices


def test_slices_between_are_filled_and_the_drawn_ones_stay():
    """A cone, drawn on every fourth slice: its sections change linearly, so all of it comes back."""
    grid = Grid.from_spacing((33, 60, 60), (1.0, 1.0, 2.0), (-29.5, -29.5, 0.0))
    radial = np.linalg.norm(grid.centres_RAS_mm()[..., :2], axis=-1)
    height = grid.centres_RAS_mm()[..., 2]
    whole = Structure("Cone", radial <= 25.0 - 0.3 * height, grid)
    drawn = whole.mask.copy()
    drawn[np.arange(33) % 4 != 0] = False
    result = fill_between_slices(Structure("Cone", drawn, grid))
    np.testing.assert_array_equal(result.structure.mask[::4], drawn[::4])
    # half way, voxels on the very surface count as inside
    assert result.structure.volume_cm3 == pytest.approx(whole.volume_cm3, rel=0.011)
    assert np.count_nonzero(result.structure.mask ^ whole.mask) < 0.02 * whole.mask.sum()
    assert result.notes == ("24 of Cone's slices filled.",)


def test_shapes_that_lie_apart_are_told():
    mask = block((5, 6), (5, 10), (5, 10)).mask | block((9, 10), (20, 25), (30, 35)).mask
    result = fill_between_slices(Structure("Two", mask, GRID))
    assert "3 between slices 6 and 10" in result.notes[1]
    np.testing.assert_array_equal(result.structure.mask, mask)


def test_the_axis_across_the_slices_is_found_or_asked_for():
    sagittal = block((5, 15), (5, 15), (5, 6)).mask | block((5, 15), (5, 15), (8, 9)).mask
    result = fill_between_slices(Structure("S", sagittal, GRID)).structure
    np.testing.assert_array_equal(result.mask, block((5, 15), (5, 15), (5, 9)).mask)
    both = Structure("B", sagittal & (np.arange(30) % 3 == 0)[None, :, None], GRID)
    with pytest.raises(PatientError, match="along the axes j and i"):
        fill_between_slices(both)
    assert fill_between_slices(both, "i").structure.mask.sum() == 10 * 3 * 4
    # a pair of organs lies apart across the patient, too: the slices of the image are meant
    pair = block((5, 6), (5, 10), (5, 10)).mask | block((7, 8), (5, 10), (5, 10)).mask
    pair |= np.roll(pair, 15, axis=2)
    assert fill_between_slices(Structure("Kidneys", pair, GRID)).structure.mask.sum() == 3 * 5 * 10
    with pytest.raises(PatientError, match="no empty slice"):
        fill_between_slices(A)
    with pytest.raises(PatientError, match="along k"):
        fill_between_slices(A, "k")
    with pytest.raises(PatientError, match="no axis 'x'"):
        fill_between_slices(A, "x")
    with pytest.raises(PatientError, match="Empty is empty"):
        fill_between_slices(EMPTY)


# Near a region


@pytest.mark.parametrize("distance_mm", [4.0, -4.0])
def test_what_is_moved_near_a_region_is_what_is_moved_as_a_whole(distance_mm):
    rng = np.random.default_rng(4)
    lumps = [np.linalg.norm(CUBE.centres_RAS_mm() - rng.uniform(-15, 15, 3), axis=-1) < 9.0 for _ in range(4)]
    mask = np.any(lumps, axis=0)
    region = block((12, 18), (14, 20), (10, 22), grid=CUBE).mask
    around = block((10, 20), (12, 22), (8, 24), grid=CUBE).mask
    margins = Margins.uniform(abs(distance_mm))
    whole = (grown_on_grid if distance_mm > 0 else shrunk_on_grid)(mask, CUBE, margins)
    near = moved_near(mask, CUBE, distance_mm, region, 2.0)
    assert 0 < np.count_nonzero(whole & around) < np.count_nonzero(around)
    np.testing.assert_array_equal(near & around, whole & around)


def test_a_color_that_is_taken_gives_way_to_one_far_from_all():
    red, green = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    assert free_color(red, [green]) == red
    chosen = free_color(red, [(0.98, 0.02, 0.0), green])
    for other in (red, green):
        assert np.linalg.norm(np.subtract(chosen, other)) > 0.7
    assert free_color(chosen, [red, green, chosen]) != chosen


# Islands


def test_small_parts_are_removed():
    large, small, crumb = (
        block((5, 15), (5, 15), (5, 15)),
        block((2, 4), (20, 24), (20, 24)),
        block((18, 19), (1, 2), (1, 2)),
    )
    parts = Structure("Lung_L", large.mask | small.mask | crumb.mask, GRID)
    largest = keep_largest_part(parts)
    np.testing.assert_array_equal(largest.structure.mask, large.mask)
    assert largest.notes == ("2 parts of Lung_L removed, together 0.066 cm3.",)
    kept = remove_small_parts(parts, small.volume_cm3)
    np.testing.assert_array_equal(kept.structure.mask, large.mask | small.mask)
    assert kept.notes == ("1 part of Lung_L removed, together 0.002 cm3.",)
    assert keep_largest_part(A).notes == ("A has no part to remove.",)
    with pytest.raises(PatientError, match="No part of Lung_L has 3 cm3; the largest has 2 cm3"):
        remove_small_parts(parts, 3.0)
    with pytest.raises(PatientError, match="above zero"):
        remove_small_parts(parts, 0.0)
    with pytest.raises(PatientError, match="Empty is empty"):
        keep_largest_part(EMPTY)
