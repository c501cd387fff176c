"""Dose in a flat water phantom: against error functions, against the voxel engine, and itself."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import EngineError, MachineError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import available_machines, load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon import water_dose as module
from DoseEngineLib.photon.pencil_kernel import pencil_kernel
from DoseEngineLib.photon.water_dose import (
    axis_dose_in_water,
    contamination_kernel,
    dose_for_fluence,
    dose_kernel,
    photons_per_cm2_per_MU,
    water_dose,
)
from DoseEngineLib.plan import Aperture, Beam, Plan

IDEAL = load_machine("ideal_6mv")
FLAT = replace(IDEAL, off_axis_kind="flat")


def test_off_axis_points_of_a_flat_field_agree_with_error_functions():
    """Point source, flat fluence, asymmetric jaws: the dose is a sum of products of error functions, to 1e-9."""
    aperture = Aperture((-20.0, 45.0), (-60.0, 10.0))
    points = np.array([[0, 0, 50], [30, -20, 100], [45, 5, 15], [-40, 30, 200], [100, 0, 5]], float)
    kernel = pencil_kernel(FLAT.energy_MeV, FLAT.fluence)
    expected = []
    for x, y, depth in points:
        scale = 1000 / (950 + depth)
        ray = depth * np.sqrt(1 + (x**2 + y**2) / (950 + depth) ** 2)
        sigma = kernel.sigma_mm * scale * np.sqrt(2)
        share = 1.0
        for at, (low, high) in ((x * scale, aperture.jaw_x_mm), (y * scale, aperture.jaw_y_mm)):
            share = share * (erf((high - at) / sigma) - erf((low - at) / sigma)) / 2
        expected.append(scale**2 * (kernel.weights_at(ray) * share).sum())
    assert dose_for_fluence(FLAT, aperture, 950.0, points) == pytest.approx(np.array(expected), rel=1e-9)


@pytest.mark.parametrize("name", available_machines())
def test_every_machine_meets_its_calibration(name):
    """1 MU gives what the machine says at its reference condition, with all parts of its head, to rounding."""
    machine = load_machine(name)
    if isinstance(machine.calibration, float):
        assert photons_per_cm2_per_MU(machine) == machine.calibration
        return
    c = machine.calibration
    half = c.field_mm[0] / 2
    dose = water_dose(machine, Aperture((-half, half), (-half, half)), c.ssd_mm, np.array([[0.0, 0.0, c.depth_mm]]))
    assert dose == pytest.approx(c.dose_Gy_per_MU, rel=1e-12)


def voxel_dose(machine, aperture, points, ssd=900.0):
    """Dose a MU of the pencil-beam engine in a box of water, one voxel a point."""
    shape = (60, 80, 60)
    grid = Grid.from_spacing(shape, 5.0, (-147.5, -397.5, -147.5))
    patient = Patient.from_density(np.ones(shape, np.float32), grid)
    beam = Beam.static_field("B", aperture, isocenter_RAS_mm=(0.0, ssd - 1000.0, 0.0), machine=machine)
    frame = beam.frame("HFS")
    engine = create_engine("photon-pencil-beam")
    doses = []
    for x, y, depth in points:
        place = frame.to_ras([[x, y, 1000.0 - ssd - depth]])[0]
        dose = engine.calculate_dose(patient, Plan("P", (replace(beam, meterset_MU=1.0),)),
                                     Grid.from_spacing((1, 1, 1), 1.0, place))  # fmt: skip
        doses.append(dose.dose_Gy.item())
    return np.array(doses)


LEAVES = Aperture((-50, 50), (-50, 50), tuple((-30.0 - n % 3, 40.0) if 22 <= n < 38 else (0.0, 0.0) for n in range(60)))


@pytest.mark.parametrize(
    ("machine", "aperture", "tolerance"),
    [("generic_6mv", Aperture((-40, 60), (-50, 50)), 0.005), ("generic_6mv", LEAVES, 0.012),
     ("generic_10mv_fff", Aperture((-100, 100), (-100, 100)), 0.005)],
)  # fmt: skip
def test_the_voxel_engine_agrees(machine, aperture, tolerance):
    """With all parts of the head, in the field, near its edge and outside it: 0.5 % of the dose on the axis.

    In the penumbra of leaves the engine's 1 mm fluence pixels are seen, as a tenth of a millimetre or 1.2 %.
    """
    points = np.array(
        [[0, 0, 3], [0, 0, 100], [20, -15, 50], [33, 10, 100], [-28, 5, 15], [75, 0, 50], [90, 80, 100.0]]
    )
    ours = water_dose(load_machine(machine), aperture, 900.0, points)
    assert ours == pytest.approx(voxel_dose(machine, aperture, points), abs=tolerance * ours.max())


def test_halves_add_up_to_the_whole():
    points = np.random.default_rng(5).uniform((-80, -80, 0), (80, 80, 250), (50, 3))
    parts = [water_dose(IDEAL, Aperture(x, (-40, 40)), 900.0, points) for x in ((-30, 10), (10, 50))]
    assert sum(parts) == pytest.approx(water_dose(IDEAL, Aperture((-30, 50), (-40, 40)), 900.0, points), rel=1e-9)


def test_leaves_as_wide_open_as_the_jaws_change_nothing_but_the_penumbra():
    """Ideal leaves standing where the jaws stand, at the jaws' distance: the same dose."""
    linac = load_machine("generic_6mv")
    jaw = (linac.jaw_x.distance_mm + linac.jaw_y.distance_mm) / 2
    linac = replace(
        linac,
        extra_focal=None,
        jaw_x=replace(linac.jaw_x, transmission=0.0),
        jaw_y=replace(linac.jaw_y, transmission=0.0),
        mlc=replace(linac.mlc, leaf_end_offset_mm=0.0, distance_mm=jaw, transmission=0.0),
    )
    leaves = tuple((-40.0, 40.0) for _ in range(60))
    points = np.random.default_rng(6).uniform((-60, -60, 1), (60, 60, 200), (40, 3))
    bare = dose_for_fluence(linac, Aperture((-40, 40), (-50, 50)), 1000.0, points)
    both = dose_for_fluence(linac, Aperture((-40, 40), (-50, 50), leaves), 1000.0, points)
    assert both == pytest.approx(bare, abs=3e-4 * bare.max())


def test_the_closed_form_on_the_axis_is_the_same_function():
    linac = load_machine("generic_15mv")
    on_axis = axis_dose_in_water(linac, 900, 100, (80, 120))
    point = dose_for_fluence(linac, Aperture((-40, 40), (-60, 60)), 900.0, np.array([[0.0, 0.0, 100.0]]))
    assert point == pytest.approx(on_axis, rel=1e-12)


def test_electrons_are_the_difference_they_make():
    linac = load_machine("generic_6mv")
    without = replace(linac, electron_contamination=None)
    depth = np.array([0.0, 5.0, 15.0, 50.0])
    points = np.stack([0 * depth, 0 * depth, depth], axis=1)
    dose = [dose_for_fluence(m, Aperture(), 1000.0, points) for m in (linac, without)]
    electrons = dose[0] - dose[1]
    assert electrons[0] > 1.5 * dose[1][0]
    assert electrons[3] < 1e-4 * dose[1][3]
    assert (np.diff(electrons) < 0).all()
    assert contamination_kernel(without) is None
    kernel = dose_kernel(linac)
    assert contamination_kernel(linac).weights_Gy_cm2[0] == pytest.approx(kernel.weights_Gy_cm2[-1])


def test_thousands_of_points_in_well_under_a_second():
    """2000 points under a linac with MLC; the first call compiles and is not counted."""
    linac = load_machine("generic_6mv")
    points = np.random.default_rng(7).uniform((-100, -100, 0), (100, 100, 300), (2000, 3))
    water_dose(linac, LEAVES, 1000.0, points[:2])
    start = time.perf_counter()
    dose = water_dose(linac, LEAVES, 1000.0, points)
    assert time.perf_counter() - start < 1.0
    assert dose.shape == (2000,)
    assert dose.min() > 0


def test_jit_agrees_with_plain_python():
    rng = np.random.default_rng(8)
    arguments = (rng.uniform(-50, 50, 4), rng.uniform(-50, 50, 4), rng.uniform(1, 30, (3, 4)),
                 np.array([-60.0, -20, 30]), np.sort(rng.uniform(-60, 60, (2, 5)), axis=1), rng.random((2, 4)),
                 np.array([20.0, 1e6]), np.array([-0.1, 1.1]))  # fmt: skip
    results = []
    for function in (module._blurred_rectangles, module._blurred_rectangles.py_func):
        lit = np.zeros((3, 4))
        function(lit, *arguments)
        results.append(lit)
    assert results[0].max() > 0.1
    assert results[0] == pytest.approx(results[1], rel=1e-12)


def test_what_cannot_be_computed_says_so():
    origin = np.zeros((1, 3))
    with pytest.raises(EngineError, match="Depths in water"):
        water_dose(IDEAL, Aperture(), 1000.0, origin - [0, 0, 1])
    with pytest.raises(EngineError, match="Depths in water"):
        water_dose(IDEAL, Aperture(), 1000.0, origin + np.nan)
    with pytest.raises(EngineError, match="lies in the head"):
        water_dose(IDEAL, Aperture(), 300.0, origin)
    with pytest.raises(PlanError, match="exceed the travel"):
        water_dose(IDEAL, Aperture((-300, 0), (0, 1)), 1000.0, origin)
    sawtooth = replace(IDEAL, off_axis_kind="radial", off_axis_radius_mm=tuple(range(0, 40, 2)),
                       off_axis_ratio=tuple(1.0 + 0.3 * (n % 2) for n in range(20)))  # fmt: skip
    with pytest.raises(MachineError, match="bends too sharply"):
        water_dose(sawtooth, Aperture(), 1000.0, origin)
