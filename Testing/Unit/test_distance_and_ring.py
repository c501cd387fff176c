"""Distances from structures and rings around them, on spheres and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.distance import distance_from_structure_mm, distance_on_grid_mm, signed_distance_mm
from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.ring import ring

TILTED = Rotation.from_euler("zyx", (20.0, -10.0, 35.0), degrees=True).as_matrix()


def ball(radius_mm=14.0, spacing=(1.5, 1.5, 3.0), directions=None, size_mm=90.0) -> Structure:
    spacing = np.array(spacing)
    count = np.ceil(size_mm / spacing).astype(int)
    axes = np.eye(3) if directions is None else directions
    grid = Grid.from_spacing(tuple(count[::-1]), spacing, -axes @ (spacing * (count - 1) / 2), directions)
    return Structure("PTV", np.linalg.norm(grid.centres_RAS_mm(), axis=-1) <= radius_mm, grid, "PTV")


@pytest.mark.parametrize("directions", [None, TILTED], ids=["straight", "tilted"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.5, 3.0)])
def test_distance_from_a_ball(spacing, directions):
    target = ball(spacing=spacing, directions=directions)
    points = np.random.default_rng(5).normal(size=(4000, 3))
    points *= np.random.default_rng(6).uniform(1.0, 60.0, (4000, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    exact = np.minimum(np.linalg.norm(points, axis=1) - 14.0, 30.0)
    error = distance_from_structure_mm(target, points, 30.0) - exact
    outside = exact > 1.0
    assert np.abs(error[outside]).max() < 0.65 * max(spacing)
    assert abs(error[outside & (exact < 30.0)].mean()) < 0.1 * max(spacing)
    assert np.abs(error[exact < -2.0]).max() < 0.75 * max(spacing)


def test_distance_of_a_box_is_exact_to_its_faces():
    mask = np.zeros((9, 11, 13), bool)
    mask[3:6, 4:7, 5:8] = True
    distance = signed_distance_mm(mask, np.array([1.0, 2.0, 4.0]))
    assert distance[4, 5, 8] == pytest.approx(0.5)
    assert distance[4, 5, 12] == pytest.approx(4.5)
    assert distance[4, 8, 6] == pytest.approx(3.0)
    assert distance[7, 5, 6] == pytest.approx(6.0)
    assert distance[4, 5, 6] == pytest.approx(-1.5)
    assert (distance[mask] < 0).all()
    assert (distance[~mask] > 0).all()


def test_points_beyond_the_structures_grid_have_their_distance():
    target = ball(size_mm=32.0)
    distance = distance_from_structure_mm(
        target, np.array([[40.0, 0.0, 0.0], [0.0, 0.0, -50.0], [0.0, 90.0, 0.0]]), 60.0
    )
    assert distance == pytest.approx([26.0, 36.0, 60.0], abs=1.0)


def test_a_ring_is_a_shell():
    target = ball()
    shell = ring(target, 5.0, 15.0)
    exact = 4.0 / 3.0 * np.pi * (29.0**3 - 19.0**3) / 1000.0
    assert shell.volume_cm3 == pytest.approx(exact, rel=0.03)
    radius = np.linalg.norm(shell.grid.centres_RAS_mm()[shell.mask], axis=-1)
    assert radius.min() > 17.5
    assert radius.max() < 30.5
    assert shell.name == "Ring_PTV_5-15mm"
    assert shell.role == "CONTROL"
    assert shell.grid is target.grid


def test_rings_meet_without_gap_or_overlap():
    target = ball()
    first, second = ring(target, 0.0, 6.0), ring(target, 6.0, 12.0)
    both = ring(target, 0.0, 12.0)
    assert not (first.mask & second.mask).any()
    assert ((first.mask | second.mask) == both.mask).all()
    assert not (both.mask & target.mask).any()
    inside = ring(target, -100.0, 0.0)
    assert (inside.mask == target.mask).all()


def test_a_ring_leaves_out_other_structures_and_what_is_outside_the_body():
    target = ball()
    coarse = Grid.from_spacing((40, 40, 40), 2.5, (-48.75, -48.75, -48.75))
    organ = Structure("Organ", coarse.centres_RAS_mm()[..., 0] > 5.0, coarse)
    body = Structure("Body", np.linalg.norm(coarse.centres_RAS_mm(), axis=-1) < 22.0, coarse, "EXTERNAL")
    shell = ring(target, 0.0, 20.0, minus=[organ], within=body, name="Ring")
    points = shell.grid.centres_RAS_mm()[shell.mask]
    assert points[:, 0].max() < 5.0 + 2.5
    assert np.linalg.norm(points, axis=1).max() < 22.0 + 2.5
    assert shell.name == "Ring"


def test_a_ring_may_reach_beyond_its_grid():
    target = ball(size_mm=34.0)
    assert ring(target, 0.0, 40.0).mask.sum() == (~target.mask).sum()
    assert np.isinf(distance_on_grid_mm(target, 0.5)).any()


def test_what_cannot_be_made_says_why():
    target = ball()
    empty = Structure("Empty", np.zeros(target.grid.shape, bool), target.grid)
    with pytest.raises(PatientError, match="must be below"):
        ring(target, 5.0, 5.0)
    with pytest.raises(PatientError, match="no voxel"):
        ring(target, 200.0, 210.0)
    with pytest.raises(PatientError, match="Empty is empty"):
        ring(empty, 0.0, 5.0)
    with pytest.raises(GeometryError, match="empty mask"):
        signed_distance_mm(empty.mask, target.grid.spacing_mm)
    with pytest.raises(GeometryError, match="reach"):
        distance_from_structure_mm(target, np.zeros((1, 3)), np.inf)
