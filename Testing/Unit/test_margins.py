"""Margins on balls, boxes and turned grids, against volumes known by hand and against a search through all voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import RTPlanningLib.contouring.reach as reach_module
from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.expansion import with_margins
from RTPlanningLib.contouring.margins import Margins
from RTPlanningLib.contouring.reach import reached

TILTED = Rotation.from_euler("zyx", (20.0, -10.0, 35.0), degrees=True).as_matrix()
SIX = Margins(left_mm=10, right_mm=5, anterior_mm=8, posterior_mm=4, superior_mm=12, inferior_mm=6)


def grid_around(size_mm, spacing, offset_mm=(0.0, 0.0, 0.0), directions=None) -> Grid:
    spacing = np.array(spacing, float)
    count = np.ceil(size_mm / spacing).astype(int)
    axes = np.eye(3) if directions is None else directions
    return Grid.from_spacing(
        tuple(count[::-1]), spacing, -axes @ (spacing * (count - 1) / 2) + np.array(offset_mm), directions
    )


def ball(radius_mm, grid) -> Structure:
    return Structure("CTV", np.linalg.norm(grid.centres_RAS_mm(), axis=-1) <= radius_mm, grid, "CTV")


def block(grid, k, j, i, name="Block") -> Structure:
    mask = np.zeros(grid.shape, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return Structure(name, mask, grid)


def gauge(displacement_RAS_mm, margins):
    """Length of displacements in units of the margin in their direction."""
    lower = np.array((margins.left_mm, margins.posterior_mm, margins.inferior_mm))
    upper = np.array((margins.right_mm, margins.anterior_mm, margins.superior_mm))
    half_axes = np.where(displacement_RAS_mm > 0, upper, lower)
    return np.sqrt(((displacement_RAS_mm / half_axes) ** 2).sum(axis=-1))


@pytest.mark.parametrize("directions", [None, TILTED], ids=["straight", "tilted"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.0, 3.0)], ids=str)
@pytest.mark.parametrize(("radius_mm", "margin_mm"), [(8.0, 4.0), (16.0, 7.0), (20.0, 3.0), (18.0, -4.0), (20.0, -9.0)])
def test_a_balls_margin_is_right_to_a_fraction_of_a_voxel(radius_mm, margin_mm, spacing, directions):
    """Grown balls are balls: their volume gives the margin that was really made."""
    made = []
    for seed in range(3):
        offset = np.random.default_rng(seed).uniform(-0.5, 0.5, 3) * spacing
        grid = grid_around(2 * (radius_mm + max(margin_mm, 0.0)) + 10.0, spacing, offset, directions)
        result = with_margins(ball(radius_mm, grid), Margins.uniform(margin_mm)).structure
        made.append((result.volume_cm3 * 1000 * 3 / 4 / np.pi) ** (1 / 3) - radius_mm)
    # to a sixth of the voxels' mean side
    assert np.mean(made) == pytest.approx(margin_mm, abs=0.16 * np.prod(spacing) ** (1 / 3))


@pytest.mark.parametrize("turn", [np.eye(3), TILTED], ids=["along the voxels", "turned"])
def test_a_boxs_margin_follows_steiners_formula(turn):
    """V + S r + pi r2 (a + b + c) + 4/3 pi r3 of a box with the edges a, b, c."""
    half, margin = np.array((21.0, 15.0, 12.0)), 8.0
    edges = 2 * half
    faces = 2 * (edges[0] * edges[1] + edges[1] * edges[2] + edges[0] * edges[2])
    exact = edges.prod() + faces * margin + np.pi * edges.sum() * margin**2 + 4 / 3 * np.pi * margin**3
    volumes, own = [], []
    for seed in range(2):
        offset = np.zeros(3) if turn[0, 0] == 1.0 else seed * np.array((0.3, -0.4, 0.2))
        grid = grid_around(80.0, (1.0, 1.0, 1.0), offset)
        mask = (np.abs(grid.centres_RAS_mm() @ turn) < half).all(axis=-1)
        box = Structure("Box", mask, grid)
        own.append(box.volume_cm3)
        volumes.append(with_margins(box, Margins.uniform(margin)).structure.volume_cm3)
    assert np.mean(own) == pytest.approx(edges.prod() / 1000, rel=0.005)
    # edges and corners of the voxels themselves come out rounder by a quarter voxel
    assert np.mean(volumes) == pytest.approx(exact / 1000, rel=0.015)


def test_each_direction_of_the_patient_has_its_own_margin():
    """Also on a grid whose i axis runs to the left and whose k axis runs down."""
    for flips in itertools.product((1.0, -1.0), repeat=3):
        grid = Grid.from_spacing((40, 40, 40), 1.0, -19.5 * np.array(flips), np.diag(flips))
        mask = (np.abs(grid.centres_RAS_mm()) < 5).all(axis=-1)
        structure = with_margins(Structure("Box", mask, grid), SIX).structure
        points = grid.centres_RAS_mm()[structure.mask]
        np.testing.assert_allclose(points.min(axis=0), (-14.5, -8.5, -10.5))
        np.testing.assert_allclose(points.max(axis=0), (9.5, 12.5, 16.5))


def test_axes_may_be_exchanged():
    """A sagittal stack: i runs to the front, j upwards, k to the right."""
    directions = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    grid = Grid.from_spacing((40, 40, 40), 1.0, (-19.5, -19.5, -19.5), directions)
    mask = (np.abs(grid.centres_RAS_mm()) < 5).all(axis=-1)
    points = grid.centres_RAS_mm()[with_margins(Structure("Box", mask, grid), SIX).structure.mask]
    np.testing.assert_allclose(points.min(axis=0), (-14.5, -8.5, -10.5))
    np.testing.assert_allclose(points.max(axis=0), (9.5, 12.5, 16.5))


@pytest.mark.parametrize("directions", [None, TILTED], ids=["straight", "tilted"])
def test_nearest_voxels_are_those_of_a_search_through_all(directions):
    """Between the margin to voxel centres, and the same with the most that a voxel can add."""
    grid = Grid.from_spacing((15, 17, 19), (1.9, 1.5, 2.7), (0.0, 0.0, 0.0), directions)
    rng = np.random.default_rng(11)
    mask = np.zeros(grid.shape, bool)
    mask[6:9, 7:10, 8:11] = rng.random((3, 3, 3)) < 0.4
    margins = Margins(7.0, 4.0, 5.0, 3.5, 8.0, 6.0)
    found = reached(mask, grid, margins)
    points, sources = grid.centres_RAS_mm(), grid.centres_RAS_mm()[mask]
    between_centres = gauge(points[..., None, :] - sources, margins).min(axis=-1)
    assert found[between_centres <= 1.0 - 1e-6].all()
    # half the diagonal of a voxel, in units of the smallest margin
    most = 0.5 * np.linalg.norm(grid.spacing_mm) / 3.5
    assert not found[between_centres > 1.0 + most].any()
    # a quarter voxel is added in the mean
    assert np.count_nonzero(found) > np.count_nonzero(between_centres <= 1.0)


def test_both_roads_to_the_nearest_voxel_give_the_same(monkeypatch):
    structure = ball(12.0, grid_around(60.0, (1.3, 1.7, 2.9), (0.2, 0.4, -0.9)))
    by_axes = with_margins(structure, SIX).structure.mask
    monkeypatch.setattr(reach_module, "is_turned", lambda grid: True)
    by_displacements = with_margins(structure, SIX).structure.mask
    np.testing.assert_array_equal(by_axes, by_displacements)


def distance_to_shape(points_RAS_mm, margins):
    """Distance of points from the shape of the margins about the origin: by projection on the octant's ellipsoid."""
    lower = np.array((margins.left_mm, margins.posterior_mm, margins.inferior_mm))
    upper = np.array((margins.right_mm, margins.anterior_mm, margins.superior_mm))
    squared = np.where(points_RAS_mm > 0, upper, lower) ** 2
    low, high = np.zeros(len(points_RAS_mm)), np.full(len(points_RAS_mm), 1e5)
    for _ in range(60):
        middle = 0.5 * (low + high)
        outside = (squared * (points_RAS_mm / (squared + middle[:, None])) ** 2).sum(axis=1) > 1.0
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return np.linalg.norm(points_RAS_mm - squared * points_RAS_mm / (squared + low[:, None]), axis=1)


@pytest.mark.parametrize("directions", [None, TILTED], ids=["straight", "tilted"])
def test_a_ball_with_uneven_margins_is_the_sum_of_both_shapes(directions):
    """A point belongs to it when it is within the ball's radius of the shape of the margins."""
    grid = grid_around(62.0, (1.5, 1.5, 2.0), (0.1, 0.3, -0.4), directions)
    result = with_margins(ball(14.0, grid), SIX).structure
    distance = distance_to_shape(grid.centres_RAS_mm().reshape(-1, 3), SIX).reshape(grid.shape)
    exact = distance <= 14.0
    assert np.count_nonzero(result.mask) == pytest.approx(np.count_nonzero(exact), rel=0.01)
    wrong = result.mask ^ exact
    assert np.count_nonzero(wrong) < 0.05 * np.count_nonzero(exact)
    assert np.abs(distance[wrong] - 14.0).max() < 1.0


def test_margins_of_part_of_a_voxel_round_to_the_nearest_voxel():
    grid = Grid.from_spacing((20, 20, 20), (1.0, 1.0, 3.0))
    box = block(grid, (8, 12), (8, 12), (8, 12))
    for margin, slices in ((1.4, 4), (1.5, 6), (4.4, 6), (4.6, 8)):
        grown = with_margins(box, Margins(superior_mm=margin, inferior_mm=margin)).structure.mask
        assert np.count_nonzero(grown.any(axis=(1, 2))) == slices
        assert np.count_nonzero(grown.any(axis=(0, 2))) == 4
    for margin, slices in ((1.4, 4), (1.6, 2), (4.0, 2)):
        shrunk = with_margins(box, Margins(superior_mm=-margin, inferior_mm=-margin)).structure.mask
        assert np.count_nonzero(shrunk.any(axis=(1, 2))) == slices


def test_growing_on_one_side_and_shrinking_on_the_other_moves_a_box():
    grid = Grid.from_spacing((20, 20, 30), 1.0)
    box = block(grid, (8, 12), (8, 12), (14, 16))
    moved = with_margins(box, Margins(left_mm=3.0, right_mm=-3.0)).structure
    np.testing.assert_array_equal(moved.mask, np.roll(box.mask, -3, axis=2))


def test_growing_and_shrinking_back_keeps_a_convex_shape():
    structure = ball(15.0, grid_around(60.0, (1.5, 1.5, 1.5), (0.4, -0.2, 0.1)))
    there = with_margins(structure, Margins.uniform(6.0)).structure
    back = with_margins(there, Margins.uniform(-6.0)).structure
    assert back.volume_cm3 == pytest.approx(structure.volume_cm3, rel=0.03)


def test_a_margin_beyond_the_image_is_an_error_or_a_note():
    grid = Grid.from_spacing((20, 30, 30), (1.0, 1.0, 2.0))
    box = block(grid, (16, 19), (10, 15), (10, 15), "CTV")
    with pytest.raises(PatientError, match=r"CTV .* beyond the image: superior by 2 mm"):
        with_margins(box, Margins.uniform(4.0))
    cut = with_margins(box, Margins.uniform(4.0), cut_at_image=True)
    assert "superior by 2 mm; that was cut off" in cut.notes[0]
    # inside the body, that goes on beyond the image, too; above the body there is nothing to reach
    body = np.ones(grid.shape, bool)
    with pytest.raises(PatientError, match="superior by 2 mm"):
        with_margins(box, Margins.uniform(4.0), within=body)
    body[19] = False
    assert not with_margins(box, Margins.uniform(4.0), within=body).notes


def test_a_structure_that_the_image_cuts_goes_on_and_a_note_says_so():
    """The cord of every CT: a margin does not need more image above and below, but it does to the side."""
    grid = Grid.from_spacing((20, 30, 30), (1.0, 1.0, 2.0))
    cord = block(grid, (0, 20), (10, 15), (20, 25), "SpinalCord")
    grown = with_margins(cord, Margins.uniform(4.0))
    assert "superior by" in grown.notes[0]
    assert "inferior by" in grown.notes[0]
    assert grown.structure.mask[:, 12, 28].all()
    with pytest.raises(PatientError, match="right by"):
        with_margins(cord, Margins.uniform(8.0))


def test_what_the_image_cuts_is_not_shrunk_from_there():
    grid = Grid.from_spacing((10, 30, 30), 1.0)
    body = block(grid, (0, 10), (5, 25), (5, 25), "Body")
    result = with_margins(body, Margins.uniform(-3.0))
    np.testing.assert_array_equal(result.structure.mask, block(grid, (0, 10), (8, 22), (8, 22)).mask)
    assert "superior" in result.notes[0]
    assert "inferior" in result.notes[0]


def test_bad_margins_and_structures_are_refused():
    grid = Grid.from_spacing((20, 20, 20), 1.0)
    with pytest.raises(PatientError, match="Margin left: nan"):
        Margins(left_mm=float("nan"))
    with pytest.raises(PatientError, match="within 200 mm"):
        Margins.uniform(300.0)
    with pytest.raises(PatientError, match="empty"):
        with_margins(Structure("CTV", np.zeros(grid.shape, bool), grid), Margins.uniform(3.0))
    with pytest.raises(PatientError, match="Nothing is left of Block"):
        with_margins(block(grid, (8, 12), (8, 12), (8, 12)), Margins.uniform(-3.0))


def test_a_turned_image_says_that_it_has_no_margins_of_nothing():
    grid = grid_around(60.0, (2.0, 2.0, 2.0), directions=TILTED)
    result = with_margins(ball(12.0, grid), Margins(left_mm=8.0))
    assert "half a voxel count as 1 mm" in result.notes[0]
    assert not with_margins(ball(12.0, grid), Margins.uniform(0.5)).notes


def test_a_cancelled_margin_stops():
    class Stop(Exception):
        pass

    def progress(fraction, text):
        raise Stop

    with pytest.raises(Stop):
        with_margins(ball(12.0, grid_around(60.0, (2.0, 2.0, 2.0))), SIX, progress=progress)
