"""Radiographs of a CT: shadows where the beam's frame projects them, path lengths in closed form, any grid."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import PATIENT_POSITIONS, beam_frame
from RTPlanningLib.display.radiograph import RadiographVolume

SAD_MM = 1000.0
STEEL_HU = 5000.0


def grid_around(middle, shape, spacing, directions=None) -> Grid:
    axes = np.eye(3) if directions is None else directions
    origin = np.asarray(middle, float) - axes @ (np.asarray(spacing, float) * (np.array(shape[::-1]) - 1) / 2)
    return Grid.from_spacing(shape, spacing, origin, axes)


def ball(grid: Grid, centre, radius_mm: float) -> np.ndarray:
    """CT numbers of a steel ball in air; a voxel at its face holds its share of both."""
    share = np.zeros(grid.shape)
    k, j, i = np.indices(grid.shape)
    parts = (-0.375, -0.125, 0.125, 0.375)
    for offset in np.stack(np.meshgrid(parts, parts, parts), axis=-1).reshape(-1, 3):
        points = grid.index_to_ras(np.stack((i, j, k), axis=-1) + offset)
        share += np.linalg.norm(points - centre, axis=-1) <= radius_mm
    return -1000.0 + (STEEL_HU + 1000.0) * share / len(parts) ** 3


@pytest.mark.parametrize("number", range(24))
def test_the_shadow_of_a_ball_is_where_the_frame_projects_it(number):
    rng = np.random.default_rng(number)
    isocenter = rng.uniform(-80.0, 80.0, 3)
    centre = isocenter + rng.uniform(-110.0, 110.0, 3)
    grid = grid_around(
        centre + rng.uniform(-2.0, 2.0, 3),
        (11, 17, 19),
        rng.uniform((0.8, 0.8, 1.0), (1.2, 1.2, 2.5)),
        Rotation.random(random_state=rng).as_matrix() if number % 2 else np.diag((-1.0, -1.0, 1.0)),
    )
    frame = beam_frame(
        rng.uniform(0.0, 360.0),
        rng.uniform(0.0, 360.0),
        rng.uniform(0.0, 360.0),
        isocenter,
        PATIENT_POSITIONS[number % 4],
    )
    picture = RadiographVolume.from_hu(ball(grid, centre, 4.0), grid).radiograph(frame, SAD_MM)
    weight = picture.water_mm.astype(float)
    assert weight.max() == pytest.approx(8.0 * (1.0 + STEEL_HU / 1000.0), rel=0.15)
    x = (weight.sum(axis=0) @ picture.x_middles_mm) / weight.sum()
    y = (weight.sum(axis=1) @ picture.y_middles_mm) / weight.sum()
    assert np.hypot(*(np.array([x, y]) - frame.project(centre, SAD_MM))) < 0.1


def test_water_shows_the_length_of_the_rays_in_it():
    grid = grid_around((0.0, 0.0, 0.0), (61, 51, 61), (5.0, 4.0, 5.0))
    volume = RadiographVolume.from_hu(np.zeros(grid.shape, np.int16), grid)
    picture = volume.radiograph(beam_frame(0.0), SAD_MM, (-60.0, 60.0), (-40.0, 40.0), (20, 30))
    x, y = np.meshgrid(picture.x_middles_mm, picture.y_middles_mm)
    # 51 voxels of 4 mm, crossed at a slant
    assert picture.water_mm == pytest.approx(204.0 * np.sqrt(x**2 + y**2 + SAD_MM**2) / SAD_MM, rel=1e-5)


def test_any_volume_agrees_with_fine_steps_through_it():
    rng = np.random.default_rng(5)
    grid = grid_around(
        (10.0, -5.0, 3.0), (24, 30, 28), (3.0, 2.5, 4.0), Rotation.from_euler("zyx", (25, -40, 15), True).as_matrix()
    )
    hu = ndimage.gaussian_filter(rng.normal(0.0, 1500.0, grid.shape), 2.0)
    frame = beam_frame(200.0, 35.0, 310.0, (4.0, 6.0, -8.0), "FFS")
    picture = RadiographVolume.from_hu(hu, grid).radiograph(frame, SAD_MM, (-50.0, 50.0), (-45.0, 45.0), (9, 10))
    x, y = np.meshgrid(picture.x_middles_mm, picture.y_middles_mm)
    source = frame.source_RAS_mm(SAD_MM)
    ends = frame.to_ras(np.stack((x, y, np.zeros_like(x)), axis=-1))
    share = np.arange(0.85, 1.15, 0.0001)
    points = source + (ends - source)[..., None, :] * share[:, None]
    ijk = grid.ras_to_index(points)
    samples = ndimage.map_coordinates(
        np.pad(1.0 + hu / 1000.0, 1), np.moveaxis(ijk[..., ::-1] + 1.0, -1, 0), order=1, mode="constant"
    )
    expected = samples.sum(axis=-1) * np.linalg.norm(ends - source, axis=-1) * 0.0001
    assert expected.max() > 80.0
    assert picture.water_mm == pytest.approx(expected, abs=0.02 * expected.max())


def test_left_and_superior_of_a_supine_patient_lie_along_x_and_y_of_a_beam_from_the_front():
    # IEC 61217: from the gantry at 0, collimator X is the patient's left and Y superior of a head-first supine patient
    grid = grid_around((0.0, 0.0, 0.0), (20, 20, 20), 10.0)
    hu = np.full(grid.shape, -1000.0)
    hu[15, 10, 4] = STEEL_HU
    ras = grid.index_to_ras((4, 10, 15))
    picture = RadiographVolume.from_hu(hu, grid).radiograph(beam_frame(0.0), SAD_MM)
    row, column = np.unravel_index(picture.water_mm.argmax(), picture.water_mm.shape)
    assert ras[0] < 0.0 < ras[2], "left and superior"
    assert picture.x_middles_mm[column] > 0.0
    assert picture.y_middles_mm[row] > 0.0


def test_padding_adds_nothing_and_threads_change_nothing():
    grid = grid_around((0.0, 0.0, 0.0), (20, 20, 20), 5.0)
    rng = np.random.default_rng(2)
    hu = rng.uniform(-1000.0, 1000.0, grid.shape)
    padded = np.full((30, 30, 30), -3024.0)
    padded[5:25, 5:25, 5:25] = hu
    frame = beam_frame(33.0, 10.0, 20.0)
    plain = RadiographVolume.from_hu(hu, grid).radiograph(frame, SAD_MM, pixels=(40, 40)).water_mm
    volume = RadiographVolume.from_hu(padded, grid_around((0.0, 0.0, 0.0), (30, 30, 30), 5.0))
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = volume.radiograph(frame, SAD_MM, pixels=(40, 40)).water_mm
    finally:
        numba.set_num_threads(threads)
    assert one == pytest.approx(plain, rel=1e-5, abs=1e-4)
    assert np.array_equal(one, volume.radiograph(frame, SAD_MM, pixels=(40, 40)).water_mm)


def test_what_lies_behind_the_source_is_not_seen():
    grid = grid_around((0.0, 0.0, 0.0), (5, 100, 5), 4.0)
    volume = RadiographVolume.from_hu(np.zeros(grid.shape), grid)
    # the source 100 mm in front of the middle, the water from -200 to 200 mm: 300 mm of it lie before the source
    middle = volume.radiograph(beam_frame(0.0), 100.0, (-0.5, 0.5), (-0.5, 0.5), (1, 1)).water_mm[0, 0]
    assert middle == pytest.approx(300.0, abs=4.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_mm": (10.0, 10.0)}, "x_mm"),
        ({"y_mm": (0.0, np.nan)}, "y_mm"),
        ({"pixels": (0, 10)}, "pixels"),
        ({"sad_mm": 0.0}, "source-axis"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(changes, words):
    grid = grid_around((0.0, 0.0, 0.0), (4, 4, 4), 5.0)
    volume = RadiographVolume.from_hu(np.zeros(grid.shape), grid)
    with pytest.raises(GeometryError, match=words):
        volume.radiograph(beam_frame(0.0), **({"sad_mm": SAD_MM} | changes))


def test_a_ct_that_does_not_fit_or_is_not_finite_is_refused():
    grid = grid_around((0.0, 0.0, 0.0), (4, 4, 4), 5.0)
    with pytest.raises(GeometryError, match="shape"):
        RadiographVolume.from_hu(np.zeros((4, 4, 5)), grid)
    with pytest.raises(GeometryError, match="NaN"):
        RadiographVolume.from_hu(np.full(grid.shape, np.nan), grid)
