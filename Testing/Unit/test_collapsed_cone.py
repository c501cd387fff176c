"""The collapsed-cone engine: conservation, symmetry, bookkeeping, refusals."""

from __future__ import annotations

import json
from importlib import resources

import numba
import numpy as np
import pytest

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import Cancelled, EngineError, GeometryError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.normalization import dose_at_points
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon import collapsed_cone
from DoseEngineLib.photon.collapsed_cone import cone_directions, transport
from DoseEngineLib.photon.cone_kernels import cone_kernels
from DoseEngineLib.photon.terma import TermaLattice
from DoseEngineLib.plan import Beam, Plan

MACHINE = load_machine("ideal_6mv")
COARSE = create_engine("photon-collapsed-cone", rings=12, azimuths=8, pitch_mm=4.0)


def silent(fraction, text):
    """No report."""


def kernels(rings=12):
    return cone_kernels(MACHINE.energy_MeV, MACHINE.fluence, rings)


def box(half_mm=(100, 100, 100), voxel=5.0, density=1.0):
    shape = tuple(int(2 * h / voxel) for h in half_mm[::-1])
    grid = Grid.from_spacing(shape, voxel, [-(n - 1) / 2 * voxel for n in shape[::-1]])
    return Patient.from_density(np.full(shape, density, np.float32), grid)


def plan(**options):
    options = {"machine": "ideal_6mv", "meterset_MU": 1.0, **options}
    return Plan("P", (Beam.open_field(**options),))


@pytest.mark.parametrize("machine", ["ideal_6mv", "ideal_15mv"])
@pytest.mark.parametrize("rings", [12, 24])
def test_kernels_carry_all_of_the_energy(machine, rings):
    """All exponentials of all cones of each spectral group add up to the photon's energy within 0.2 %."""
    model = load_machine(machine)
    weights = cone_kernels(model.energy_MeV, model.fluence, rings).weights
    assert weights.sum(axis=(1, 2)) == pytest.approx(np.ones(2), abs=2e-3)


def test_directions_are_unit_vectors_that_balance():
    """Every ring's directions add up to its mean cosine along the axis and to nothing across it."""
    cosine = kernels().cosine
    directions = cone_directions(cosine, 8).reshape(cosine.size, 8, 3)
    assert np.linalg.norm(directions, axis=2) == pytest.approx(1.0)
    assert directions.mean(axis=1)[:, :2] == pytest.approx(0.0, abs=1e-12)
    assert directions.mean(axis=1)[:, 2] == pytest.approx(cosine)


def lattice(density, shape=(60, 60, 60), side_mm=2.0, distance_mm=950.0):
    """A lattice of one density with TERMA in one cell at its middle, on the axis."""
    terma = np.zeros((2, *shape), np.float32)
    terma[(slice(None), *(n // 2 for n in shape))] = 1.0
    mass = np.full(shape, density, np.float32)
    first = np.array([-shape[2] // 2 * side_mm, -shape[1] // 2 * side_mm, distance_mm])
    return TermaLattice(terma, mass, first, side_mm)


def transport_all(released):
    """Both halves of the exponentials on the same cells."""
    return sum(transport(released, kernels(24), slice(start, start + 4), 8, silent) for start in (0, 4))


def test_energy_is_conserved():
    """TERMA of one cell amid 6 cm of 20 g/cm3 on every side: deposit and escape add up to it within 1 %.

    Escape is what the cones' exponentials carry beyond the faces.
    """
    released = lattice(20.0)
    deposited = transport_all(released)
    share = deposited.sum() / released.terma.sum()
    # energy that the fitted kernel carries further than the faces, straight along each cone
    ranges = np.array(collapsed_cone.RANGES_G_CM2)
    directions = cone_directions(kernels(24).cosine, 8)
    reach = 60 * 2.0 / 2 / 10 * 20.0 / np.abs(directions).max(axis=1)
    weights = np.repeat(kernels(24).weights.sum(axis=0) / 2, 8, axis=0) / 8
    escape = (weights * np.exp(-reach[:, None] / ranges)).sum()
    assert share + escape == pytest.approx(1.0, abs=0.01)


def test_a_point_spreads_evenly_about_the_axis():
    """Dose about one cell on the axis: mirrored and turned by 90 degrees it is the same, cell by cell, to rounding."""
    shape = (41, 41, 41)
    released = lattice(1.0, shape)
    centred = TermaLattice(released.terma, released.density_g_cm3, np.array([-40.0, -40.0, 950.0]), 2.0)
    deposited = transport_all(centred)
    top = deposited[20, 18:23, 18:23].max()
    for other in (deposited[:, ::-1], deposited[:, :, ::-1], np.rot90(deposited, axes=(1, 2))):
        assert np.abs(other - deposited).max() < 5e-3 * top


def test_a_field_is_symmetric():
    """A square field in a cube of water: left and right, up and down agree within 0.5 % of the maximum everywhere."""
    grid = Grid.from_spacing((33, 37, 33), 5.0, (-80, -90, -80))
    dose = create_engine("photon-collapsed-cone", pitch_mm=4.0).calculate_dose(box(), plan(), grid).dose_Gy
    for other in (dose[::-1], dose[:, :, ::-1], dose.transpose(2, 1, 0)):
        assert np.abs(other - dose).max() < 5e-3 * dose.max()


def test_one_beam_from_four_sides_is_the_same_beam():
    """A cube of water from gantry 0, 90, 180, 270: the dose on each beam's axis agrees within 0.5 %."""
    depth = np.linspace(-70, 70, 15)
    curves = []
    for gantry in (0, 90, 180, 270):
        result = COARSE.calculate_dose(box(), plan(gantry_deg=gantry), box(voxel=5.0).grid)
        frame = plan(gantry_deg=gantry).beams[0].frame("HFS")
        points = frame.to_ras(np.stack((0 * depth, 0 * depth, depth), axis=1))
        curves.append(dose_at_points(result.dose_Gy, result.grid, points))
    for curve in curves[1:]:
        assert curve == pytest.approx(curves[0], rel=5e-3)


def test_pencil_beam_and_collapsed_cone_agree_in_water():
    """10 x 10 cm on the axis at 5, 10 and 15 cm: two methods from the same point kernels, within 1 %."""
    grid = Grid.from_spacing((5, 41, 5), 2.5, (-5, -50, -5))
    patient = box((150, 150, 150))
    options = dict(isocenter_RAS_mm=(0, 50, 0))
    fine = create_engine("photon-collapsed-cone", pitch_mm=2.5).calculate_dose(patient, plan(**options), grid)
    pencil = create_engine("photon-pencil-beam").calculate_dose(patient, plan(**options), grid)
    ratio = fine.dose_Gy.mean(axis=(0, 2)) / pencil.dose_Gy.mean(axis=(0, 2))
    assert ratio == pytest.approx(np.ones(41), abs=0.012)


def test_one_MU_is_one_centigray_at_the_reference_condition():
    """Generic linac with its head: 1 cGy/MU at SSD 100 cm, 1.5 cm deep, 10 x 10 cm, within 1 %."""
    patient = box((200, 150, 200))
    grid = Grid.from_spacing((5, 1, 5), 2.0, (-4, 135, -4))
    options = dict(machine="generic_6mv", isocenter_RAS_mm=(0, 150, 0), meterset_MU=100.0)
    dose = create_engine("photon-collapsed-cone", rings=12, pitch_mm=3.0).calculate_dose(patient, plan(**options), grid)
    assert dose.dose_Gy.mean() == pytest.approx(1.0, rel=0.01)


def test_results_do_not_depend_on_the_number_of_threads():
    """The same bits with one thread and two."""
    before = numba.get_num_threads()
    doses = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        doses.append(COARSE.calculate_dose(box((50, 50, 50)), plan(gantry_deg=20), None).dose_Gy)
    numba.set_num_threads(before)
    assert np.array_equal(*doses)


def test_jit_agrees_with_plain_python():
    """The march of one direction interpreted by Python gives the compiled result to rounding."""
    rng = np.random.default_rng(7)
    n, terms = 5, collapsed_cone._TERMS
    places = rng.random((3, n)).astype(np.float32) + np.float32(1.0)
    across = np.array([0, -1, -1, -2, -3])
    arguments = dict(
        density=rng.random((n, n, n)).astype(np.float32), terma=rng.random((2, n, n, n)).astype(np.float32),
        per_cell=np.float32(0.1), weights=rng.random((2, terms)).astype(np.float32), shift1=np.array([0, 0, 1, 1, 2]),
        shift2=np.array([across, -across]), forward=False,
        units=np.array([[0.6, 0.64, 0.48], [0.6, 0.64, -0.48]], np.float32), at0=places[0], at1=places[1],
        at2=places[2], side=np.float32(0.01), tilt=rng.random(collapsed_cone._COSINES).astype(np.float32),
    )  # fmt: skip
    results = []
    for function in (collapsed_cone._march, collapsed_cone._march.py_func):
        out = np.zeros((n, n, n), np.float32)
        function(out=out, **arguments)
        results.append(out)
    assert results[0].min() > 0
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_a_lattice_too_long_to_march_is_refused():
    """Mirrored lines part by a cell a plane to either side: columns and twice the planes must fit a strip."""
    planes = collapsed_cone._STRIP // 2
    released = lattice(1.0, (planes, 4, 4))
    with pytest.raises(EngineError, match="larger pitch_mm"):
        transport(released, kernels(24), slice(0, 4), 8, silent)


@pytest.mark.parametrize("slope", [1, -1])
def test_the_steepest_lines_stay_on_their_strips(slope):
    """Directions of 45 degrees both ways, through as many planes as columns: what one carries comes out of no other.

    Energy of one cell, carried far without loss, shows only along its two lines.
    """
    n = 40
    terma = np.zeros((2, n, n, n), np.float32)
    # rows, planes, columns
    terma[0, 5, 0, n // 2] = 1.0
    along = slope * np.arange(n)
    weights = np.zeros((2, 4), np.float32)
    weights[0, 3] = 1.0
    out = np.zeros((n, n, n), np.float32)
    places = np.full(n, 1.0, np.float32)
    collapsed_cone._march(
        np.full((n, n, n), 1e-3, np.float32), terma, out, np.float32(0.1), weights, np.zeros(n, np.int64),
        np.array([along, -along]), True, np.array([[0.0, 0.7, 0.7], [0.0, 0.7, -0.7]], np.float32), places, places,
        places, np.float32(0.0), np.ones(collapsed_cone._COSINES, np.float32),
    )  # fmt: skip
    plane, column = np.nonzero(out[5] > 1e-9)
    assert set(np.abs(column - n // 2) - plane) == {0}
    assert plane.size == n
    assert not out[:5].any()
    assert not out[6:].any()


def test_a_single_photon_energy_works(tmp_path):
    """One line of 1.25 MeV, so one group is empty: within 2 % of the pencil beam on the axis of a 10 x 10 cm field."""
    text = resources.files("DoseEngineLib").joinpath("machines", "ideal_6mv.json").read_text(encoding="utf-8")
    path = tmp_path / "line.json"
    path.write_text(json.dumps({**json.loads(text), "spectrum": {"energy_MeV": [1.25], "fluence": [1.0]}}))
    grid = Grid.from_spacing((3, 21, 3), 5.0, (-5, -50, -5))
    doses = [
        engine.calculate_dose(box((120, 120, 120)), plan(machine=str(path), isocenter_RAS_mm=(0, 0, 0)), grid).dose_Gy
        for engine in (create_engine("photon-collapsed-cone", pitch_mm=3.0), create_engine("photon-pencil-beam"))
    ]
    assert doses[0].mean(axis=(0, 2)) == pytest.approx(doses[1].mean(axis=(0, 2)), rel=0.02)


def test_dose_to_water_is_dose_to_bone_times_the_stopping_power_ratio():
    """Cortical bone, 1.85 g/cm3: 1.115 (NIST ESTAR, 1 MeV); water: 1."""
    for density, ratio in ((1.85, 1.115), (1.0, 1.0)):
        patient = box((40, 40, 40), density=density)
        doses = [
            create_engine("photon-collapsed-cone", rings=6, azimuths=6, pitch_mm=4.0, dose_to=to).calculate_dose(
                patient, plan(), None
            )
            for to in ("medium", "water")
        ]
        assert [result.dose_to for result in doses] == ["medium", "water"]
        assert doses[1].dose_Gy.max() / doses[0].dose_Gy.max() == pytest.approx(ratio, abs=2e-3)


def test_cancelling_in_mid_transport_stops_the_work():
    def stop(fraction, text):
        if fraction > 0.5:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        COARSE.calculate_dose(box((40, 40, 40)), plan(), progress=stop)


def test_cancelling_while_1_MU_is_calibrated_stops_the_work(monkeypatch):
    from DoseEngineLib.photon import collapsed_cone as module

    monkeypatch.setattr(module, "_calibrations", type(module._calibrations)())
    told = []

    def stop(fraction, text):
        told.append(text)
        if told.count("Collapsed cone: what 1 MU gives in the reference phantom") > 3:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        COARSE.calculate_dose(box((40, 40, 40)), plan(machine="generic_6mv"), progress=stop)
    assert module._calibrations == {}, "half a calibration is none"
    dose = COARSE.calculate_dose(box((40, 40, 40)), plan(machine="generic_6mv")).dose_Gy
    assert len(module._calibrations) == 1
    assert np.array_equal(COARSE.calculate_dose(box((40, 40, 40)), plan(machine="generic_6mv")).dose_Gy, dose)


def test_what_cannot_be_computed_says_so():
    for options, says in [
        ({"rings": 2}, "4..96"),
        ({"azimuths": 8.5}, "4..96"),
        ({"pitch_mm": 0.1}, "0.5..5 mm"),
        ({"dose_to": "air"}, "medium"),
    ]:
        with pytest.raises(EngineError, match=says):
            create_engine("photon-collapsed-cone", **options)
    with pytest.raises(GeometryError, match="from the radiation source"):
        COARSE.calculate_dose(box((60, 800, 60), 20.0), plan())
    small = create_engine("photon-collapsed-cone", pitch_mm=0.5, max_memory_GB=0.5)
    with pytest.raises(EngineError, match="larger pitch_mm"):
        small.calculate_dose(box(), plan())
    far = create_engine("photon-collapsed-cone", pitch_mm=4.0, allow_isocenter_outside=True)
    with pytest.raises(EngineError, match="passes the body"):
        far.calculate_dose(box((30, 30, 30)), plan(isocenter_RAS_mm=(600, 0, 0)))
