"""Grids: index <-> RAS, oblique affines, resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.geometry import Grid, lps_from_ras, ras_from_lps, resample

angles = st.floats(-180, 180)
spacings = st.floats(0.3, 8.0)
origins = st.floats(-500, 500)


@st.composite
def grids(draw, largest=9):
    """Any oblique, anisotropic, possibly left-handed grid."""
    shape = tuple(draw(st.integers(1, largest)) for _ in range(3))
    rotation = Rotation.from_euler("xyz", [draw(angles) for _ in range(3)], degrees=True).as_matrix()
    if draw(st.booleans()):
        rotation[:, 2] *= -1
    spacing = [draw(spacings) for _ in range(3)]
    return Grid.from_spacing(shape, spacing, [draw(origins) for _ in range(3)], rotation)


@given(grids(), st.lists(st.floats(-20, 20), min_size=3, max_size=3))
def test_index_and_ras_invert_each_other(grid, ijk):
    assert grid.ras_to_index(grid.index_to_ras(np.array(ijk))) == pytest.approx(ijk, abs=1e-6)


@given(grids())
def test_volume_is_the_determinant(grid):
    assert grid.voxel_volume_cm3 == pytest.approx(abs(np.linalg.det(grid.affine[:3, :3])) / 1000, rel=1e-9)


@given(grids(), st.floats(0.5, 6.0))
def test_with_spacing_covers_the_box_about_the_same_centre(grid, spacing):
    other = grid.with_spacing(spacing)
    assert other.spacing_mm == pytest.approx([spacing] * 3)
    assert other.corners_RAS_mm.mean(axis=0) == pytest.approx(grid.corners_RAS_mm.mean(axis=0), abs=1e-6)
    # every corner of the box, pulled in by a thousandth of a millimetre, is inside
    inward = (grid.corners_RAS_mm.mean(axis=0) - grid.corners_RAS_mm) * 1e-4
    assert other.contains(grid.corners_RAS_mm + inward).all()


def test_centres_follow_the_array_order():
    grid = Grid.from_spacing((2, 3, 4), (1.0, 2.0, 5.0), (10, 20, 30))
    assert grid.centres_RAS_mm()[1, 2, 3] == pytest.approx([13, 24, 35])
    assert grid.bounds_RAS_mm == pytest.approx(np.array([[9.5, 19, 27.5], [13.5, 25, 37.5]]))


def test_lps_and_ras_differ_in_the_first_two_signs():
    assert ras_from_lps([1, 2, 3]) == pytest.approx([-1, -2, 3])
    assert lps_from_ras(ras_from_lps([1, 2, 3])) == pytest.approx([1, 2, 3])


@settings(max_examples=30, deadline=None)
@given(grids(largest=6), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_linear_resampling_reproduces_a_linear_field(target, slope):
    """A field linear in RAS comes out exact inside a larger source grid of another orientation."""
    centre = target.corners_RAS_mm.mean(axis=0)
    reach = np.linalg.norm(target.corners_RAS_mm - centre, axis=1).max() + 10
    step = reach / 10
    turned = Rotation.from_euler("zyx", (20, -35, 50), degrees=True).as_matrix()
    source = Grid.from_spacing((23, 23, 23), step, (0, 0, 0), turned)
    affine = source.affine.copy()
    affine[:3, 3] = centre - affine[:3, :3] @ np.full(3, 11.0)
    source = Grid(source.shape, affine)

    def field(points):
        return slope[0] + (points - centre) @ np.array(slope[1:])

    result = resample(field(source.centres_RAS_mm()).astype(np.float32), source, target)
    assert result == pytest.approx(field(target.centres_RAS_mm()), abs=1e-4 * (reach + 1))


def test_resampling_fills_outside_and_keeps_the_rim():
    source = Grid.from_spacing((4, 4, 4), 2.0)
    target = Grid.from_spacing((1, 1, 3), 1.0, (-1.0, 0, 0))
    result = resample(np.ones(source.shape), source, target, fill=-7)
    assert result.ravel() == pytest.approx([1, 1, 1])  # half a voxel before the first centre still belongs to it
    far = Grid.from_spacing((1, 1, 1), 1.0, (-1.2, 0, 0))
    assert resample(np.ones(source.shape), source, far, fill=-7).item() == -7


def test_resampling_a_mask_keeps_a_mask():
    source = Grid.from_spacing((5, 5, 5), 2.0)
    mask = np.zeros(source.shape, bool)
    mask[2, 2, 2] = True
    fine = resample(mask, source, source.with_spacing(1.0))
    assert fine.dtype == bool
    assert fine.sum() == 8


def test_crop_holds_the_mask_with_its_margin():
    grid = Grid.from_spacing((20, 20, 20), (1.0, 2.0, 3.0), (5, 6, 7))
    mask = np.zeros(grid.shape, bool)
    mask[10, 8, 5:7] = True
    small, slices = grid.crop(mask, margin_mm=2.0)
    assert mask[slices].sum() == 2
    assert small.shape == (3, 3, 6)
    assert small.index_to_ras([0, 0, 0]) == pytest.approx(grid.index_to_ras([3, 7, 9]))


@pytest.mark.parametrize(
    ("shape", "affine", "says"),
    [
        ((0, 2, 2), np.eye(4), "three positive sizes"),
        ((2, 2, 2), np.full((4, 4), np.nan), "finite 4 x 4"),
        ((2, 2, 2), np.diag([1, 1, 0, 1.0]), "spacing"),
        ((2, 2, 2), np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "not perpendicular"),
        ((2, 2, 2), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1.0]]), "last row"),
    ],
)
def test_unusable_grids_say_why(shape, affine, says):
    with pytest.raises(GeometryError, match=says):
        Grid(shape, affine)


def test_crop_and_resample_refuse_other_shapes_and_empty_masks():
    grid = Grid.from_spacing((2, 2, 2), 1.0)
    with pytest.raises(GeometryError, match="empty mask"):
        grid.crop(np.zeros(grid.shape, bool))
    with pytest.raises(GeometryError, match="shape"):
        grid.crop(np.zeros((3, 3, 3), bool))
    with pytest.raises(GeometryError, match="shape"):
        resample(np.zeros((3, 3, 3)), grid, grid)


def test_masks_on_parallel_grids_are_read_as_on_turned_ones():
    """Voxel by voxel along the axes, or by an affine transform: the same nearest voxels, beyond the source too."""
    rng = np.random.default_rng(9)
    source = Grid.from_spacing((9, 11, 13), 3.0, (5.0, -20.0, 7.0))
    mask = rng.random(source.shape) < 0.4
    target = Grid.from_spacing((20, 22, 24), 1.9, (1.0, -24.3, 2.2))
    turned = np.array(
        [[np.cos(0.3), -np.sin(0.3), 0, 4.0], [np.sin(0.3), np.cos(0.3), 0, 8], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    direct = resample(mask, source, target)
    # the same two grids, described in a turned frame with a shear too small to see, take the other way
    shear = np.eye(4)
    shear[0, 1] = 1e-5
    general = resample(
        mask, Grid(source.shape, turned @ source.affine), Grid(target.shape, turned @ target.affine @ shear)
    )
    assert direct.any()
    assert not direct.all()
    assert np.count_nonzero(direct != general) <= 2
