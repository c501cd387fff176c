"""Apertures fitted to targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.aperture import beams_eye_view_points, fit_jaws, fit_mlc
from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import beam_frame
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Structure

MACHINE = load_machine("generic_6mv")
GRID = Grid.from_spacing((50, 50, 50), 2.0, (-49, -49, -49))


def sphere(radius_mm, centre=(0.0, 0.0, 0.0), name="PTV"):
    mask = ((GRID.centres_RAS_mm() - centre) ** 2).sum(axis=-1) <= radius_mm**2
    return Structure(name, mask, GRID, "PTV")


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(-90, 90), st.floats(0, 10))
def test_jaws_around_a_sphere_are_a_square_from_everywhere(gantry, collimator, couch, margin):
    """A 30 mm sphere: 30 mm and the margin on every side, to within a voxel."""
    aperture = fit_jaws(sphere(30), beam_frame(gantry, collimator, couch), MACHINE, margin)
    for low, high in (aperture.jaw_x_mm, aperture.jaw_y_mm):
        assert -low == pytest.approx(30 + margin, abs=2.5)
        assert high == pytest.approx(30 + margin, abs=2.5)


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 12), st.floats(-15, 15))
def test_the_mlc_never_cuts_the_target(gantry, collimator, margin, shift):
    """Every projected point of the target lies within its leaf pair's opening, with the margin along X."""
    target = sphere(20, (shift, -shift, shift / 2))
    frame = beam_frame(gantry, collimator)
    aperture = fit_mlc(target, frame, MACHINE, margin)
    points = beams_eye_view_points(target, frame, MACHINE.sad_mm)
    leaf = np.searchsorted(MACHINE.mlc.boundaries_mm, points[:, 1], side="right") - 1
    tips = np.array(aperture.leaf_positions_mm)
    raster_mm = 1.0
    assert (tips[leaf, 0] <= points[:, 0] - margin + raster_mm).all()
    assert (tips[leaf, 1] >= points[:, 0] + margin - raster_mm).all()
    # and it is no rectangle: the outermost leaves open less than the middle ones
    open_mm = (tips[:, 1] - tips[:, 0])[tips[:, 1] > tips[:, 0]]
    assert open_mm[0] < 0.95 * open_mm.max()
    assert open_mm[-1] < 0.95 * open_mm.max()


def test_mlc_area_of_a_sphere():
    """Each leaf pair opens to the widest chord of the widened circle under it: area within 3 %.

    The circle is that of the voxelized sphere: half as wide as the jaws that the same fit closes to.
    """
    aperture = fit_mlc(sphere(30.0), beam_frame(30), MACHINE, 6.0)
    tips = np.array(aperture.leaf_positions_mm)
    radius = (aperture.jaw_x_mm[1] - aperture.jaw_x_mm[0] + aperture.jaw_y_mm[1] - aperture.jaw_y_mm[0]) / 4
    assert radius == pytest.approx(36.0, abs=2.0)
    area = ((tips[:, 1] - tips[:, 0]) * np.diff(MACHINE.mlc.boundaries_mm)).sum()
    side = np.array(MACHINE.mlc.boundaries_mm)
    nearest = np.clip(0, side[:-1], side[1:])
    chords = 2 * np.sqrt(np.maximum(radius**2 - nearest**2, 0))
    assert area == pytest.approx((chords * np.diff(side)).sum(), rel=0.03)


def test_what_cannot_be_fitted_says_so():
    with pytest.raises(PlanError, match="is empty"):
        fit_jaws(Structure("PTV", np.zeros(GRID.shape, bool), GRID), beam_frame(0), MACHINE)
    with pytest.raises(PlanError, match="zero or more"):
        fit_mlc(sphere(10), beam_frame(0), MACHINE, -1)
    with pytest.raises(PlanError, match="no MLC"):
        fit_mlc(sphere(10), beam_frame(0), load_machine("ideal_6mv"))
    with pytest.raises(PlanError, match="exceed the travel"):
        fit_jaws(sphere(10), beam_frame(0, isocenter_RAS_mm=(250, 0, 0)), MACHINE)


@pytest.mark.parametrize("voxel", [2.0, 3.0, 5.0])
def test_leaves_open_by_the_margin_however_small(voxel):
    """Middle leaves of a cube's shadow: its faces, their magnification and the margin, to the raster's 0.5 mm."""
    n = 21
    grid = Grid.from_spacing((n, n, n), voxel, (-(n - 1) / 2 * voxel,) * 3)
    mask = np.zeros(grid.shape, bool)
    mask[6:15, 6:15, 6:15] = True
    cube, frame = Structure("PTV", mask, grid, "PTV"), beam_frame(0, 0, 0)
    half = 4.5 * voxel
    edge = half * 1000.0 / (1000.0 - half)
    for margin in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        low, high = np.array(fit_mlc(cube, frame, load_machine("generic_6mv"), margin).leaf_positions_mm)[29:31].T
        assert high == pytest.approx(edge + margin, abs=1.0)
        assert low == pytest.approx(-edge - margin, abs=1.0)
