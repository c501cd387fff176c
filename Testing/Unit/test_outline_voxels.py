"""Voxels of outlines without an image: analytic solids, gaps, holes, oblique planes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_dvh_outlines import box_surface, circle, sphere_contours, sphere_surface

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import GeometryError
from DoseEngineLib.outline_voxels import outline_voxels, structure_from_outline


@pytest.mark.parametrize("radius", [1.5, 12.0, 60.0])
@pytest.mark.parametrize("make", [sphere_surface, lambda radius: sphere_contours(radius, radius / 20.0)])
def test_a_sphere_has_its_voxels(make, radius):
    structure = structure_from_outline(make(radius), "PTV", (1.0, 0.0, 0.0))
    assert structure.role == "PTV"
    assert structure.color == (1.0, 0.0, 0.0)
    assert structure.volume_cm3 == pytest.approx(structure.outline.volume_cm3, rel=0.01)
    away = np.linalg.norm(structure.grid.centres_RAS_mm(), axis=-1)
    edge_mm = 0.1 * radius
    assert structure.mask[away < radius - edge_mm].all()
    assert not structure.mask[away > radius + edge_mm].any()


def test_voxels_of_a_given_size_are_those_with_their_centre_inside():
    mask, grid = outline_voxels(box_surface((1.0, 2.0, 3.0), (11.0, 6.0, 9.0)), 1.0)
    assert grid.spacing_mm == pytest.approx(1.0)
    inside = grid.centres_RAS_mm()
    assert mask.all()
    assert mask.shape == (6, 4, 10)
    assert inside[0, 0, 0] == pytest.approx((1.5, 2.5, 3.5))
    mask, grid = outline_voxels(sphere_surface(10.0), 3.0)
    away = np.linalg.norm(grid.centres_RAS_mm(), axis=-1)
    clear = np.abs(away - 10.0) > 0.05
    assert np.array_equal(mask[clear], (away < 10.0)[clear])


def test_a_gap_between_pieces_and_a_hole_stay_empty():
    # two pieces 30 mm apart, a hole in the lower one
    planes = [0.0, 2.0, 4.0, 34.0, 36.0]
    contours = [circle(20.0, z) for z in planes] + [circle(8.0, z) for z in planes[:3]]
    structure = structure_from_outline(ContourStack("Two", tuple(contours), 2.0), spacing_mm=1.0)
    x, y, z = np.moveaxis(structure.grid.centres_RAS_mm(), -1, 0)
    radius = np.hypot(x, y)
    assert not structure.mask[(z > 5.5) & (z < 32.5)].any()
    assert not structure.mask[(z < 4.5) & (radius < 7.0)].any()
    assert structure.mask[(z > 33.5) & (z < 36.5) & (radius < 7.0)].all()
    assert structure.volume_cm3 == pytest.approx(structure.outline.volume_cm3, rel=0.01)


def test_oblique_planes_have_a_grid_along_them():
    tilt = np.deg2rad(30.0)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    straight = sphere_contours(15.0, 1.5)
    stack = ContourStack("Ball", tuple(one @ turn.T + (40.0, -7.0, 3.0) for one in straight.contours_RAS_mm), 1.5)
    structure = structure_from_outline(stack)
    assert structure.volume_cm3 == pytest.approx(straight.volume_cm3, rel=0.01)
    assert structure.centroid_RAS_mm() == pytest.approx((40.0, -7.0, 3.0), abs=0.05)


def test_sizes_that_make_no_grid_are_refused():
    with pytest.raises(GeometryError, match="choose a larger size"):
        outline_voxels(sphere_surface(60.0), 0.01)
    with pytest.raises(GeometryError, match="not positive"):
        outline_voxels(sphere_surface(5.0), 0.0)
    with pytest.raises(GeometryError, match="evenly spaced"):
        sphere_surface(5.0).cross_sections(np.array([0.0, 1.0, 3.0]))
